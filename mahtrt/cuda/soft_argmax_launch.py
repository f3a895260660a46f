"""Launches of the fused soft-argmax: what is computed, checked and cut into blocks.

The kernels are ``kernels/soft_argmax.cu``; what they compute is defined in
:mod:`mahtrt.runtime.soft_argmax`. Nothing here touches a GPU::

    operation = SoftArgmax((64, 7, 512, 512), "float16", 0.05, (512, 512))
    workspace = device.allocate(operation.workspace_bytes(device.multiprocessors))
    device.fill_zero(workspace.address, workspace.nbytes, stream)  # once
    places = SoftArgmaxPlaces(heatmaps, landmarks, confidence, spread, workspace.address)
    launch = soft_argmax_launch(operation, places, device.multiprocessors)
    device.launch(module.function(launch.entry), launch, stream)  # any number of times

The kernels leave the workspace as they want to find it, so launches on one stream may share one,
and a launch may be a part of a graph. Launches that may overlap need a workspace each. After a
launch that failed the workspace has to be filled with zeros again.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from typing import Literal

from mahtrt.cuda.device import Argument, Launch
from mahtrt.errors import InputError

MapDtype = Literal["float32", "float16", "bfloat16"]

SOURCE = "soft_argmax"  # of mahtrt.cuda.compile
BLOCK_THREADS = 256
MOST_PARTS = 32
# Temperatures with an FP32 value and an inverse that is neither 0 nor infinite.
LEAST_TEMPERATURE, MOST_TEMPERATURE = 1e-38, 3e38

_SUFFIX = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}
_SUBJECT = "fused soft-argmax"
_MOST_CELLS = 2**30  # of a map; and of blocks: whole numbers of the kernel stay in 31 bits
_PARTIAL_BYTES, _COUNTER_BYTES, _ALIGNMENT = 32, 4, 256
# A block is worth its start and its merge from about here: each thread reads 32 cells.
_LEAST_CELLS = 8192
# Where there are blocks enough. A block's first values cost twice as much as later ones, because
# the highest of them is still to be found; few large blocks do not even out in the end.
_USUAL_CELLS = 131072
_BLOCKS_PER_MULTIPROCESSOR = 4  # that are resident at a time


@dataclass(frozen=True, slots=True)
class SoftArgmax:
    """A soft-argmax over heatmaps in memory, or over full maps of logits.

    Attributes:
        shape: (B, K, h, w) of the heatmaps.
        dtype: Type of what is read.
        temperature: Divides the heatmaps before the softmax.
        input_size: (H, W) in pixels of the network's input.
        logits_size: Rows and columns of the maps of logits (B, K, rows, columns) that are read:
            a sigmoid and a bilinear resize make heatmaps of them. None where heatmaps are read.

    Raises:
        InputError: A number is out of range.
    """

    shape: tuple[int, int, int, int]
    dtype: MapDtype
    temperature: float
    input_size: tuple[int, int]
    logits_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        sizes = (*self.shape, *self.input_size, *(self.logits_size or ()))
        _check("sizes", sizes, min(sizes) >= 1, "at least 1 each")
        _check("type", self.dtype, self.dtype in _SUFFIX, " or ".join(_SUFFIX))
        most = max(math.prod(self.shape[2:]), math.prod(self.logits_size or ()))
        _check("cells of a map", most, most <= _MOST_CELLS, f"at most {_MOST_CELLS}")
        blocks = MOST_PARTS * self.maps
        _check("maps", self.maps, blocks <= _MOST_CELLS, f"at most {_MOST_CELLS // MOST_PARTS}")
        _check("pixels", self.input_size, max(self.input_size) < 2**24, "fewer than 2^24 a side")
        usable = LEAST_TEMPERATURE <= self.temperature <= MOST_TEMPERATURE
        wanted = f"from {LEAST_TEMPERATURE} to {MOST_TEMPERATURE}"
        _check("temperature", self.temperature, usable, wanted)

    @property
    def maps(self) -> int:
        """How many, of all images."""
        return self.shape[0] * self.shape[1]

    @property
    def entry(self) -> str:
        """The kernel's name."""
        kind = "maps" if self.logits_size is None else "logits"
        return f"mahtrt_soft_argmax_{kind}_{_SUFFIX[self.dtype]}"

    @property
    def itemsize(self) -> int:
        """Bytes of a value that is read."""
        return 4 if self.dtype == "float32" else 2

    @property
    def map_bytes(self) -> int:
        """Bytes of all maps that are read."""
        rows, columns = self.logits_size or self.shape[2:]
        return self.maps * rows * columns * self.itemsize

    def parts(self, multiprocessors: int) -> int:
        """How many blocks read a map together: few for many maps, many for few."""
        cells = math.prod(self.shape[2:])
        usual = _ceil(cells, _USUAL_CELLS)
        filling = _ceil(multiprocessors * _BLOCKS_PER_MULTIPROCESSOR, self.maps)
        return min(max(usual, min(filling, _ceil(cells, _LEAST_CELLS))), MOST_PARTS)

    def workspace_bytes(self, multiprocessors: int, parts: int | None = None) -> int:
        """Bytes that a launch works in, zero for none; filled with zeros once before the first."""
        parts = parts or self.parts(multiprocessors)
        return 0 if parts == 1 else _counters_bytes(self) + self.maps * parts * _PARTIAL_BYTES


