"""95% interval of the change of a proportion, such as the SDR, between two engines.

Most points are within a distance for both engines or for neither, and only those that crossed
count. Where none crossed, resampling gives an interval of no width, although a few hundred points
cannot rule out a rare crossing. So the interval is Bonett and Price's adjusted one for paired
proportions ("Adjusted Wald confidence interval for a difference of binomial proportions based on
paired data", Journal of Educational and Behavioral Statistics 37, 2012): one crossing in each
direction is added before the mean and the variance are taken. Points of one image cross together,
so the variance is taken between images, with Student's quantile. With few images and hardly a
crossing the interval covers more than 95%, as one that never claims too much must.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mahtrt.bundle.records import Interval
from mahtrt.measure.bootstrap import LEAST_IMAGES, student_quantile

Floats = NDArray[np.float64]


def change_percent(candidate: Floats, reference: Floats) -> Interval | None:
    """Interval of the candidate's percentage minus the reference's, in percentage points.

    Args:
        candidate, reference: (N, K) with 1 for a success and 0 for none; NaN in both at the same
            places.

    Returns:
        (low, high), or None with fewer than eight images.
    """
    crossed = candidate - reference  # (N, K): +1 gained, -1 lost
    points = (~np.isnan(crossed)).sum(axis=1)  # (N,)
    used = points > 0
    images, total = int(used.sum()), int(points.sum())
    if images < LEAST_IMAGES:
        return None
    net = np.nansum(crossed, axis=1)[used]  # (images,)
    around = net - points[used] * (net.sum() / total)
    variance = (around**2).sum() * images / (images - 1)
    middle = float(net.sum()) / (total + 2)
    half = student_quantile(images) * math.sqrt(variance + 2) / (total + 2)
    return 100 * max(-1.0, middle - half), 100 * min(1.0, middle + half)
