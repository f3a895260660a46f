"""Test vectors of the preprocessing for other languages: native/tests/vectors/preprocess.json.

docs/preprocessing.md says what the file holds. Run it again only with a new version of the
preprocessing: a vector that changes is a bundle that changes.

    python experiments/preprocess_vectors.py
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from mahtrt.data.preprocess import preprocess  # noqa: E402
from mahtrt.data.preprocess_version import PREPROCESS_VERSION  # noqa: E402
from mahtrt.data.resample_weights import weights_of  # noqa: E402
from mahtrt.schema import dataclass_from  # noqa: E402
from mahtrt.spec import InputSpec, Interpolation, Resize  # noqa: E402

FILE = ROOT / "native/tests/vectors/preprocess.json"
INTERPOLATIONS: tuple[Interpolation, ...] = typing.get_args(Interpolation)
RESIZES: tuple[Resize, ...] = typing.get_args(Resize)
SHARED = {
    "gray": {"channels": 1, "color_order": "gray", "mean": [0.5], "std": [0.25]},
    "plain": {"channels": 1, "color_order": "gray", "mean": [0.0], "std": [1.0]},
    "rgb": {
        "channels": 3,
        "color_order": "rgb",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    },
    "bgr": {
        "channels": 3,
        "color_order": "bgr",
        "mean": [0.1, 0.2, 0.3],
        "std": [1.0, 0.5, 0.25],
    },
}
# (rows, columns) of an image and of the input
SIZES = (
    ((61, 47), (24, 35)),
    ((40, 90), (64, 33)),
    ((19, 23), (64, 80)),
    ((300, 210), (20, 25)),
    ((48, 64), (24, 32)),
    ((33, 50), (33, 20)),
    ((2, 3), (7, 5)),
)
SMALL = (((4, 5), (3, 3)), ((3, 2), (4, 5)), ((3, 4), (5, 2)))
AXES = ((9, 4), (4, 9), (7, 7), (10, 5), (5, 10), (23, 3), (3, 2), (2, 3))


def image_of(image: dict[str, Any]) -> NDArray[np.generic]:
    """The image that a vector describes: samples from the upper bits of a generator modulo 2^32."""
    shape = (image["rows"], image["columns"], image["samples"])
    count, bits = shape[0] * shape[1] * shape[2], image["bits"]
    with np.errstate(over="ignore"):
        powers = np.full(count, 1_664_525, np.uint32).cumprod(dtype=np.uint32)  # a, a^2, ...
        sums = np.concatenate([np.ones(1, np.uint32), powers[:-1]]).cumsum(dtype=np.uint32)
        seeds = powers * np.uint32(image["seed"])
        states = (seeds + sums * np.uint32(1_013_904_223)).astype(np.uint32)
    if image["pattern"] == "black_or_white":
        samples = (states >> 31) * (2**bits - 1)
    else:
        samples = states >> (32 - bits)
    flat = samples.astype(np.uint8 if bits == 8 else np.uint16)
    whole: NDArray[np.generic] = flat.reshape(shape if shape[2] == 3 else shape[:2])
    return whole


def vector_of(image: dict[str, Any], spec: dict[str, Any], whole: bool) -> dict[str, Any]:
    """One vector: what goes in, and the tensor by its digest and first values, or as a whole."""
    tensor, placement = preprocess(image_of(image), dataclass_from(InputSpec, spec, "vector"))
    raw = tensor.astype("<f4").tobytes()
    bits = [f"{value:08x}" for value in np.frombuffer(raw, "<u4")]
    some = {str(at): bits[at] for at in (i * (len(bits) - 1) // 7 for i in range(8))}
    return {
        "image": image,
        "input": spec,
        "shape": list(tensor.shape),
        "scale": list(placement.scale),
        "offset": [int(value) for value in placement.offset],
        "sha256": hashlib.sha256(raw).hexdigest(),
        **({"tensor": bits} if whole else {"some": some}),
    }


def _image(size: tuple[int, int], samples: int, bits: int, seed: int, two: bool) -> dict[str, Any]:
    pattern = "black_or_white" if two else "noise"
    facts = {"rows": size[0], "columns": size[1], "samples": samples, "bits": bits}
    return {**facts, "pattern": pattern, "seed": seed}


def _input(
    size: tuple[int, int], way: str, resize: Resize, interpolation: Interpolation
) -> dict[str, Any]:
    how = {"resize": resize, "interpolation": interpolation, "pad_value": 0.3}
    return {"size": list(size), **SHARED[way], **how}


def small_vectors() -> Iterator[dict[str, Any]]:
    """Few enough values to be given whole."""
    for interpolation, (size, target) in itertools.product(INTERPOLATIONS, SMALL):
        image = _image(size, 1, 8, 1, False)
        yield vector_of(image, _input(target, "plain", "stretch", interpolation), True)


def vectors() -> Iterator[dict[str, Any]]:
    """Every interpolation, resize, format and direction in some combination."""
    seed = 1
    for interpolation, (size, target), bits in itertools.product(INTERPOLATIONS, SIZES, (8, 16)):
        for samples in (1, 3):
            seed += 1
            way = ("gray", "rgb", "bgr")[seed % 3]
            image = _image(size, samples, bits, seed, seed % 4 == 0)
            spec = _input(target, way, RESIZES[seed // 3 % 3], interpolation)
            yield vector_of(image, spec, False)
    for interpolation, (samples, bits) in zip(
        INTERPOLATIONS, itertools.cycle([(1, 8), (3, 8), (1, 16)]), strict=False
    ):
        seed += 1
        image = _image((640, 517), samples, bits, seed, False)
        spec = _input((128, 128), "rgb", "letterbox", interpolation)
        yield vector_of(image, spec, False)
    yield vector_of(
        _image((2400, 1935), 1, 8, 7, False), _input((512, 512), "gray", "letterbox", "area"), False
    )


def axes() -> Iterator[dict[str, Any]]:
    """The weights of short axes."""
    for interpolation, (length, count) in itertools.product(INTERPOLATIONS, AXES):
        axis = weights_of(interpolation, length, count)
        dense = np.zeros((count, length), np.int64)
        np.add.at(dense, (np.arange(count)[:, None], axis.pixels), axis.weights)
        facts = {"interpolation": interpolation, "length": length, "count": count}
        yield {**facts, "total": axis.total, "weights": dense.tolist()}


def text() -> str:
    """The file, one vector per line."""
    parts = {
        "axes": list(axes()),
        "whole": list(small_vectors()),
        "vectors": list(vectors()),
    }
    lines = [
        f'{{"schema": "mahtrt.preprocess-vectors/1", "preprocess_version": {PREPROCESS_VERSION}'
    ]
    for name, values in parts.items():
        rows = ",\n".join(json.dumps(value) for value in values)
        lines.append(f',\n"{name}": [\n{rows}\n]')
    return "".join(lines) + "}\n"


if __name__ == "__main__":
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(text())
    print(f"{FILE}: {FILE.stat().st_size} bytes")
