"""The vectors for other languages are what the implementation gives, and what the page says."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest
from preprocess_oracle import float32, input_tensor, taps

from mahtrt.data.preprocess_version import PREPROCESS_VERSION


@pytest.fixture(scope="module")
def script():  # type: ignore[no-untyped-def]
    return importlib.import_module("experiments.preprocess_vectors")


def test_the_committed_vectors_are_what_the_implementation_gives(script) -> None:  # type: ignore[no-untyped-def]
    text = script.FILE.read_text()
    assert text == script.text()
    assert len(text) < 2**20
    assert json.loads(text)["preprocess_version"] == PREPROCESS_VERSION


def test_the_samples_are_the_generators(script) -> None:  # type: ignore[no-untyped-def]
    for bits, pattern in ((8, "noise"), (16, "noise"), (16, "black_or_white")):
        state, wanted = 99, []
        for _ in range(2 * 3 * 3):
            state = (1664525 * state + 1013904223) % 2**32
            one_bit = (state >> 31) * (2**bits - 1)
            wanted.append(state >> (32 - bits) if pattern == "noise" else one_bit)
        facts = {"rows": 2, "columns": 3, "samples": 3, "bits": bits}
        image = script.image_of({**facts, "pattern": pattern, "seed": 99})
        assert image.shape == (2, 3, 3)
        assert image.ravel().tolist() == wanted


def test_the_whole_vectors_are_the_oracles(script) -> None:  # type: ignore[no-untyped-def]
    found = json.loads(script.FILE.read_text())
    for vector in found["whole"]:
        levels = script.image_of(vector["image"]).tolist()
        (plane,) = input_tensor([levels], "uint8", vector["input"])
        bits = np.array(plane, np.float32).view(np.uint32).ravel()
        assert [f"{value:08x}" for value in bits] == vector["tensor"]
    for axis in found["axes"]:
        all_taps, one = taps(axis["interpolation"], axis["length"], axis["count"])
        dense = [[0] * axis["length"] for _ in range(axis["count"])]
        for row, each in zip(dense, all_taps, strict=True):
            for pixel, weight in each:
                row[pixel] += weight
        assert (dense, one) == (axis["weights"], axis["total"])
    assert float32(0.1) == np.float32(0.1)
