from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mahtrt.calibration.histogram import StreamingHistogram
from mahtrt.calibration.methods import (
    METHODS,
    amax_by_method,
    amax_entropy,
    amax_mse,
    amax_percentile,
    expected_squared_error,
)


def histogram_of(values: np.ndarray, bins: int = 2048) -> StreamingHistogram:
    histogram = StreamingHistogram(bins)
    histogram.add(values)
    return histogram


def entropy_by_the_book(histogram: StreamingHistogram, levels: int) -> float:
    """The published search, one threshold after another."""
    counts = histogram.counts.astype(float)
    counts[0] -= histogram.zeros
    used = np.flatnonzero(counts)[-1] + 1
    best, best_cut = np.inf, used
    for cut in range(levels, used + 1):
        p = counts[:cut].copy()
        outside = counts[cut:].sum()
        if p[-1] == 0 or p.sum() == 0:
            continue
        q = np.zeros(cut)
        group = np.arange(cut) * levels // cut
        for level in range(levels):
            members = (group == level) & (p > 0)
            if members.any():
                q[members] = p[group == level].sum() / members.sum()
        p[-1] += outside
        p, q = p / p.sum(), q / q.sum()
        inside = p > 0
        divergence = float((p[inside] * np.log(p[inside] / q[inside])).sum())
        if divergence < best - 1e-12:
            best, best_cut = divergence, cut
    return float((best_cut - 0.5) * histogram.width)


@pytest.mark.parametrize("seed", range(4))
def test_entropy_is_the_published_search(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_t(2 + seed, 3000)
    values[::3] = 0
    histogram = histogram_of(values, 256)
    assert amax_entropy(histogram, 16) == pytest.approx(entropy_by_the_book(histogram, 16))


def test_entropy_of_heavy_tails_clips_the_tail_only() -> None:
    values = np.random.default_rng(0).laplace(0, 1, 400_000)
    values[:20] *= 8
    amax = amax_entropy(histogram_of(values))
    magnitudes = np.abs(values)
    assert np.percentile(magnitudes, 99) < amax < 0.8 * magnitudes.max()


def test_entropy_keeps_a_uniform_range_whole() -> None:
    values = np.random.default_rng(0).uniform(-1, 1, 200_000)
    assert amax_entropy(histogram_of(values)) > 0.98


def test_zeros_do_not_sway_entropy() -> None:
    values = np.random.default_rng(0).laplace(0, 1, 100_000)
    with_zeros = np.concatenate([values, np.zeros(900_000)])
    assert amax_entropy(histogram_of(with_zeros)) == amax_entropy(histogram_of(values))


@settings(deadline=None)
@given(
    st.integers(0, 1000),
    st.sampled_from([50.0, 90.0, 99.0, 99.9, 99.99, 100.0]),
    st.sampled_from(["normal", "laplace", "uniform"]),
)
def test_percentile_is_within_one_bin(seed: int, percentile: float, kind: str) -> None:
    values = getattr(np.random.default_rng(seed), kind)(size=5000)
    histogram = histogram_of(values)
    exact = np.percentile(np.abs(values), percentile, method="inverted_cdf")
    assert amax_percentile(histogram, percentile) == pytest.approx(exact, abs=histogram.width)


def test_percentile_among_zeros_falls_back_to_the_maximum() -> None:
    values = np.zeros(100_000)
    values[0] = 3.0
    histogram = histogram_of(values)
    assert amax_percentile(histogram, 99.9) == 0.0
    assert amax_by_method(histogram, 3.0, 99.9)["percentile"] == 3.0


def test_methods_never_exceed_the_maximum_and_zero_stays_zero() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    largest = float(np.abs(values).max())
    assert max(amax_by_method(histogram_of(values), largest).values()) <= largest
    zeros = amax_by_method(histogram_of(np.zeros(10)), 0.0)
    assert zeros == dict.fromkeys(METHODS, 0.0)


def test_sixty_tensors_take_seconds() -> None:
    rng = np.random.default_rng(0)
    histograms = [histogram_of(rng.laplace(0, 1, 20_000)) for _ in range(6)]
    start = time.process_time()
    for histogram in histograms:
        amax_entropy(histogram)
    assert time.process_time() - start < 1.0  # 60 tensors: 10 s


def squared_error_by_the_book(histogram: StreamingHistogram, threshold: float) -> float:
    """Quantises many values of every bin, one bin after another."""
    total, points = 0.0, (np.arange(400) + 0.5) / 400
    counts = histogram.counts.astype(float)
    counts[0] -= histogram.zeros
    for place in np.flatnonzero(counts):
        values = (place + points) * histogram.width
        step = threshold / 127
        restored = np.clip(np.rint(values / step), -127, 127) * step
        total += counts[place] * float(((values - restored) ** 2).mean())
    return total / histogram.total


@pytest.mark.parametrize("kind", ["normal", "laplace", "uniform", "relu"])
def test_expected_squared_error_is_that_of_quantised_values(kind: str) -> None:
    rng = np.random.default_rng(1)
    values = (
        np.maximum(rng.normal(size=5000), 0) if kind == "relu" else getattr(rng, kind)(size=5000)
    )
    histogram = histogram_of(values, 256)
    thresholds = np.array([0.6, 0.9, 1.0]) * histogram.limit
    expected = [squared_error_by_the_book(histogram, float(t)) for t in thresholds]
    np.testing.assert_allclose(expected_squared_error(histogram, thresholds), expected, rtol=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_mse_is_the_best_of_all_thresholds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_t(2 + 2 * seed, 20_000)
    values[::3] = 0
    histogram = histogram_of(values)
    every = np.arange(128.0, 2049.0, dtype=np.float64) * histogram.width
    errors = expected_squared_error(histogram, every)
    found = expected_squared_error(histogram, np.array([amax_mse(histogram)]))[0]
    assert found <= errors.min() * 1.001
    restored = [
        np.clip(np.rint(values * 127 / t), -127, 127) * t / 127
        for t in (amax_mse(histogram), np.abs(values).max())
    ]
    clipped, whole = (float(((values - r) ** 2).mean()) for r in restored)
    assert clipped <= whole * 1.01  # never worse than minmax on the values themselves


def test_mse_clips_an_outlier_only_where_that_pays() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=200_000)
    values[0] = 60.0
    assert amax_mse(histogram_of(values)) < 40
    # A hundred times as many such values are no outliers.
    values[:20_000] = 60.0
    assert amax_mse(histogram_of(values)) > 55


def test_mse_of_few_bins_or_nothing_keeps_all() -> None:
    assert amax_mse(histogram_of(np.zeros(10))) == 0.0
    narrow = histogram_of(np.array([1e-3, 1.0]), 128)
    assert amax_mse(narrow) == pytest.approx(1.0)
