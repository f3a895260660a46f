"""Differences and structural similarity of maps."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mahtrt.measure.maps import SIGMA, WINDOW, MapTally, difference, span_of, ssim

RNG = np.random.default_rng(0)


def plain_ssim(a: np.ndarray, b: np.ndarray, data_range: float) -> float:
    """SSIM of one channel, window by window, as the paper's formula says."""
    along = np.exp(-((np.arange(WINDOW) - WINDOW // 2) ** 2) / (2 * SIGMA**2))
    weights = np.outer(along, along) / along.sum() ** 2
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    found = []
    for i in range(a.shape[0] - WINDOW + 1):
        for j in range(a.shape[1] - WINDOW + 1):
            x, y = a[i : i + WINDOW, j : j + WINDOW], b[i : i + WINDOW, j : j + WINDOW]
            mx, my = (weights * x).sum(), (weights * y).sum()
            vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
            both = (weights * (x - mx) * (y - my)).sum()
            above = (2 * mx * my + c1) * (2 * both + c2)
            found.append(above / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return float(np.mean(found))


def test_ssim_is_the_formula_over_every_place_of_the_window() -> None:
    a, b = RNG.random((2, 20, 17)), RNG.random((2, 20, 17))
    expected = np.mean([plain_ssim(x, y, 1.0) for x, y in zip(a, b, strict=True)])
    assert ssim(a, b, 1.0) == pytest.approx(expected, abs=1e-9)
    assert ssim(a, a, 1.0) == pytest.approx(1.0)
    assert ssim(a, 1 - a, 1.0) < 0 < ssim(a, a + 0.01 * b, 1.0) < 1


def test_ssim_of_a_map_smaller_than_its_window() -> None:
    small = RNG.random((1, 4, 3))
    assert ssim(small, small, 1.0) == pytest.approx(1.0)
    assert -1 <= ssim(small, 1 - small, 1.0) < 0


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_broken_value_is_the_worst_there_is(broken: float) -> None:
    good = RNG.random((1, 16, 16)).astype(np.float32)
    bad = good.copy()
    bad[0, 3, 4] = broken
    tally = MapTally("change")
    tally.add(good, good, None, "a")
    tally.add(bad, good, good, "b")
    found = tally.record()
    assert (found.mean, found.max, found.ssim, found.worst_ssim) == (math.inf, math.inf, -1, -1)
    assert (found.non_finite, found.worst_image, found.mae) == (1, "b", math.inf)
    assert found.p99 == 0.0  # a single value of 512


def test_numbers_are_those_of_all_values_of_all_images() -> None:
    ours = RNG.random((5, 1, 12, 13)).astype(np.float32)
    theirs = np.clip(ours + RNG.normal(0, 0.02, ours.shape), 0, 1).astype(np.float32)
    truth = np.where(RNG.random(ours.shape) < 0.5, 0.5, np.nan)
    tally = MapTally("change")
    for i in range(5):
        tally.add(ours[i], theirs[i], truth[i] if i else None, str(i))
    found = tally.record()
    apart = np.abs(ours.astype(np.float64) - theirs)
    ordered = np.sort(apart, axis=None)
    assert found.mean == pytest.approx(apart.mean())
    assert found.max == pytest.approx(apart.max())
    assert found.p99 == pytest.approx(ordered[math.ceil(0.99 * ordered.size) - 1], rel=1e-3)
    known = np.isfinite(truth[1:])
    assert found.mae == pytest.approx(np.abs(ours[1:] - 0.5)[known].mean())
    assert found.reference_mae == pytest.approx(np.abs(theirs[1:] - 0.5)[known].mean())
    assert found.annotated_images == 4
    similarities = [ssim(a, b, 1.0) for a, b in zip(ours, theirs, strict=True)]
    assert found.ssim == pytest.approx(np.mean(similarities))
    assert found.worst_image == str(int(np.argmin(similarities)))


def test_a_map_of_another_unit_is_judged_in_shares_of_its_span() -> None:
    theirs = RNG.random((1, 12, 12))
    ours = theirs + 0.01
    assert span_of(theirs) == 1.0
    np.testing.assert_allclose(difference(ours, theirs), 0.01)
    wide = 200 * (theirs - theirs.min()) / np.ptp(theirs) - 50
    assert span_of(wide) == pytest.approx(200)
    np.testing.assert_allclose(difference(wide + 2, wide), 0.01)


def test_maps_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(C, h, w\)"):
        difference(np.zeros((1, 4, 4)), np.zeros((1, 4, 5)))
