"""A whole session on a GPU without any engine's package: the heatmaps are the prepared image.

Images are prepared by the kernel, copied as heatmaps, and decoded by the kernel, in the slots and
recorded graphs that engines have. Runs on the fake GPU and on a real one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mahtrt.cuda.device import CudaDevice
from mahtrt.cuda.pool import SlotPool
from mahtrt.cuda.slots import DeviceTensor
from mahtrt.data.preprocess import Placement, preprocess
from mahtrt.runtime.soft_argmax import soft_argmax
from mahtrt.spec import DecodeSpec, InputSpec, ModelSpec, OutputSpec
from mahtrt.targets.kernel_decode.record import KernelDecode
from mahtrt.targets.kernel_decode.run import decoded_tensors, with_decoding
from mahtrt.targets.pool_backend import PoolBackend

TEMPERATURE = 0.05


def identity_spec(size: tuple[int, int]) -> ModelSpec:
    """Three colours, three landmarks: where each colour is brightest."""
    return ModelSpec(
        family="identity",
        inputs=(InputSpec(size, mean=(0.0,) * 3, std=(1.0,) * 3),),
        outputs=(
            OutputSpec("landmarks", "landmarks", "network"),
            OutputSpec("confidence", "confidence"),
            OutputSpec("spread", "spread", "network"),
            OutputSpec("heatmaps", "heatmaps"),
        ),
        landmarks=("red", "green", "blue"),
        decode=DecodeSpec("soft_argmax", TEMPERATURE, size),
    )


def expected_points(image: NDArray[np.generic], spec: ModelSpec) -> NDArray[np.float32]:
    """Landmarks (3, 2) in image pixels, by the definitions in NumPy."""
    tensor, placement = preprocess(image, spec.input)
    points, _, _ = soft_argmax(tensor[None], TEMPERATURE, spec.input.size)
    assert isinstance(placement, Placement)
    return placement.image_from_network(points[0])


def smooth_image(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """An image (H, W, 3) with a bright spot of each colour."""
    random = np.random.default_rng(seed)
    ys, xs = np.mgrid[:height, :width]
    planes = []
    for _ in range(3):
        y, x = random.uniform(0.2, 0.8, 2) * (height, width)
        spread = 2 * (0.05 * (height + width)) ** 2
        planes.append(250 * np.exp(-((ys - y) ** 2 + (xs - x) ** 2) / spread))
    return np.stack(planes, -1).astype(np.uint8)


class _Copy:
    """An engine whose heatmaps are its input."""

    def __init__(self, device: CudaDevice, nbytes: int) -> None:
        self._device, self._nbytes = device, nbytes

    def prepare(self, addresses: Mapping[str, int], stream: int) -> None: ...

    def enqueue(self, addresses: Mapping[str, int], stream: int) -> None:
        to, source = addresses["heatmaps"], addresses["image"]
        self._device.copy_on_device(to, source, self._nbytes, self._device.adopt_stream(stream))

    def close(self) -> None: ...


class IdentityBackend(PoolBackend):
    """See :class:`mahtrt.targets.backend.Backend`."""

    def __init__(self, device: CudaDevice, spec: ModelSpec, batch: int = 1) -> None:
        shape = (batch, 3, *spec.input.size)
        decode = KernelDecode(
            kernel="soft_argmax",
            heatmaps="heatmaps",
            dtype="float32",
            shape=shape,
            input_size=(spec.input.size[0], spec.input.size[1]),
            landmarks="landmarks",
            confidence="confidence",
            spread="spread",
            temperature=TEMPERATURE,
        )
        float32 = np.dtype(np.float32)
        own = [DeviceTensor("image", shape, float32, True)]
        own.append(DeviceTensor("heatmaps", shape, float32, False))
        nbytes = own[0].nbytes
        make = with_decoding(
            lambda: _Copy(device, nbytes), decode, device, lambda: self.pool.kernels
        )
        tensors = decoded_tensors(own, decode, "identity")
        super().__init__("identity", device, spec, tensors)
        self.pool = SlotPool("identity", device, tensors, make)
