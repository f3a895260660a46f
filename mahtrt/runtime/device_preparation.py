"""Preparing images on the GPU: raw pixels are copied, and a kernel resizes and normalises them.

The kernel gives what :func:`mahtrt.data.preprocess.preprocess` does, bit for bit. Images may lie on
the GPU already.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.cuda.device import CudaDevice
from mahtrt.cuda.kernel_set import KernelSet
from mahtrt.cuda.preprocess_launch import (
    SOURCE,
    DeviceBatch,
    DeviceImage,
    Values,
    preprocess_launch,
)
from mahtrt.cuda.slots import Fill, Slot
from mahtrt.cuda.views import DeviceView, check_place, device_view
from mahtrt.data.preprocess import (
    Placement,
    check_image,
    check_image_form,
    fit_of,
    normalization,
)
from mahtrt.data.resizing import ON_GPU, resizing
from mahtrt.errors import InputError
from mahtrt.spec import InputSpec, ModelSpec

RawImage = NDArray[Any] | DeviceView


def can_prepare(spec: ModelSpec) -> bool:
    """Whether the kernel knows the resizing of every input."""
    return all(each.interpolation in ON_GPU and each.channels in (1, 3) for each in spec.inputs)


@dataclass(frozen=True, slots=True)
class DevicePreparation:
    """Writes the inputs of an inference from raw images.

    Attributes:
        gpu: The device; entered by whoever calls a :data:`mahtrt.cuda.slots.Fill`.
        spec: What the network takes.
        batch: Cases per inference.
        kernels: The device's.
    """

    gpu: CudaDevice
    spec: ModelSpec
    batch: int
    kernels: KernelSet

    def checked(self, image: Any, subject: str) -> RawImage:
        """An image of the host, or a view of one on the GPU.

        Raises:
            ImageError: Wrong rank, dtype, channel count or size.
            InputError: Memory of another device, or that the kernel cannot read.
        """
        if isinstance(image, np.ndarray):
            check_image(image, subject)
            return image
        if not isinstance(image, DeviceView) and not _is_device_array(image):
            check_image(image, subject)  # refuses it, and says what is expected
        view = device_view(image)
        check_image_form(view.shape, view.dtype, subject)
        with self.gpu:
            check_place(view, self.gpu, _bytes(view, subject), subject)
        return view

    def plan(self, cases: Sequence[tuple[RawImage, ...]]) -> tuple[Fill, list[Placement]]:
        """What writes the inputs for some cases, and where their first images lie on the input.

        Args:
            cases: At most a batch of them, each with an image per input, checked; what is left of
                the batch is zero.

        Raises:
            ImageError: An image would be resized to more pixels than are ever made.
        """
        first = self.spec.inputs[0]
        placements = [fit_of(case[0].shape, first).placement for case in cases]

        def fill(slot: Slot) -> None:
            self._fill(slot, cases)

        return fill, placements

    def _fill(self, slot: Slot, cases: Sequence[tuple[RawImage, ...]]) -> None:
        flat = [image for case in cases for image in case]
        on_host = [_packed(image) for image in flat if not isinstance(image, DeviceView)]
        addresses = iter(slot.stage(on_host) if on_host else [])
        for number, case in enumerate(cases):
            for image, spec in zip(case, self.spec.inputs, strict=True):
                if isinstance(image, DeviceView):
                    raw = _view_image(image)
                    if image.stream is not None:
                        slot.wait_for(self.gpu.adopt_stream(image.stream))
                else:
                    raw = _host_image(_packed(image), next(addresses))
                self._launch(slot, raw, spec, number)
        self._zero_rest(slot, len(cases))

    def _launch(self, slot: Slot, raw: DeviceImage, spec: InputSpec, number: int) -> None:
        dtype = np.dtype(raw.dtype)
        gain, shift = normalization(dtype, spec)
        values = Values(tuple(gain), tuple(shift), spec.color_order == "bgr")
        shape = (self.batch, spec.channels, *spec.size)
        batch = DeviceBatch(slot.addresses[spec.name], shape, "float32")
        how = resizing(fit_of(raw.shape, spec), dtype, spec)
        launch = preprocess_launch(raw, how, values, batch, number)
        self.gpu.launch(self.kernels.function(SOURCE, launch.entry), launch, slot.stream)

    def _zero_rest(self, slot: Slot, cases: int) -> None:
        for spec in self.spec.inputs if cases < self.batch else ():
            case_bytes = math.prod((spec.channels, *spec.size)) * 4
            address = slot.addresses[spec.name] + cases * case_bytes
            self.gpu.fill_zero(address, (self.batch - cases) * case_bytes, slot.stream)


def _packed(image: NDArray[Any]) -> NDArray[Any]:
    """C-contiguous, in the byte order of this machine."""
    return np.ascontiguousarray(image, image.dtype.newbyteorder("="))


def _host_image(image: NDArray[Any], address: int) -> DeviceImage:
    return DeviceImage(address, image.shape, image.dtype.name, image.strides[0])


def _is_device_array(image: Any) -> bool:
    return any(hasattr(image, name) for name in ("__cuda_array_interface__", "__dlpack__"))


def _row_bytes(view: DeviceView) -> int:
    return math.prod(view.shape[1:]) * view.dtype.itemsize


def _pitch(view: DeviceView) -> int:
    """Bytes from the start of a row to that of the next."""
    return _row_bytes(view) if view.strides_bytes is None else view.strides_bytes[0]


def _bytes(view: DeviceView, subject: str) -> int:
    """From the first byte of an image to behind its last, whose rows have to be packed."""
    if view.strides_bytes is not None:
        packed = np.cumprod((view.dtype.itemsize, *view.shape[:0:-1]))[-2::-1]
        if view.strides_bytes[1:] != tuple(packed) or _pitch(view) < _row_bytes(view):
            raise InputError(
                subject,
                got=f"shape {view.shape} with strides of {view.strides_bytes} bytes",
                expected="rows whose pixels lie side by side, channels last",
                fix="Make it contiguous first, .contiguous() in PyTorch.",
            )
    return (view.shape[0] - 1) * _pitch(view) + _row_bytes(view)


def _view_image(view: DeviceView) -> DeviceImage:
    return DeviceImage(view.address, view.shape, view.dtype.name, _pitch(view))
