from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mahtrt.measure.bootstrap import LEAST_IMAGES, Bootstrap, student_quantile

Draw = Callable[[np.random.Generator, int], np.ndarray]
# Values of images, with a mean of 1: as a mean over landmarks is, and as a few outliers make it.
DRAWN: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(1.0, 0.3, (n, 1)),
    "skewed": lambda rng, n: rng.gamma(2.0, 0.5, (n, 1)),
}
IMAGES = (8, 16, 64)
SAMPLES = 1000


def test_interval_is_seeded_paired_and_around_the_change() -> None:
    rng = np.random.default_rng(3)
    reference = rng.uniform(0, 50, (40, 5))  # images differ far more than engines do
    candidate = reference + rng.normal(0.1, 0.05, (40, 5))
    low, high = Bootstrap().change(candidate, reference) or (0.0, 0.0)
    assert (low, high) == Bootstrap().change(candidate, reference)
    assert low < 0.1 < high
    assert high - low < 0.05
    assert (low, high) != Bootstrap(seed=1).change(candidate, reference)


def test_no_interval_from_few_images_or_broken_points() -> None:
    values = np.arange(1.0, 20.0)[:, None]
    few = np.where(np.arange(19)[:, None] < LEAST_IMAGES - 1, values, np.nan)
    assert Bootstrap().mean(few) is None
    assert Bootstrap().change(few, few) is None
    assert Bootstrap().growth_percent(few, few) is None
    assert Bootstrap().mean(values[:LEAST_IMAGES]) is not None
    broken = np.where(values == 7, np.inf, values)
    assert Bootstrap().change(broken, values) is None


@pytest.mark.parametrize(
    ("images", "quantile"), [(8, 2.3646), (16, 2.1314), (64, 1.9983), (10**6, 1.95996)]
)
def test_students_quantile_is_that_of_the_tables(images: int, quantile: float) -> None:
    assert student_quantile(images) == pytest.approx(quantile, abs=1e-3)


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


@pytest.mark.parametrize("kind", DRAWN)
@pytest.mark.parametrize("images", IMAGES)
def test_intervals_cover_as_often_as_they_say(images: int, kind: str) -> None:
    rng, bootstrap = np.random.default_rng(images), Bootstrap(resamples=1000)
    means, changes, growths = 0, 0, 0
    for _ in range(SAMPLES):
        reference = DRAWN[kind](rng, images)
        candidate = reference + 0.2 * DRAWN[kind](rng, images) - 0.1  # grows by 0.1, so by 10%
        means += covers(bootstrap.mean(reference), 1.0)
        changes += covers(bootstrap.change(candidate, reference), 0.1)
        growths += covers(bootstrap.growth_percent(candidate, reference), 10.0)
    for hits in (means, changes, growths):
        assert 0.90 <= hits / SAMPLES <= 0.97


def covers(interval: tuple[float, float] | None, truth: float) -> bool:
    assert interval is not None
    return interval[0] <= truth <= interval[1]


def test_growth_is_relative_to_the_same_draws() -> None:
    rng = np.random.default_rng(0)
    reference = rng.uniform(1, 50, (40, 1))
    assert Bootstrap().growth_percent(1.1 * reference, reference) == pytest.approx((10.0, 10.0))
    noisy = reference + rng.normal(0, 1, (40, 1))
    low, high = Bootstrap().growth_percent(noisy, reference) or (0.0, 0.0)
    assert -5 < low < 0 < high < 5
    assert Bootstrap().growth_percent(reference, 0 * reference) is None
    assert Bootstrap().growth_percent(reference, np.where(reference > 40, np.inf, 1.0)) is None
