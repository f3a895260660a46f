from __future__ import annotations

import random

import numpy as np
import pytest

from mahtrt.measure.contest import Ratio, ratio
from mahtrt.measure.timing import Timings


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


def alike(share: float, rounds: int, seed: int) -> tuple[Timings, Timings]:
    """(candidate, reference), equally fast; each round's ratio keeps a share of the one before."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0.0, np.sqrt(1 - share**2), rounds)
    noise = [rng.normal()]
    for step in steps[1:]:
        noise.append(share * noise[-1] + step)
    ours = tuple(float(10 * (1 + 0.02 * each)) for each in noise)
    return Timings(ours), Timings((10.0,) * rounds)


@pytest.mark.parametrize(("share", "least"), [(0.0, 0.97), (0.3, 0.95), (0.6, 0.92), (0.8, 0.85)])
def test_rounds_that_resemble_their_neighbours_say_less(share: float, least: float) -> None:
    # With single rounds drawn: 0.98, 0.95, 0.84, 0.67.
    found = [ratio(*alike(share, 60, seed)) for seed in range(200)]
    assert np.mean([each.low <= 1.0 <= each.high for each in found]) >= least


def test_one_round_is_its_own_interval() -> None:
    found = ratio(Timings((8.0,)), Timings((10.0,)))
    assert (found.low, found.median, found.high) == (0.8, 0.8, 0.8)


def test_the_interval_is_the_same_each_time() -> None:
    pair = timings(0.9, 0.2)
    assert ratio(*pair, seed=4) == ratio(*pair, seed=4)
    assert str(Ratio(0.7, 0.65, 0.75)) == "0.700 [0.650, 0.750]"
