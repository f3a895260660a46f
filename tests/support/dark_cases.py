"""The DARK kernel on the CPU or a GPU, for tests and for a process with a sanitizer."""

from __future__ import annotations

from typing import Any

import numpy as np
from kernel_hosts import CpuHost, KernelHost
from numpy.typing import NDArray

from mahtrt.cuda.dark_launch import SOURCE, Dark, DarkPlaces, dark_launch
from mahtrt.runtime.dark import decode_dark

Floats = NDArray[np.float32]

BAR_PX = 1e-3
ENTRIES = [f"mahtrt_dark_{wide}{kind}" for wide in ("", "wide_") for kind in ("f32", "f16", "bf16")]
_TYPES: dict[str, Any] = {
    "float32": "float32",
    "float16": "float16",
    "uint16": "bfloat16",
}  # of arrays: of maps


class DarkRun:
    """One operation's memory, kept from launch to launch.

    Args:
        heatmaps: (B, K, h, w), float32, float16 or the bits of bfloat16.
        affine: (B, 4).
        host: Where to run; None is the CPU.
    """

    def __init__(
        self,
        heatmaps: NDArray[np.generic],
        sigma: float,
        input_size: tuple[int, int],
        affine: Floats | None = None,
        host: KernelHost | None = None,
    ) -> None:
        shape = heatmaps.shape
        self.host = host or CpuHost()
        self.operation = Dark(shape, _TYPES[heatmaps.dtype.name], sigma, input_size)
        # Counters first, then memory that nothing is read from before it is written.
        self.workspace = np.zeros(-(-self.operation.workspace_bytes // 16), np.complex128)
        self.workspace[self.operation.counter_bytes // 16 :] = np.nan
        self.results = [np.full(s, 7, np.float32) for s in ((*shape[:2], 2), shape[:2], shape[:2])]
        landmarks, confidence, spread = (self.host.put(result) for result in self.results)
        self.places = DarkPlaces(
            self.host.put(heatmaps),
            landmarks,
            confidence,
            spread,
            workspace=self.host.put(self.workspace),
            affine=0 if affine is None else self.host.put(affine),
        )
        self.work = dark_launch(self.operation, self.places)

    def launch(self) -> tuple[Floats, Floats, Floats]:
        """Landmarks, confidence and spread."""
        self.host.launch(SOURCE, ENTRIES, self.work)
        return self.take()

    def take(self) -> tuple[Floats, Floats, Floats]:
        places = (self.places.landmarks, self.places.confidence, self.places.spread)
        for place, result in zip(places, self.results, strict=True):
            self.host.take(place, result)
        landmarks, confidence, spread = (result.copy() for result in self.results)
        return landmarks, confidence, spread


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
        1e30 * blob(rows, columns, x, y, 2.0),
        1e-20 * blob(rows, columns, x, y, 2.0),
    ]
    return np.stack(maps)[None].astype(np.float32)


def worst(found: tuple[Floats, ...], operation: Dark, heatmaps: Floats) -> list[float]:
    """Largest differences from the definition: of landmarks, confidence, spread, in pixels."""
    expected = decode_dark(heatmaps, operation.sigma, operation.input_size)
    return [float(np.abs(one - other).max()) for one, other in zip(found, expected, strict=True)]


def run_all(host: KernelHost | None = None, largest: tuple[int, int] = (40, 33)) -> None:
    """Every entry, with sizes around those of tiles; on the CPU nothing lies behind the arrays."""
    for rows, columns, sigma in ((3, 3, 2.0), (33, 65, 3.2), (*largest, 2.0), (*largest, 11.2)):
        maps = kinds_of_maps(rows, columns)[:, 1:5]
        half, bits = maps.astype(np.float16), bfloat16_bits(maps)
        given = ((maps, maps), (half, half.astype(np.float32)), (bits, from_bfloat16(bits)))
        for stored, values in given:
            run = DarkRun(np.ascontiguousarray(stored), sigma, (2 * rows, 3 * columns), host=host)
            run.launch()
            landmarks, confidence, spread = worst(run.launch(), run.operation, values)
            assert max(landmarks, spread) < BAR_PX
            assert confidence == 0
