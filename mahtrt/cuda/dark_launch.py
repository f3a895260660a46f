"""How the DARK kernel is launched: all maps of a batch in one launch.

The kernel is ``kernels/dark.cu``; what it computes is defined in :mod:`mahtrt.runtime.dark`. Here
arguments are checked and put in the kernel's order; nothing touches a GPU.

Values that are no heatmap: a NaN in a map, or an infinity that reaches its peak, makes its landmark
and spread NaN.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass

from mahtrt.cuda.device import Launch
from mahtrt.errors import InputError

KERNEL = "dark"  # the file's name
BLOCK_THREADS = 256
LEAST_SIDE = 3  # cells
MOST_SIGMA = 11.2  # cells: the kernel's shared memory holds a Gaussian of 28 cells to each side

_HEATMAPS = {"float32": ("f32", 4), "float16": ("f16", 2), "bfloat16": ("bf16", 2)}
_TILE_ROWS = 32
_NARROW = ("", 8, 64)  # in the entry's name, largest radius, columns of a tile
_WIDE = ("wide_", 28, 32)
_MOST_BLOCKS = 2**31 - 1
_ALIGNMENT = 16


@dataclass(frozen=True, slots=True)
class DarkTask:
    """What is read from where.

    Attributes:
        shape: (B, K, h, w) of the heatmaps, C-contiguous.
        dtype: ``float32``, ``float16`` or ``bfloat16``.
        sigma: Standard deviation in cells of the Gaussian that maps are smoothed with.
        input_size: (H, W) of the network's input in pixels.
    """

    shape: tuple[int, int, int, int]
    dtype: str
    sigma: float
    input_size: tuple[int, int]

    @property
    def maps(self) -> int:
        return self.shape[0] * self.shape[1]

    @property
    def radius(self) -> int:
        """Cells to each side that the Gaussian reaches, as in :mod:`mahtrt.runtime.dark`."""
        return math.ceil(2.5 * self.sigma)

    @property
    def tiles(self) -> tuple[int, int]:
        """How many tiles a map has, down and across."""
        return math.ceil(self.shape[2] / _TILE_ROWS), math.ceil(self.shape[3] / self.variant[2])

    @property
    def variant(self) -> tuple[str, int, int]:
        return _NARROW if self.radius <= _NARROW[1] else _WIDE


@dataclass(frozen=True, slots=True)
class DarkMemory:
    """Addresses in the GPU's memory.

    Attributes:
        heatmaps: Of the first value.
        workspace: Of :func:`dark_workspace_bytes` bytes, a multiple of 16. It holds zeros before
            the first launch; each launch leaves it as the next one needs it. Two launches that
            may run at once need one each.
        landmarks: (B, K, 2) float32, x and y.
        confidence, spread: (B, K) float32.
        affine: (B, 4) float32, for each image x_scale, x_offset, y_scale, y_offset: a point x of
            the network's input is x * x_scale + x_offset in the image. 0: the identity.
    """

    heatmaps: int
    workspace: int
    landmarks: int
    confidence: int
    spread: int
    affine: int = 0


def dark_workspace_bytes(task: DarkTask) -> int:
    """How much memory a launch needs between its blocks.

    Raises:
        InputError: The task cannot be done by the kernel.
    """
    _check(task)
    (down, across), (rows, columns) = task.tiles, task.shape[2:]
    floats = (across + 1) * rows + (down + 1) * columns + down * across
    return _counter_bytes(task) + 4 * floats * task.maps


def dark_launch(task: DarkTask, memory: DarkMemory) -> Launch:
    """The launch that reads all landmarks of a batch.

    Raises:
        InputError: Shape, dtype, sigma or an address cannot be used.
    """
    _check(task)
    _check_addresses(task, memory)
    _batch, maps_of_image, rows, columns = task.shape
    whole_numbers = (rows, columns, maps_of_image, *task.input_size, task.radius)
    addresses = (
        memory.affine or None,
        memory.workspace + _counter_bytes(task),
        memory.workspace,  # the counters
        memory.landmarks,
        memory.confidence,
        memory.spread,
    )
    return Launch(
        entry=f"mahtrt_dark_{task.variant[0]}{_HEATMAPS[task.dtype][0]}",
        grid=(task.maps * math.prod(task.tiles), 1, 1),
        block=(BLOCK_THREADS, 1, 1),
        arguments=(
            ctypes.c_void_p(memory.heatmaps),
            *(ctypes.c_int(number) for number in whole_numbers),
            ctypes.c_double(task.sigma),
            *(ctypes.c_void_p(address) for address in addresses),
        ),
    )


def _counter_bytes(task: DarkTask) -> int:
    return math.ceil(4 * task.maps / _ALIGNMENT) * _ALIGNMENT


def _check(task: DarkTask) -> None:
    if task.dtype not in _HEATMAPS:
        expected = ", ".join(_HEATMAPS)
        raise InputError("heatmaps", got=f"dtype {task.dtype}", expected=expected)
    if len(task.shape) != 4 or min(task.shape) < 1 or min(task.shape[2:]) < LEAST_SIDE:
        expected = f"(B, K, h, w) with h and w at least {LEAST_SIDE}"
        raise InputError("heatmaps", got=f"shape {task.shape}", expected=expected)
    if not 0 < task.sigma <= MOST_SIGMA:
        raise InputError(
            "decode.sigma",
            got=f"{task.sigma:g} cells",
            expected=f"at most {MOST_SIGMA:g} for the kernel",
            fix="Decode in the graph or on the CPU.",
        )
    if max(task.shape[2:]) > 2**15 or task.maps * math.prod(task.tiles) > _MOST_BLOCKS:
        raise InputError("heatmaps", got=f"shape {task.shape}", expected="fewer cells")


def _check_addresses(task: DarkTask, memory: DarkMemory) -> None:
    sizes = {
        "heatmaps": (memory.heatmaps, _HEATMAPS[task.dtype][1]),
        "workspace": (memory.workspace, _ALIGNMENT),
        "landmarks": (memory.landmarks, 4),
        "confidence": (memory.confidence, 4),
        "spread": (memory.spread, 4),
    }
    if memory.affine:
        sizes["affine"] = (memory.affine, 4)
    for name, (address, size) in sizes.items():
        if address <= 0 or address % size:
            expected = f"one of the GPU, a multiple of {size}"
            raise InputError(name, got=f"address {address:#x}", expected=expected)
