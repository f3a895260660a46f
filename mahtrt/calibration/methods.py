"""From what was seen of a tensor to the magnitude that INT8 still represents (``amax``).

Quantisation is symmetric: ``scale = amax / 127``, larger magnitudes saturate. The methods trade the
rounding of everything against the saturation of a few: ``minmax`` saturates nothing, ``percentile``
a fixed share, ``entropy`` what changes the distribution least, ``mse`` what costs least in mean
squared error.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mahtrt.calibration.histogram import StreamingHistogram
from mahtrt.calibration.weights import ACTIVATION_MAX

Method = Literal["minmax", "percentile", "entropy", "mse", "learned"]
# What histograms give; "learned" ranges come from fine-tuning (mahtrt qat).
METHODS: tuple[Method, ...] = ("minmax", "percentile", "entropy", "mse")
LEARNED: Method = "learned"
DEFAULT_METHOD: Method = "minmax"
DEFAULT_PERCENTILE = 99.99

# Magnitudes that a signed 8-bit value tells apart, as in NVIDIA's description of the search.
LEVELS = 128

# The mean squared error is smooth in the threshold: this many are tried over the whole range,
# and again around the best of them.
_COARSE, _FINE = 128, 32


def amax_by_method(
    histogram: StreamingHistogram, largest: float, percentile: float = DEFAULT_PERCENTILE
) -> dict[str, float]:
    """The magnitude to keep, by every method.

    Args:
        histogram: Magnitudes of a sample of the tensor.
        largest: The largest magnitude of the whole tensor, not only of the sample.
        percentile: Share of the magnitudes to keep, in (0, 100].
    """
    return {
        "minmax": largest,
        "percentile": min(amax_percentile(histogram, percentile) or largest, largest),
        "entropy": min(amax_entropy(histogram) or largest, largest),
        "mse": min(amax_mse(histogram) or largest, largest),
    }


def amax_percentile(histogram: StreamingHistogram, percentile: float) -> float:
    """The magnitude that ``percentile`` percent of the values do not exceed, to within one bin.

    Returns 0.0 where so many values are zero that the percentile is among them.
    """
    if histogram.total == histogram.zeros:
        return 0.0
    rank = percentile / 100.0 * histogram.total
    if rank <= histogram.zeros:
        return 0.0
    cumulative = np.cumsum(histogram.counts)
    place = int(np.searchsorted(cumulative, rank))
    before = cumulative[place] - histogram.counts[place]
    inside = (rank - before) / histogram.counts[place]
    return float((place + inside) * histogram.width)


def amax_entropy(histogram: StreamingHistogram, levels: int = LEVELS) -> float:
    """The clipping threshold whose quantised distribution tells most about the real one.

    The search of S. Migacz, "8-bit inference with TensorRT" (GTC 2017): for every threshold of
    ``i`` bins, P is the histogram cut there with the outliers added to its last bin, Q the same
    cut without outliers, averaged over ``levels`` groups of bins (over the bins that are not
    empty), and the threshold with the smallest KL(P || Q) wins. Two readings of our own: exact
    zeros are left out, since every scale represents them; and a threshold whose last bin is
    empty, where KL is infinite, is skipped.

    All thresholds are evaluated at once from cumulative sums, in O(bins x levels).

    Returns:
        The threshold, 0.0 for a tensor that was always zero.
    """
    counts = histogram.counts.astype(np.float64)
    counts[0] -= histogram.zeros
    used = int(np.flatnonzero(counts)[-1]) + 1 if counts.any() else 0
    if used <= levels:
        return used * histogram.width
    counts, total = counts[:used], counts.sum()
    sums = np.concatenate([[0.0], np.cumsum(counts)])
    filled = np.concatenate([[0], np.cumsum(counts > 0)])
    terms = np.concatenate([[0.0], np.cumsum(_x_log_x(counts))])

    cuts = np.arange(levels, used + 1)  # (T,) thresholds, in bins
    last = cuts - 1
    # Bin k of a cut of i bins is in group k * levels // i.
    edges = -(-np.arange(levels + 1) * cuts[:, None] // levels)  # (T, levels + 1)
    group_sums = np.diff(sums[edges], axis=1)  # (T, levels)
    group_filled = np.diff(filled[edges], axis=1)
    log_q = np.log(np.where(group_sums > 0, group_sums, 1.0) / np.maximum(group_filled, 1))

    inside, outliers = sums[cuts], total - sums[cuts]
    p_log_p = terms[last] + _x_log_x(counts[last] + outliers)
    p_log_q = (group_sums * log_q).sum(axis=1) + outliers * log_q[:, -1]
    divergence = (p_log_p - p_log_q) / total - np.log(total) + np.log(np.maximum(inside, 1.0))
    divergence[(counts[last] == 0) | (inside == 0)] = np.inf
    return float((cuts[int(np.argmin(divergence))] - 0.5) * histogram.width)


def amax_mse(histogram: StreamingHistogram) -> float:
    """The clipping threshold with the smallest expected squared error, rounding and clipping.

    Two passes over thresholds, a coarse one over the whole range and a fine one around its best.
    Thresholds of fewer than ``LEVELS`` bins are not tried: their steps are finer than the bins.

    Returns:
        The threshold, 0.0 for a tensor that was always zero.
    """
    used = _used_bins(histogram)
    if used <= LEVELS:
        return used * histogram.width
    coarse = np.linspace(LEVELS, used, _COARSE)
    best = coarse[int(np.argmin(expected_squared_error(histogram, coarse * histogram.width)))]
    step = coarse[1] - coarse[0]
    fine = np.linspace(max(best - step, LEVELS), min(best + step, used), _FINE)
    fine = np.append(fine, best)  # so that the second pass is never worse than the first
    place = int(np.argmin(expected_squared_error(histogram, fine * histogram.width)))
    return float(fine[place] * histogram.width)


def expected_squared_error(
    histogram: StreamingHistogram, thresholds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean squared error of symmetric INT8 at some thresholds, values spread evenly in each bin.

    Exact zeros cost nothing at any threshold. Nothing is sampled: the integral of the squared
    error from 0 to the edge of a bin has a closed form, and a bin's error is the difference of
    two of them.

    Args:
        histogram: Not empty, and not only of zeros.
        thresholds: (T,) above 0, in the unit of the values.

    Returns:
        (T,) in the squared unit of the values.
    """
    used = _used_bins(histogram)
    counts = histogram.counts[:used].astype(np.float64)
    counts[0] -= histogram.zeros
    edges = np.arange(used + 1) * histogram.width  # (bins + 1,)
    limit = thresholds[:, None]
    integral = np.diff(_integral_of_squared_error(np.minimum(edges, limit), limit), axis=1)
    beyond = np.diff(np.maximum(edges - limit, 0.0) ** 3 / 3.0, axis=1)
    return (integral + beyond) @ counts / histogram.width / histogram.total


def _integral_of_squared_error(
    x: NDArray[np.float64], limit: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The integral of (u - q(u))^2 for u in [0, x], where x <= limit and q rounds to its 127th."""
    step = limit / ACTIVATION_MAX
    whole = np.rint(x / step)
    return whole * step**3 / 12.0 + (x - whole * step) ** 3 / 3.0


def _used_bins(histogram: StreamingHistogram) -> int:
    """Bins up to the last one that holds something else than exact zeros."""
    filled = np.flatnonzero(histogram.counts)
    last = int(filled[-1]) + 1 if filled.size else 0
    return 0 if last == 1 and histogram.total == histogram.zeros else last


def _x_log_x(x: np.ndarray) -> np.ndarray:
    return x * np.log(np.where(x > 0, x, 1.0))
