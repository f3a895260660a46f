"""An engine with the decoding kernel behind it, in the slots of a GPU session."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mahtrt.cuda import dark_launch
from mahtrt.cuda.device import CudaDevice, DeviceMemory, Launch
from mahtrt.cuda.kernel_set import KernelSet
from mahtrt.cuda.slots import DeviceTensor, Engine
from mahtrt.cuda.soft_argmax_launch import (
    SOURCE,
    SoftArgmax,
    SoftArgmaxPlaces,
    soft_argmax_launch,
)
from mahtrt.errors import IntegrityError
from mahtrt.targets.kernel_decode.record import KernelDecode


def decoded_tensors(
    tensors: Sequence[DeviceTensor], decode: KernelDecode, subject: str
) -> tuple[DeviceTensor, ...]:
    """An engine's tensors, and what the kernel computes.

    Raises:
        IntegrityError: The engine does not give the heatmaps that the record names.
    """
    wanted = DeviceTensor(decode.heatmaps, decode.shape, np.dtype(decode.dtype), is_input=False)
    if wanted not in tensors:
        outputs = [f"{x.name} {x.dtype} {x.shape}" for x in tensors if not x.is_input]
        raise IntegrityError(
            subject,
            got=f"outputs {', '.join(outputs)}",
            expected=f"{wanted.name} {wanted.dtype} {wanted.shape}, which the kernel decodes",
            fix="Build the bundle again.",
        )
    computed = (
        DeviceTensor(name, shape, np.dtype(np.float32), is_input=False)
        for name, shape in decode.outputs.items()
    )
    return (*tensors, *computed)


@dataclass(frozen=True, slots=True)
class _Kernel:
    """A kernel that decodes.

    Attributes:
        source, entry: Its names.
        workspace_bytes: Memory that it works in, zero before the first launch.
        launch: From the addresses of heatmaps, landmarks, confidence, spread and workspace.
    """

    source: str
    entry: str
    workspace_bytes: int
    launch: Callable[..., Launch]


def _kernel(decode: KernelDecode, multiprocessors: int) -> _Kernel:
    if decode.kernel == "dark":
        assert decode.sigma is not None
        dark = dark_launch.Dark(decode.shape, decode.dtype, decode.sigma, decode.input_size)

        def launch_dark(*places: int) -> Launch:
            return dark_launch.dark_launch(dark, dark_launch.DarkPlaces(*places))

        return _Kernel(dark_launch.SOURCE, dark.entry, dark.workspace_bytes, launch_dark)
    assert decode.temperature is not None
    operation = SoftArgmax(decode.shape, decode.dtype, decode.temperature, decode.input_size)

    def launch(*places: int) -> Launch:
        return soft_argmax_launch(operation, SoftArgmaxPlaces(*places), multiprocessors)

    return _Kernel(SOURCE, operation.entry, operation.workspace_bytes(multiprocessors), launch)


class DecodingEngine:
    """See :class:`mahtrt.cuda.slots.Engine`.

    Attributes:
        engine: What computes the heatmaps.
    """

    def __init__(
        self, engine: Engine, decode: KernelDecode, device: CudaDevice, kernels: KernelSet
    ) -> None:
        self.engine, self._decode = engine, decode
        self._device, self._kernels = device, kernels
        self._kernel = _kernel(decode, device.multiprocessors)
        self._workspace: DeviceMemory | None = None

    def prepare(self, addresses: Mapping[str, int], stream: int) -> None:
        """See :class:`mahtrt.cuda.slots.Engine`. Loads the kernel: work may be recorded later."""
        kernel = self._kernel
        self._kernels.function(kernel.source, kernel.entry)
        if kernel.workspace_bytes:
            self._workspace = self._device.allocate(kernel.workspace_bytes)
            used_on = self._device.adopt_stream(stream)
            self._device.fill_zero(self._workspace.address, kernel.workspace_bytes, used_on)
        self.engine.prepare(self._of_engine(addresses), stream)

    def enqueue(self, addresses: Mapping[str, int], stream: int) -> None:
        """See :class:`mahtrt.cuda.slots.Engine`."""
        self.engine.enqueue(self._of_engine(addresses), stream)
        decode = self._decode
        names = (decode.heatmaps, decode.landmarks, decode.confidence, decode.spread)
        workspace = self._workspace.address if self._workspace is not None else 0
        launch = self._kernel.launch(*(addresses[name] for name in names), workspace)
        function = self._kernels.function(self._kernel.source, launch.entry)
        self._device.launch(function, launch, self._device.adopt_stream(stream))

    def _of_engine(self, addresses: Mapping[str, int]) -> dict[str, int]:
        computed = self._decode.outputs
        return {name: place for name, place in addresses.items() if name not in computed}

    def close(self) -> None:
        """See :class:`mahtrt.cuda.slots.Engine`."""
        workspace, self._workspace = self._workspace, None
        try:
            self.engine.close()
        finally:
            if workspace is not None:
                workspace.free()


def with_decoding(
    make_engine: Callable[[], Engine],
    decode: KernelDecode | None,
    device: CudaDevice,
    kernels: Callable[[], KernelSet],
) -> Callable[[], Engine]:
    """What makes an engine's part of a slot, with the kernel behind it where there is one.

    Args:
        kernels: Gives the device's, asked when a slot is made.
    """
    if decode is None:
        return make_engine
    record = decode

    def make() -> Engine:
        return DecodingEngine(make_engine(), record, device, kernels())

    return make
