"""A file of quantities for the tiny network, whose landmarks are called by colours."""

from __future__ import annotations

from pathlib import Path

_TEXT = """schema = "mahtrt.quantities/1"
title = "Own"
[points]
R = ["red"]
G = ["green"]
B = ["blue"]
[[quantity]]
name = "RGB"
kind = "angle"
unit = "deg"
points = ["R", "G", "B"]
source = "a test"
[[quantity]]
name = "RG"
kind = "distance"
unit = "mm"
points = ["R", "G"]
source = "a test"
"""


def write_quantities(folder: Path) -> Path:
    """An angle of all three landmarks and a distance of two."""
    path = folder / "own.toml"
    path.write_text(_TEXT, encoding="utf-8")
    return path
