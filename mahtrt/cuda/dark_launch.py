"""Launches of DARK: what is computed, checked and cut into blocks; all maps of a batch in one.

The kernels are ``kernels/dark.cu``; what they compute is defined in :mod:`mahtrt.runtime.dark`.
Nothing here touches a GPU::

    operation = Dark((8, 20, 512, 512), "float16", 2.0, (512, 512))
    workspace = device.allocate(operation.workspace_bytes)
    device.fill_zero(workspace.address, workspace.nbytes, stream)  # once
    places = DarkPlaces(heatmaps, landmarks, confidence, spread, workspace.address)
    launch = dark_launch(operation, places)
    device.launch(module.function(launch.entry), launch, stream)  # any number of times

The kernels leave the workspace as they want to find it, so launches on one stream may share one,
and a launch may be a part of a graph. Launches that may overlap need a workspace each. After a
launch that failed the workspace has to be filled with zeros again.

Values that are no heatmap: a NaN in a map, or an infinity that reaches its peak, makes its landmark
and spread NaN.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from typing import Literal

from mahtrt.cuda.device import Launch
from mahtrt.errors import InputError

SOURCE = "dark"  # of mahtrt.cuda.compile
BLOCK_THREADS = 256
LEAST_SIDE = 3  # cells
MOST_SIGMA = 11.2  # cells: the kernel's shared memory holds a Gaussian of 28 cells to each side

_SUFFIX = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}
_TILE_ROWS = 32
_MOST_SIDE = 2**15  # cells
_MOST_BLOCKS = 2**31 - 1
_ALIGNMENT = 256


@dataclass(frozen=True, slots=True)
class _Variant:
    """A kernel for Gaussians of some widths.

    Attributes:
        name: In the entry's name.
        radius: Most cells to each side that its shared memory holds.
        columns: Cells of a row of a tile.
    """

    name: str
    radius: int
    columns: int


_NARROW, _WIDE = _Variant("", 8, 64), _Variant("wide_", 28, 32)


@dataclass(frozen=True, slots=True)
class Dark:
    """DARK over heatmaps in memory.

    Attributes:
        shape: (B, K, h, w) of the heatmaps, C-contiguous.
        dtype: Their type.
        sigma: Standard deviation in cells of the Gaussian that maps are smoothed with.
        input_size: (H, W) in pixels of the network's input.

    Raises:
        InputError: The kernel cannot do it.
    """

    shape: tuple[int, int, int, int]
    dtype: Literal["float32", "float16", "bfloat16"]
    sigma: float
    input_size: tuple[int, int]

    def __post_init__(self) -> None:
        if self.dtype not in _SUFFIX:
            expected = " or ".join(_SUFFIX)
            raise InputError("heatmaps", got=f"dtype {self.dtype}", expected=expected)
        if len(self.shape) != 4 or min(self.shape) < 1 or min(self.shape[2:]) < LEAST_SIDE:
            expected = f"(B, K, h, w) with h and w at least {LEAST_SIDE}"
            raise InputError("heatmaps", got=f"shape {self.shape}", expected=expected)
        if not 0 < self.sigma <= MOST_SIGMA:
            raise InputError(
                "decode.sigma",
                got=f"{self.sigma:g} cells",
                expected=f"at most {MOST_SIGMA:g} for the kernel",
                fix="Decode in the graph or on the CPU.",
            )
        if min(self.input_size) < 1:
            raise InputError("input size", got=str(self.input_size), expected="at least 1 each")
        if max(self.shape[2:]) > _MOST_SIDE or self.maps * math.prod(self.tiles) > _MOST_BLOCKS:
            raise InputError("heatmaps", got=f"shape {self.shape}", expected="fewer cells")

    @property
    def maps(self) -> int:
        """How many, of all images."""
        return self.shape[0] * self.shape[1]

    @property
    def itemsize(self) -> int:
        """Bytes of a value that is read."""
        return 4 if self.dtype == "float32" else 2

    @property
    def radius(self) -> int:
        """Cells to each side that the Gaussian reaches, as in :mod:`mahtrt.runtime.dark`."""
        return math.ceil(2.5 * self.sigma)

    @property
    def _variant(self) -> _Variant:
        return _NARROW if self.radius <= _NARROW.radius else _WIDE

    @property
    def tiles(self) -> tuple[int, int]:
        """How many blocks read a map together, down and across."""
        return -(-self.shape[2] // _TILE_ROWS), -(-self.shape[3] // self._variant.columns)

    @property
    def entry(self) -> str:
        """The kernel's name."""
        return f"mahtrt_dark_{self._variant.name}{_SUFFIX[self.dtype]}"

    @property
    def counter_bytes(self) -> int:
        """Bytes of the workspace before what the tiles leave there."""
        return -(-4 * self.maps // _ALIGNMENT) * _ALIGNMENT

    @property
    def workspace_bytes(self) -> int:
        """Bytes that a launch works in; filled with zeros once before the first."""
        (down, across), (rows, columns) = self.tiles, self.shape[2:]
        floats = (across + 1) * rows + (down + 1) * columns + down * across
        return self.counter_bytes + 4 * floats * self.maps


@dataclass(frozen=True, slots=True)
class DarkPlaces:
    """Addresses in the GPU's memory; all arrays are contiguous, all but the maps FP32.

    Attributes:
        heatmaps: (B, K, h, w).
        landmarks: (B, K, 2) as x, y.
        confidence, spread: (B, K).
        workspace: Memory of :attr:`Dark.workspace_bytes`.
        affine: (B, 4) x_scale, x_offset, y_scale, y_offset from network to image pixels; 0 leaves
            landmarks and spread in network pixels.
    """

    heatmaps: int
    landmarks: int
    confidence: int
    spread: int
    workspace: int
    affine: int = 0


def dark_launch(operation: Dark, places: DarkPlaces) -> Launch:
    """The launch that reads all landmarks of a batch.

    Raises:
        InputError: An address is missing or not aligned.
    """
    _check_places(operation, places)
    _batch, maps_of_image, rows, columns = operation.shape
    whole = (rows, columns, maps_of_image, *operation.input_size, operation.radius)
    addresses = (
        places.affine,
        places.workspace + operation.counter_bytes,
        places.workspace,  # the counters
        places.landmarks,
        places.confidence,
        places.spread,
    )
    return Launch(
        entry=operation.entry,
        grid=(operation.maps * math.prod(operation.tiles), 1, 1),
        block=(BLOCK_THREADS, 1, 1),
        arguments=(
            ctypes.c_void_p(places.heatmaps),
            *map(ctypes.c_int, whole),
            ctypes.c_double(operation.sigma),
            *map(ctypes.c_void_p, addresses),
        ),
    )


def _check_places(operation: Dark, places: DarkPlaces) -> None:
    alignments = {
        "heatmaps": operation.itemsize,
        "landmarks": 4,
        "confidence": 4,
        "spread": 4,
        "workspace": 16,
        **({"affine": 4} if places.affine else {}),
    }
    for name, alignment in alignments.items():
        place = getattr(places, name)
        if place <= 0 or place % alignment:
            expected = f"a multiple of {alignment}, not 0"
            raise InputError(name, got=f"address {place:#x}", expected=expected)
