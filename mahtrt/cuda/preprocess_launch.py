"""How the preprocessing kernel is launched: one launch takes one image to one slot of a batch.

The kernel is ``kernels/preprocess.cu``; what it computes is defined in ``docs/preprocessing.md``,
and :mod:`mahtrt.data.resizing` says what it is told of an image. Here arguments are checked and put
in the kernel's order, and the grid is chosen; nothing touches a GPU.

A block has 256 threads: 32 new pixels beside each other, times 8. These 8 are rows of new pixels
where few rows of the image make one, and otherwise share the image rows of fewer new ones: sums
of integers are the same in any order, so the result does not depend on it.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from typing import Literal

from mahtrt.cuda.device import Launch
from mahtrt.errors import ImageError, InputError

SOURCE = "preprocess"  # of mahtrt.cuda.compile

AxisMethod = Literal["same", "mean", "linear"]

_METHODS: dict[AxisMethod, int] = {"same": 0, "mean": 1, "linear": 2}
_SAMPLES = {"uint8": ("u8", 1), "uint16": ("u16", 2)}  # in the kernel's name, and bytes
_TENSORS = {"float32": ("f32", 4), "float16": ("f16", 2)}

BLOCK_THREADS = 256
_BLOCK_COLUMNS = 32
_BLOCK_ROWS = BLOCK_THREADS // _BLOCK_COLUMNS
_MOST_SIDE = 32_767  # of an image: products of a side and a coordinate have 32 bits
_MOST_BLOCK_ROWS = 65_535


@dataclass(frozen=True, slots=True)
class Resizing:
    """An image's way to the network's input; all sizes (height, width), in pixels.

    Attributes:
        image: Size of the image.
        size: Size that it is resized to.
        corner: (top, left) of the resized image on the input, negative where it is cropped.
        target: Size of the network's input.
        methods: How it is resized, along y and along x.
        pad: Grey level around the image.
    """

    image: tuple[int, int]
    size: tuple[int, int]
    corner: tuple[int, int]
    target: tuple[int, int]
    methods: tuple[AxisMethod, AxisMethod]
    pad: int


@dataclass(frozen=True, slots=True)
class DeviceImage:
    """An image in the GPU's memory.

    Attributes:
        address: Where its first sample lies.
        shape: (H, W), (H, W, 1) or (H, W, 3) with R, G and B beside each other.
        dtype: ``uint8`` or ``uint16``.
        pitch: Bytes from the start of a row to that of the next.
    """

    address: int
    shape: tuple[int, ...]
    dtype: str
    pitch: int

    @property
    def samples(self) -> int:
        """Samples of a pixel, 1 or 3."""
        return self.shape[2] if len(self.shape) == 3 else 1


@dataclass(frozen=True, slots=True)
class DeviceBatch:
    """A batch of network inputs in the GPU's memory.

    Attributes:
        address: Where its first value lies.
        shape: (B, C, h, w), C-contiguous, C 1 or 3.
        dtype: ``float32`` or ``float16``.
    """

    address: int
    shape: tuple[int, int, int, int]
    dtype: str


@dataclass(frozen=True, slots=True)
class Values:
    """What a grey level becomes: ``level * gain + shift``, each rounded to float32.

    Attributes:
        gain, shift: Per channel of the tensor.
        reverse: Whether the tensor's channels are B, G, R.
    """

    gain: tuple[float, ...]
    shift: tuple[float, ...]
    reverse: bool = False


def preprocess_launch(
    image: DeviceImage, resizing: Resizing, values: Values, batch: DeviceBatch, slot: int
) -> Launch:
    """The launch that writes an image, resized and normalised, into a slot of a batch.

    Args:
        image: The image; its memory must hold ``(H - 1) * pitch`` bytes and a row.
        resizing: What :func:`mahtrt.data.resizing.resizing` gives.
        values: What :func:`mahtrt.data.preprocess.normalization` gives.
        batch: The tensor; all of the slot is written, padding included.
        slot: Number of the image in the batch.

    Raises:
        ImageError: The image's shape, dtype, pitch or address cannot be used.
        InputError: The batch's, or the slot is none of it.
    """
    _check_image(image, resizing)
    _check_batch(batch, resizing, values, slot)
    shares = _shares(resizing)
    height, width = resizing.target
    grid = (math.ceil(width / _BLOCK_COLUMNS), math.ceil(height * shares / _BLOCK_ROWS), 1)
    if grid[1] > _MOST_BLOCK_ROWS:
        raise InputError("batch", got=f"{height} rows", expected="fewer")
    sample, tensor = _SAMPLES[image.dtype][0], _TENSORS[batch.dtype]
    slot_bytes = math.prod(batch.shape[1:]) * tensor[1]
    whole_numbers = (
        *resizing.image,
        image.samples,
        *resizing.size,
        *resizing.corner,
        *resizing.target,
        batch.shape[1],
        int(values.reverse),
        *(_METHODS[method] for method in resizing.methods),
        shares,
        resizing.pad,
    )
    return Launch(
        entry=f"mahtrt_preprocess_{sample}_{tensor[0]}",
        grid=grid,
        block=(BLOCK_THREADS, 1, 1),
        arguments=(
            ctypes.c_void_p(image.address),
            ctypes.c_longlong(image.pitch),
            *(ctypes.c_int(number) for number in whole_numbers),
            *(ctypes.c_float(value) for value in _three(values.gain)),
            *(ctypes.c_float(value) for value in _three(values.shift)),
            ctypes.c_void_p(batch.address + slot * slot_bytes),
        ),
    )


def _three(values: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(values) + (0.0,) * (3 - len(values))


def _shares(resizing: Resizing) -> int:
    """Among how many threads the image rows of a new pixel are shared: 1, 2, 4 or 8."""
    if resizing.methods[0] != "mean":
        return 1
    rows = resizing.image[0] // resizing.size[0]
    return next((shares for shares in (8, 4, 2) if rows >= 2 * shares), 1)


def _check_image(image: DeviceImage, resizing: Resizing) -> None:
    if image.dtype not in _SAMPLES:
        raise ImageError("image", got=f"dtype {image.dtype}", expected="uint8 or uint16")
    if len(image.shape) not in (2, 3) or image.samples not in (1, 3):
        expected = "(H, W), (H, W, 1) or (H, W, 3)"
        raise ImageError("image", got=f"shape {image.shape}", expected=expected)
    if tuple(image.shape[:2]) != resizing.image or max(resizing.image) > _MOST_SIDE:
        expected = f"that of its resizing, {resizing.image}, at most {_MOST_SIDE} on a side"
        raise ImageError("image", got=f"shape {image.shape}", expected=expected)
    size = _SAMPLES[image.dtype][1]
    row = image.shape[1] * image.samples * size
    if image.pitch < row or image.pitch % size:
        expected = f"at least the {row} bytes of a row, in whole samples of {size}"
        raise ImageError("image", got=f"a pitch of {image.pitch} bytes", expected=expected)
    if image.address <= 0 or image.address % size:
        expected = f"one of the GPU, a multiple of {size}"
        raise ImageError("image", got=f"address {image.address:#x}", expected=expected)


def _check_batch(batch: DeviceBatch, resizing: Resizing, values: Values, slot: int) -> None:
    if batch.dtype not in _TENSORS:
        raise InputError("batch", got=f"dtype {batch.dtype}", expected="float32 or float16")
    if len(batch.shape) != 4 or batch.shape[1] not in (1, 3):
        expected = "(B, 1, h, w) or (B, 3, h, w)"
        raise InputError("batch", got=f"shape {batch.shape}", expected=expected)
    if tuple(batch.shape[2:]) != resizing.target:
        expected = f"(B, C, {resizing.target[0]}, {resizing.target[1]})"
        raise InputError("batch", got=f"shape {batch.shape}", expected=expected)
    if not len(values.gain) == len(values.shift) == batch.shape[1]:
        got = f"{len(values.gain)} gains and {len(values.shift)} shifts"
        raise InputError("batch", got=got, expected=f"one of each per channel ({batch.shape[1]})")
    if not 0 <= slot < batch.shape[0]:
        expected = f"a slot of its {batch.shape[0]}"
        raise InputError("batch", got=f"slot {slot}", expected=expected)
    if batch.address <= 0 or batch.address % _TENSORS[batch.dtype][1]:
        expected = f"one of the GPU, a multiple of {_TENSORS[batch.dtype][1]}"
        raise InputError("batch", got=f"address {batch.address:#x}", expected=expected)
