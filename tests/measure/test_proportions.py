from __future__ import annotations

import numpy as np
import pytest

from mahtrt.measure.proportions import change_percent

LANDMARKS = 19
SAMPLES = 1500


def drawn(
    rng: np.random.Generator, images: int, noise: float, kind: str
) -> tuple[np.ndarray, np.ndarray]:
    """Successes of a candidate and a reference: errors of an image have a part in common.

    Of ``skewed`` ones some images are far worse than the others.
    """
    shape, shift = (images, LANDMARKS, 2), 0.1
    reference = rng.normal(0.0, 1.0, shape) + 0.5 * rng.normal(0.0, 1.0, (images, 1, 2))
    if kind == "skewed":
        reference *= rng.gamma(2.0, 0.5, (images, 1, 1))
    moved = noise * (rng.normal(0.0, 1.0, shape) + 0.5 * rng.normal(0.0, 1.0, (images, 1, 2)))
    found = [
        np.hypot(points[..., 0], points[..., 1]) <= 2.0
        for points in (reference + moved + np.array([shift, 0.0]), reference)
    ]
    return found[0].astype(float), found[1].astype(float)


@pytest.mark.parametrize("images", [8, 16, 64])
@pytest.mark.parametrize("kind", ["normal", "skewed"])
@pytest.mark.parametrize("noise", [0.6, 1.0])
def test_intervals_cover_as_often_as_they_say(images: int, noise: float, kind: str) -> None:
    rng = np.random.default_rng(images)
    many = drawn(rng, 20_000, noise, kind)
    truth = 100 * float(np.mean(many[0] - many[1]))
    assert truth < -1
    hits = 0
    for _ in range(SAMPLES):
        interval = change_percent(*drawn(rng, images, noise, kind))
        assert interval is not None
        hits += interval[0] <= truth <= interval[1]
    assert 0.90 <= hits / SAMPLES <= 0.97


def test_where_nothing_crossed_the_interval_still_has_a_width() -> None:
    same = np.ones((64, LANDMARKS))
    low, high = change_percent(same, same) or (0.0, 0.0)
    assert low == -high
    # Rare crossings cannot be ruled out: three in as many points would go unseen once in twenty.
    assert 0.15 < high < 100 * 3 / same.size
    few = change_percent(same[:8], same[:8]) or (0.0, 0.0)
    assert few[1] > 8 * high


def test_it_is_bonett_and_prices_where_an_image_has_one_point() -> None:
    candidate = np.array([[1.0]] * 25 + [[0.0]] * 3 + [[1.0]] * 7 + [[0.0]] * 5)
    reference = np.array([[1.0]] * 25 + [[1.0]] * 3 + [[0.0]] * 7 + [[0.0]] * 5)
    gained, lost = 8 / 42, 4 / 42
    spread = np.sqrt((gained + lost - (gained - lost) ** 2) / 42)
    low, high = change_percent(candidate, reference) or (0.0, 0.0)
    assert (low + high) / 200 == pytest.approx(gained - lost)
    # The original has the normal quantile; Student's for 40 images is 3% wider.
    assert (high - low) / 200 == pytest.approx(2.02 * spread, rel=0.02)


def test_points_of_an_image_are_no_more_evidence_than_the_image() -> None:
    rng = np.random.default_rng(0)
    one = (rng.random((64, 1)) < 0.5).astype(float), np.ones((64, 1))
    many = tuple(np.tile(each, LANDMARKS) for each in one)
    alone, together = change_percent(*one), change_percent(*many)
    assert alone is not None
    assert together is not None
    assert together[1] - together[0] == pytest.approx(alone[1] - alone[0], rel=0.05)


def test_below_eight_images_there_is_no_interval() -> None:
    seven = np.ones((7, LANDMARKS))
    assert change_percent(seven, seven) is None
    holes = np.concatenate([seven, np.full((9, LANDMARKS), np.nan)])
    assert change_percent(holes, holes) is None


def test_no_interval_leaves_what_is_possible() -> None:
    low, high = change_percent(np.zeros((8, 1)), np.ones((8, 1))) or (0.0, 0.0)
    assert low == -100.0
    assert high < 0.0
