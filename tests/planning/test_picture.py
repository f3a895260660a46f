from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
from PIL import Image
from planning_fixtures import matrix

from mahtrt.errors import BuildError
from mahtrt.planning.picture import colour_of, draw_picture, write_picture


def test_colours_darken_with_the_displacement() -> None:
    brightness = [sum(colour_of(px)) for px in (0.0, 1e-3, 1e-2, 0.1, 1.0)]
    assert brightness == sorted(brightness, reverse=True)
    assert colour_of(0.0) == colour_of(1e-4)
    assert colour_of(math.inf) == colour_of(5.0)


def test_every_cell_is_drawn_in_its_colour(tmp_path: Path) -> None:
    found = matrix()
    write_picture(tmp_path / "m.png", found)
    with Image.open(tmp_path / "m.png") as picture:
        colours = {colour for _, colour in picture.getcolors(maxcolors=2**16)}
    assert {colour_of(0.1), colour_of(0.3)} <= colours
    more = draw_picture(found)
    assert more.size[0] > 200
    assert more.size == draw_picture(found).size


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError):
        write_picture(tmp_path / "file" / "m.png", matrix())


def test_what_was_not_measured_is_not_drawn() -> None:
    int8 = matrix()
    both = dataclasses.replace(int8, half_blocks=int8.blocks, half="bf16")
    alone = dataclasses.replace(both, blocks=())
    assert draw_picture(alone).height < draw_picture(both).height
    draw_picture(dataclasses.replace(alone, half_blocks=(), half=""))
