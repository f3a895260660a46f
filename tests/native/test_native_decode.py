"""The vectors that libmahtrt's decoding is held against are those of the definitions."""

from __future__ import annotations

import json

import pytest
from decode_vectors import cases
from native_library import NATIVE

VECTORS = NATIVE / "tests" / "vectors" / "kernel_decode.json"


def test_vectors_are_those_of_the_definitions() -> None:
    kept, computed = json.loads(VECTORS.read_text())["cases"], cases()
    assert len(kept) == len(computed) == 30
    for old, new in zip(kept, computed, strict=True):
        numbers = [*new["landmark"], new["confidence"], new["spread"]]
        rest = {"landmark", "confidence", "spread"}
        assert {k: v for k, v in old.items() if k not in rest} == {
            k: v for k, v in new.items() if k not in rest
        }
        assert [*old["landmark"], old["confidence"], old["spread"]] == pytest.approx(
            numbers, rel=1e-9, abs=1e-9
        ), (old["name"], old["kernel"])
