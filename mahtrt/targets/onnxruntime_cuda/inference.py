"""What one inference on the GPU needs: a session, a stream, memory on both sides, a binding.

A session with a stream of ours, or with a CUDA graph, is for one thread. Addresses never change, so
that inputs and outputs are bound once and a recorded graph stays right.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mahtrt.cuda.device import CudaDevice, DeviceMemory, PinnedMemory, Stream
from mahtrt.data.feed import Feed
from mahtrt.errors import MahtrtError, ModelError
from mahtrt.targets.backend import Tensor

FLOAT = "tensor(float)"
# ONNX Runtime records in CUDA's global mode: meanwhile no thread of the process may call what could
# break a recording, such as an allocation (CUDA's documentation of cudaStreamBeginCapture). What
# makes, warms up or frees an inference waits here.
exclusive = threading.RLock()


@dataclass(frozen=True, slots=True)
class IoTensor:
    """An input or output: float32, of static shape."""

    name: str
    shape: tuple[int, ...]
    is_input: bool

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * 4


def read_io_tensors(session: Any, subject: str) -> tuple[IoTensor, ...]:
    """Inputs and outputs of a session.

    Raises:
        ModelError: One is not float32, or has no static shape.
    """
    found = []
    for values, is_input in ((session.get_inputs(), True), (session.get_outputs(), False)):
        for value in values:
            static = all(isinstance(size, int) for size in value.shape)
            if value.type != FLOAT or not static:
                raise ModelError(
                    f"{subject}: {value.name}",
                    got=f"{value.type} {tuple(value.shape)}",
                    expected="float32 of static shape",
                    fix="Build from an ONNX that mahtrt exported.",
                )
            found.append(IoTensor(value.name, tuple(value.shape), is_input))
    return tuple(found)


class Inference:
    """A bound session. Made, used and freed in one thread, with the CUDA context current.

    Attributes:
        io_tensors: Inputs and outputs.
    """

    def __init__(
        self, ort: Any, device: CudaDevice, open_session: Callable[[int], Any], name: str
    ) -> None:
        """Open a session on a stream of its own, and run it once.

        Args:
            ort: The package.
            open_session: Takes the stream's handle.
            name: What errors are about.

        Raises:
            CudaError: Out of memory.
            MahtrtError: What ``open_session`` raises.
        """
        self._device, self._name = device, name
        self._memory: dict[str, DeviceMemory] = {}
        self._pinned: dict[str, PinnedMemory] = {}
        self._session: Any = None
        self._binding: Any = None
        with exclusive:
            self._stream: Stream = device.create_stream()
            try:
                self._prepare(ort, open_session)
                self._warm_up()
            except BaseException:
                with contextlib.suppress(MahtrtError):  # the first error is the one to tell
                    self.free()
                raise

    def _prepare(self, ort: Any, open_session: Callable[[int], Any]) -> None:
        device = self._device
        self._session = open_session(self._stream.handle)
        self.io_tensors = read_io_tensors(self._session, self._name)
        for each in self.io_tensors:
            self._memory[each.name] = device.allocate(each.nbytes)
            self._pinned[each.name] = device.allocate_pinned(each.shape, np.float32)
        addresses = {key: memory.address for key, memory in self._memory.items()}
        self._binding = bind(self._session, self.io_tensors, addresses, "cuda", device.ordinal)
        self._run_options = asynchronous(ort)

    def _warm_up(self) -> None:
        """Run once on zeros, which allocates what a run needs and records the graph."""
        for each in self.io_tensors:
            self._device.fill_zero(self._memory[each.name].address, each.nbytes, self._stream)
        self._enqueue()
        self._stream.synchronize()

    def run(self, feed: Feed, outputs: Sequence[str]) -> dict[str, Tensor]:
        """Copy in, run, copy the wanted outputs out, wait."""
        device, stream = self._device, self._stream
        for name, tensor in feed.items():
            np.copyto(self._pinned[name].array, tensor)
            device.copy_to_device(self._memory[name].address, self._pinned[name].array, stream)
        self._enqueue()
        for name in outputs:
            device.copy_to_host(self._pinned[name].array, self._memory[name].address, stream)
        stream.synchronize()
        # The memory is used again by the next call, so the caller gets copies.
        return {name: self._pinned[name].array.copy() for name in outputs}

    def _enqueue(self) -> None:
        """Give the network to the stream.

        Raises:
            MahtrtError: ONNX Runtime fails.
        """
        try:
            self._session.run_with_iobinding(self._binding, self._run_options)
        except Exception as error:  # its exceptions have no public names
            raise failed(self._name, str(error)) from error

    def free(self) -> None:
        """Give everything back, once what the stream has to do is done."""
        # The stack goes on where one of them fails; last in, first out.
        with exclusive, contextlib.ExitStack() as stack:
            stack.callback(self._stream.close)
            for memory in self._memory.values():
                stack.callback(memory.free)
            for pinned in self._pinned.values():
                stack.callback(pinned.free)
            stack.callback(self._drop_session)
            stack.callback(self._stream.synchronize)
        self._memory, self._pinned = {}, {}

    def _drop_session(self) -> None:
        self._binding = self._session = None


def bind(
    session: Any,
    io_tensors: Sequence[IoTensor],
    addresses: Mapping[str, int],
    device: str,
    ordinal: int,
) -> Any:
    """An ``IOBinding`` of every input and output to memory of ours.

    Args:
        addresses: By the names of ``io_tensors``; the memory has to outlive the binding.
        device: ONNX Runtime's name of the kind of device, ``cuda`` or ``cpu``.
    """
    binding = session.io_binding()
    for each in io_tensors:
        put = binding.bind_input if each.is_input else binding.bind_output
        put(each.name, device, ordinal, np.float32, each.shape, addresses[each.name])
    return binding


def asynchronous(ort: Any) -> Any:
    """Options of runs that do not wait for the GPU: the stream does."""
    options = ort.RunOptions()
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    return options


def failed(name: str, text: str) -> MahtrtError:
    """The error about a run that ONNX Runtime ended."""
    reason = text.partition("\n")[0]
    memory = "Failed to allocate memory" in text or "out of memory" in text
    fix = "Close other programs on the GPU, or use fewer threads." if memory else ""
    return MahtrtError(f"engine {name}", got=reason, expected="a network that runs", fix=fix)
