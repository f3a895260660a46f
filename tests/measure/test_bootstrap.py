from __future__ import annotations

import numpy as np
import pytest

from mahtrt.measure.bootstrap import Bootstrap


def test_interval_is_seeded_paired_and_around_the_change() -> None:
    rng = np.random.default_rng(3)
    reference = rng.uniform(0, 50, (40, 5))  # images differ far more than engines do
    candidate = reference + rng.normal(0.1, 0.05, (40, 5))
    low, high = Bootstrap().change(candidate, reference) or (0.0, 0.0)
    assert (low, high) == Bootstrap().change(candidate, reference)
    assert low < 0.1 < high
    assert high - low < 0.05
    assert (low, high) != Bootstrap(seed=1).change(candidate, reference)


def test_no_interval_from_one_image_or_broken_points() -> None:
    one = np.array([[1.0, 2.0], [np.nan, np.nan]])
    assert Bootstrap().change(one, one) is None
    assert Bootstrap().change(np.array([[1.0], [np.inf]]), np.array([[1.0], [1.0]])) is None


def test_images_are_drawn_whole() -> None:
    # Landmarks of one image err together: 50 landmarks are no more evidence than one.
    each = np.random.default_rng(0).normal(0.0, 1.0, (30, 1))
    assert Bootstrap().mean(np.tile(each, 50)) == pytest.approx(Bootstrap().mean(each))


def test_images_without_a_value_do_not_count() -> None:
    values = np.random.default_rng(0).normal(0.0, 1.0, (30, 2))
    holes = np.concatenate([values, np.full((9, 2), np.nan)])
    assert Bootstrap().mean(holes) == pytest.approx(Bootstrap().mean(values))


def test_numbers_of_one_measurement_share_their_draws() -> None:
    values = np.random.default_rng(0).normal(0.0, 1.0, (30, 2))
    one = Bootstrap()
    low, high = one.mean(values) or (0.0, 0.0)
    assert one.mean(2 * values + 1) == pytest.approx((2 * low + 1, 2 * high + 1))


def test_the_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    found = [Bootstrap(seed, 300).mean(rng.normal(5, 1, (40, 1))) for seed in range(200)]
    hits = sum(interval[0] < 5 < interval[1] for interval in found if interval)
    assert 0.88 < hits / len(found) < 0.99


def test_growth_is_relative_to_the_same_draws() -> None:
    rng = np.random.default_rng(0)
    reference = rng.uniform(1, 50, (40, 1))
    assert Bootstrap().growth_percent(1.1 * reference, reference) == pytest.approx((10.0, 10.0))
    noisy = reference + rng.normal(0, 1, (40, 1))
    low, high = Bootstrap().growth_percent(noisy, reference) or (0.0, 0.0)
    assert -5 < low < 0 < high < 5
    assert Bootstrap().growth_percent(reference, 0 * reference) is None
    assert Bootstrap().growth_percent(reference[:1], reference[:1]) is None
    assert Bootstrap().growth_percent(reference, np.where(reference > 40, np.inf, 1.0)) is None