@dataclass(frozen=True, slots=True)
class SoftArgmaxPlaces:
    """Addresses in the GPU's memory; all arrays are contiguous, all but the maps FP32.

    Attributes:
        maps: What is read: heatmaps (B, K, h, w), or logits.
        landmarks: (B, K, 2) as x, y.
        confidence, spread: (B, K).
        workspace: Memory of :meth:`SoftArgmax.workspace_bytes`; 0 where there is none.
        affine: (B, 4) x_scale, x_offset, y_scale, y_offset from network to image pixels; 0 leaves
            landmarks and spread in network pixels.
    """

    maps: int
    landmarks: int
    confidence: int
    spread: int
    workspace: int = 0
    affine: int = 0


def soft_argmax_launch(
    operation: SoftArgmax,
    places: SoftArgmaxPlaces,
    multiprocessors: int,
    *,
    parts: int | None = None,
) -> Launch:
    """The launch of a soft-argmax.

    Args:
        multiprocessors: How many the GPU has.
        parts: How many blocks read a map together, 1 to 32; None chooses. The workspace has to be
            of the same number.

    Raises:
        InputError: An address is missing or not aligned, or the parts are too many.
    """
    parts = operation.parts(multiprocessors) if parts is None else parts
    _check("parts", parts, 1 <= parts <= MOST_PARTS, f"1 to {MOST_PARTS}")
    _check_places(operation, places, parts)
    partials = places.workspace + _counters_bytes(operation) if parts > 1 else 0
    sizes = (*(operation.logits_size or ()), *operation.shape[2:])
    scale = math.log2(math.e) / _float32(operation.temperature)
    numbers = (parts, operation.shape[1], *operation.input_size)
    outputs = (places.landmarks, places.confidence, places.spread)
    addresses = (places.affine, *outputs, partials, places.workspace)
    arguments: list[Argument] = [ctypes.c_void_p(places.maps)]
    arguments += [ctypes.c_int(size) for size in sizes]
    arguments += [ctypes.c_float(scale)]
    arguments += [ctypes.c_int(number) for number in numbers]
    arguments += [ctypes.c_void_p(address) for address in addresses]
    grid = (operation.maps * parts, 1, 1)
    return Launch(operation.entry, grid, (BLOCK_THREADS, 1, 1), tuple(arguments))


def _check_places(operation: SoftArgmax, places: SoftArgmaxPlaces, parts: int) -> None:
    wanted = {
        "maps": operation.itemsize,
        "landmarks": 4,
        "confidence": 4,
        "spread": 4,
        **({"workspace": 16} if parts > 1 else {}),
    }
    for name, alignment in wanted.items():
        place = getattr(places, name)
        usable = place > 0 and place % alignment == 0
        _check(f"address of {name}", hex(place), usable, f"a multiple of {alignment}, not 0")
    usable = places.affine % 4 == 0
    _check("address of affine", hex(places.affine), usable, "a multiple of 4")


def _counters_bytes(operation: SoftArgmax) -> int:
    return _ceil(operation.maps * _COUNTER_BYTES, _ALIGNMENT) * _ALIGNMENT


def _float32(value: float) -> float:
    return ctypes.c_float(value).value


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _check(what: str, got: object, fulfilled: bool, expected: str) -> None:
    if not fulfilled:
        raise InputError(_SUBJECT, got=f"{what} {got}", expected=expected)
