"""Notes about the images of a prediction: each once, with the images that it is about."""

from __future__ import annotations

from typing import Any

import numpy as np

from mahtrt.data.sample import Sample
from mahtrt.errors import ImageError
from mahtrt.runtime.told import Told, left_out_notes

SLOPE = np.add.outer(np.arange(8), np.arange(6)).astype(np.uint8)


def test_an_image_of_one_colour_is_noted() -> None:
    told = Told()
    gray, colour = np.full((8, 6), 7, np.uint8), np.full((8, 6, 3), (1, 2, 3), np.uint16)
    last = gray.copy()
    last[-1, -1] = 8
    images: dict[str, np.ndarray[Any, Any]] = {
        "gray": gray,
        "colour": colour,
        "slope": SLOPE,
        "last": last,
    }
    for name, image in images.items():
        told.of_image(name, Sample(name, image), "")
    told.of_image("pair", Sample("pair", SLOPE, others=(gray,)), "")
    assert list(told.notes) == ["gray, colour, pair: all pixels are alike"]


def test_images_left_out_for_one_reason_are_one_note() -> None:
    many = [ImageError(f"{n}.png", got="no such file", expected="an image") for n in range(9)]
    other = ImageError("x.png", got="a text", expected="an image", fix="Leave it out.")
    assert left_out_notes([*many[:4], other, *many[4:]]) == [
        "left out 9 images: 0.png, 1.png, 2.png and 6 more: got no such file; expected an image",
        "left out: x.png: got a text; expected an image. Leave it out.",
    ]
    assert left_out_notes(many[:1]) == ["left out: 0.png: got no such file; expected an image"]
    assert left_out_notes([]) == []
