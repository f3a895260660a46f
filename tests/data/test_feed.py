from __future__ import annotations

import numpy as np
import pytest
from tiny_graphs import feeds

from mahtrt.data.feed import batches, images_of_case, prepare, stack
from mahtrt.errors import ImageError, InputError
from mahtrt.spec import InputSpec, ModelSpec, OutputSpec

PAIR = ModelSpec(
    "pair",
    (
        InputSpec((8, 12), "before", 1, "gray", (0.0,), (1.0,)),
        InputSpec((4, 4), "after", 1, "gray", (0.5,), (0.5,), resize="stretch"),
    ),
    (OutputSpec("change", "map"),),
)
BEFORE, AFTER = np.full((16, 24), 255, np.uint8), np.full((7, 9), 0, np.uint8)


def test_a_case_is_given_in_order_or_by_name() -> None:
    in_order = images_of_case((BEFORE, AFTER), PAIR)
    by_name = images_of_case({"after": AFTER, "before": BEFORE}, PAIR)
    assert [image.shape for image in in_order] == [image.shape for image in by_name]
    feed, placement = prepare((BEFORE, AFTER), PAIR)
    assert {name: image.shape for name, image in feed.items()} == {
        "before": (1, 8, 12),
        "after": (1, 4, 4),
    }
    assert feed["before"].max() == 1.0
    assert feed["after"].max() == -1.0
    assert placement.scale == (0.5, 0.5)


@pytest.mark.parametrize(
    ("case", "got"),
    [
        ((BEFORE,), r"got 1 image\(s\); expected 2 image\(s\): before, after"),
        (BEFORE, r"got 1 image\(s\)"),
        ((BEFORE, AFTER, AFTER), r"got 3 image\(s\)"),
        ({"before": BEFORE}, "got images for before"),
        ({"before": BEFORE, "later": AFTER}, "got images for before, later"),
        ({}, "got images for no input"),
    ],
)
def test_a_case_of_other_images_is_refused(case: object, got: str) -> None:
    with pytest.raises(InputError, match=got):
        images_of_case(case, PAIR)  # type: ignore[arg-type]


def test_an_image_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(ImageError, match="float64"):
        prepare((BEFORE, AFTER.astype(float)), PAIR)


def test_batches_are_filled_with_their_own_cases() -> None:
    images = [np.full((1, 2, 3), n, np.float32) for n in range(5)]
    parts = list(batches(feeds(images), 3))
    assert [real for _, real in parts] == [3, 2]
    assert [feed["image"][:, 0, 0, 0].tolist() for feed, _ in parts] == [[0, 1, 2], [3, 4, 3]]
    assert stack(feeds(images))["image"].shape == (5, 1, 2, 3)
