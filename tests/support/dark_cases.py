"""The DARK kernel on the CPU, for tests and for a process with a sanitizer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from cuda_on_cpu import KERNELS, cpu_kernels
from numpy.typing import NDArray

from mahtrt.cuda.dark_launch import DarkMemory, DarkTask, dark_launch, dark_workspace_bytes
from mahtrt.runtime.dark import decode_dark

Floats = NDArray[np.float32]

_ENTRIES = [
    f"mahtrt_dark_{wide}{kind}" for wide in ("", "wide_") for kind in ("f32", "f16", "bf16")
]
_NAMES = {"float32": "float32", "float16": "float16", "uint16": "bfloat16"}  # of arrays, in tasks


@dataclass
class Dark:
    """One task's memory, kept from launch to launch."""

    heatmaps: NDArray[np.generic]  # (B, K, h, w), float32, float16 or the bits of bfloat16
    sigma: float
    input_size: tuple[int, int]
    affine: Floats | None = None

    def __post_init__(self) -> None:
        shape, dtype = self.heatmaps.shape, _NAMES[self.heatmaps.dtype.name]
        self.task = DarkTask(shape, dtype, self.sigma, self.input_size)
        # Of 16 bytes each, so that it begins at a multiple of that; counters first.
        self.workspace = np.zeros(-(-dark_workspace_bytes(self.task) // 16), np.complex128)
        self.workspace[-(-self.task.maps // 4) :] = np.nan
        self.landmarks = np.full((*shape[:2], 2), 7, np.float32)
        self.confidence, self.spread = (np.full(shape[:2], 7, np.float32) for _ in range(2))

    def launch(self, backwards: bool = False) -> tuple[Floats, Floats, Floats]:
        memory = DarkMemory(
            self.heatmaps.ctypes.data,
            self.workspace.ctypes.data,
            self.landmarks.ctypes.data,
            self.confidence.ctypes.data,
            self.spread.ctypes.data,
            0 if self.affine is None else self.affine.ctypes.data,
        )
        launch = dark_launch(self.task, memory)
        kernels = cpu_kernels(KERNELS / "dark.cu", _ENTRIES)
        kernels.launch(
            launch.entry, launch.grid, launch.block, launch.arguments, backwards=backwards
        )
        return self.landmarks.copy(), self.confidence.copy(), self.spread.copy()


def bfloat16_bits(values: Floats) -> NDArray[np.uint16]:
    """The upper halves of float32, which are values of bfloat16 when they are cut off."""
    return (values.view(np.uint32) >> 16).astype(np.uint16)


def from_bfloat16(bits: NDArray[np.uint16]) -> Floats:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def blob(rows: int, columns: int, x: float, y: float, sigma: float) -> Floats:
    """A Gaussian of height 1 at (x, y), in cells."""
    i, j = np.mgrid[:rows, :columns]
    values: Floats = np.exp(-((j - x) ** 2 + (i - y) ** 2) / (2 * sigma**2)).astype(np.float32)
    return values


def kinds_of_maps(rows: int, columns: int, seed: int = 0) -> Floats:
    """Maps (1, K, h, w) of every kind: noise, one-hot, flat, at the border, two peaks, below 0."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, [columns - 1, rows - 1])
    one_hot = np.zeros((rows, columns), np.float32)
    one_hot[rng.integers(rows), rng.integers(columns)] = 3.0
    corner = np.zeros((rows, columns), np.float32)
    corner[-1, -1] = 1.0
    near, far = 0.2 * (columns - 1), 0.8 * (columns - 1)
    noise = rng.normal(size=(rows, columns)).astype(np.float32)
    maps: list[Floats] = [
        noise,
        np.float32(1e-3) * np.abs(noise) + blob(rows, columns, x, y, 2.0),
        100 * blob(rows, columns, x, y, 1.3),
        one_hot,
        np.full((rows, columns), 0.3, np.float32),
        np.zeros((rows, columns), np.float32),
        np.full((rows, columns), -2.0, np.float32),
        corner,
        blob(rows, columns, 0.4, y, 1.5),
        blob(rows, columns, near, rows / 2, 2.0) + blob(rows, columns, far, rows / 3, 2.0),
        blob(rows, columns, x, rows - 1, 3.0),
        -0.1 - blob(rows, columns, x, y, 2.0),
        1e-20 * blob(rows, columns, x, y, 2.0),
    ]
    return np.stack(maps)[None].astype(np.float32)


def worst(found: tuple[Floats, ...], task: Dark, heatmaps: Floats) -> list[float]:
    """Largest differences from the definition: of landmarks, confidence, spread, in pixels."""
    expected = decode_dark(heatmaps, task.sigma, task.input_size)
    return [float(np.abs(one - other).max()) for one, other in zip(found, expected, strict=True)]


def run_all() -> None:
    """Every entry once, with sizes around those of tiles, on arrays that nothing lies behind."""
    for rows, columns, sigma in ((3, 3, 2.0), (33, 65, 3.2), (40, 33, 11.2)):
        maps = kinds_of_maps(rows, columns)[:, 1:5]
        for stored in (maps, maps.astype(np.float16), bfloat16_bits(maps)):
            dark = Dark(np.ascontiguousarray(stored), sigma, (2 * rows, 3 * columns))
            dark.launch()
            assert np.isfinite(dark.launch(backwards=True)[0]).all()
