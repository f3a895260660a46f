from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mahtrt.calibration.histogram import StreamingHistogram


def random_parts(seed: int, count: int) -> list[np.ndarray]:
    """Parts of growing and shrinking range, with zeros and repeated values among them."""
    rng = np.random.default_rng(seed)
    scales = 10.0 ** rng.uniform(-4, 4, count)
    parts = [rng.normal(0, s, rng.integers(1, 60)).astype(np.float32) for s in scales]
    return [np.where(rng.random(part.size) < 0.2, 0, part) for part in parts]


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_equals_numpy_over_everything_at_once(seed: int, count: int) -> None:
    parts = random_parts(seed, count)
    histogram, backwards = StreamingHistogram(64), StreamingHistogram(64)
    for part, other in zip(parts, reversed(parts), strict=True):
        histogram.add(part)
        backwards.add(other)
    assert backwards.limit == histogram.limit
    np.testing.assert_array_equal(backwards.counts, histogram.counts)
    everything = np.abs(np.concatenate(parts))
    if histogram.limit:
        expected, _ = np.histogram(everything, bins=64, range=(0, histogram.limit))
        np.testing.assert_array_equal(histogram.counts, expected)
    assert histogram.total == everything.size
    assert histogram.zeros == np.count_nonzero(everything == 0)


def test_range_doublings_merge_bins_in_pairs() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(0, 2.0**k, 5000).astype(np.float32) for k in range(-3, 6)]
    histogram = StreamingHistogram()
    limits = []
    for part in parts:
        histogram.add(part)
        limits.append(histogram.limit)
    assert limits == sorted(limits)
    assert limits[-1] >= 32 * limits[0]
    expected, _ = np.histogram(np.abs(np.concatenate(parts)), 2048, (0, histogram.limit))
    np.testing.assert_array_equal(histogram.counts, expected)


@pytest.mark.parametrize("largest", [1.0, 0.75, 2.0**-130, 3e38, 1e-45])
def test_the_largest_value_is_inside(largest: float) -> None:
    histogram = StreamingHistogram()
    histogram.add(np.array([largest, -largest / 2, 0.0]))
    assert histogram.total == 3
    assert histogram.limit >= largest
    assert histogram.zeros == 1


def test_zeros_only_have_no_range() -> None:
    histogram = StreamingHistogram()
    histogram.add(np.zeros(7))
    histogram.add(np.zeros(0))
    assert (histogram.limit, histogram.total, histogram.zeros) == (0.0, 7, 7)
    assert histogram.fraction_above(0.5) == 0.0


def test_fraction_above() -> None:
    histogram = StreamingHistogram()
    histogram.add(np.linspace(0, 1, 100_001))
    assert histogram.fraction_above(0.9) == pytest.approx(0.1, abs=1e-4)
    assert histogram.fraction_above(0.0) == 1.0
    assert histogram.fraction_above(2.0) == 0.0


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6))
def test_histograms_of_parts_merge_into_that_of_the_whole(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    # Powers of two lie on the edges of bins, and at the limit itself.
    parts = [
        np.concatenate([part, 2.0 ** rng.integers(-6, 6, 3)]) for part in random_parts(seed, count)
    ]
    whole, merged = StreamingHistogram(64), StreamingHistogram(64)
    whole.add(np.concatenate(parts))
    for part in rng.permutation(len(parts)):
        alone = StreamingHistogram(64)
        for value in rng.permutation(parts[part]):
            alone.add(np.array([value]))
        merged.merge(alone)
    assert (merged.limit, merged.zeros) == (whole.limit, whole.zeros)
    np.testing.assert_array_equal(merged.counts, whole.counts)
    assert merged.fraction_above(0.3) == whole.fraction_above(0.3)
