from __future__ import annotations

import random

import pytest

from mahtrt.measure.timing import Timings
from mahtrt.planning.contest import Ratio, ratio


def timings(
    factor: float, noise: float, *, rounds: int = 40, seed: int = 0
) -> tuple[Timings, Timings]:
    """(candidate, reference) on a machine that other work slows down by up to three times."""
    rng = random.Random(seed)
    machine = [10 * rng.uniform(1, 3) for _ in range(rounds)]
    mine = tuple(factor * m * (1 + rng.gauss(0, noise)) for m in machine)
    return Timings(mine), Timings(tuple(m * (1 + rng.gauss(0, noise)) for m in machine))


def test_what_slows_both_does_not_count() -> None:
    found = ratio(*timings(0.8, 0.0))
    assert (found.low, found.median, found.high) == pytest.approx((0.8, 0.8, 0.8))
    assert found.is_faster
    assert found.is_no_slower


def test_noise_is_no_speed() -> None:
    faster = [ratio(*timings(1.0, 0.1, seed=1000 + seed)).is_faster for seed in range(100)]
    assert sum(faster) <= 3  # the interval is 99%, two-sided


def test_a_clear_gain_is_seen_through_noise() -> None:
    found = ratio(*timings(0.8, 0.1))
    assert found.is_faster
    assert found.low < 0.8 < found.high + 0.05
    assert not ratio(*timings(1.2, 0.1)).is_no_slower


def test_no_slower_needs_certainty_up_to_the_margin() -> None:
    assert Ratio(1.001, 0.995, 1.006).is_no_slower
    assert not Ratio(1.001, 0.95, 1.05).is_no_slower  # cannot tell
    assert not Ratio(1.008, 1.007, 1.009).is_no_slower
    assert not Ratio(1.0, 0.99, 1.0).is_faster


def test_the_interval_is_the_same_each_time() -> None:
    pair = timings(0.9, 0.2)
    assert ratio(*pair, seed=4) == ratio(*pair, seed=4)
    assert str(Ratio(0.7, 0.65, 0.75)) == "0.700 [0.650, 0.750]"
