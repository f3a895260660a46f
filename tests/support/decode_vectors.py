"""Heatmaps and what their definitions read from them, for libmahtrt's own tests.

``python tests/support/decode_vectors.py`` prints ``native/tests/vectors/kernel_decode.json``.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.runtime.dark import decode_dark
from mahtrt.runtime.soft_argmax import soft_argmax

Map = NDArray[np.float32]


def gaussian(shape: tuple[int, int], x: float, y: float, sigma: float) -> Map:
    """A peak of height 1 at (x, y), in cells, of three decimals so that the text is short."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    values = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    rounded: Map = np.round(values, 3).astype(np.float32)
    return rounded


def maps() -> dict[str, Map]:
    """Heatmaps by what is special about them."""
    shape = (9, 12)
    peak = gaussian(shape, 5.3, 3.8, 1.5)
    noise = np.round(np.random.default_rng(7).normal(size=(7, 5)), 2).astype(np.float32)
    column = np.zeros((6, 3), np.float32)
    column[2, 1] = 2.5
    return {
        "peak": peak,
        "wide": gaussian((15, 11), 5.7, 7.2, 4.0),
        "corner": gaussian(shape, 0.2, 8.1, 1.2),
        "border": gaussian(shape, 11.0, 4.4, 1.2),
        "two peaks": np.maximum(gaussian(shape, 2, 4, 1), gaussian(shape, 9, 4, 1)),
        "flat": np.full(shape, 0.25, np.float32),
        "nothing": np.zeros((3, 3), np.float32),
        "below zero": -1 - peak,
        "noise": noise,
        "one cell": column,
    }


def cases() -> list[dict[str, Any]]:
    """Each: a kernel with its parameter, a map, and the landmark in network pixels."""
    found = []
    for name, values in maps().items():
        for kernel, parameter in (("soft_argmax", 0.05), ("soft_argmax", 1.0), ("dark", 1.5)):
            size = (4 * values.shape[0], 3 * values.shape[1] + 1)
            read = soft_argmax if kernel == "soft_argmax" else decode_dark
            points, confidence, spread = read(values[None, None], parameter, size)
            found.append(
                {
                    "name": name,
                    "kernel": kernel,
                    "parameter": parameter,
                    "shape": list(values.shape),
                    "input_size": list(size),
                    "map": [float(np.format_float_positional(v)) for v in values.ravel()],
                    "landmark": [float(v) for v in points.ravel()],
                    "confidence": float(confidence.item()),
                    "spread": float(spread.item()),
                }
            )
    return found


def text() -> str:
    """The file: a case per line."""
    lines = ",\n".join(json.dumps(case) for case in cases())
    return '{"schema": "mahtrt.decode-vectors/1", "cases": [\n' + lines + "\n]}\n"


if __name__ == "__main__":
    print(text(), end="")
