"""A file of quantities for a network of three landmarks, as tests' networks are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_TEXT = """schema = "mahtrt.quantities/1"
title = "Own"
[points]
R = ["{0}"]
G = ["{1}"]
B = ["{2}"]
[[quantity]]
name = "RGB"
kind = "angle"
unit = "deg"
points = ["R", "G", "B"]
source = "a test"
[[quantity]]
name = "R-G"
kind = "distance"
unit = "mm"
points = ["R", "G"]
source = "a test"
"""


def write_quantities(folder: Path, landmarks: Sequence[str] = ("red", "green", "blue")) -> Path:
    """An angle of all three landmarks and a distance of the first two."""
    path = folder / "own.toml"
    path.write_text(_TEXT.format(*landmarks), encoding="utf-8")
    return path
