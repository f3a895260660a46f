"""95% intervals of means by a paired bootstrap over images.

An image is drawn whole, with all its landmarks and with both engines: landmarks of one image err
together, and so do two engines on it. All numbers of one measurement share their draws, so that
intervals of, say, the MRE and of its growth tell of the same resampled data sets.

Plain percentiles of resampled means are too narrow where images are few: resampling divides by N
where a variance divides by N - 1, and it takes normal quantiles for Student's. So percentiles
further out are taken, by the factor t sqrt(N / (N - 1)) / z: Hesterberg's expanded percentile
interval ("What teachers should know about the bootstrap", The American Statistician 69, 2015).
Below eight images no interval is given.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from mahtrt.bundle.records import Interval

RESAMPLES = 4000
LEAST_IMAGES = 8  # fewer do not tell how far their own mean may be off
UPPER = 0.975

Floats = NDArray[np.float64]


class Bootstrap:
    """Resamples of images, drawn once for each number of images.

    Args:
        seed: Equal seeds give equal intervals.
        resamples: How many data sets are drawn.
    """

    def __init__(self, seed: int = 0, resamples: int = RESAMPLES) -> None:
        self._seed, self._resamples = seed, resamples
        self._drawn: dict[int, Floats] = {}

    def mean(self, values: Floats) -> Interval | None:
        """Interval of the mean of values (N, K), NaN where there is none.

        Returns:
            (low, high), or None with fewer than eight images or a value that is infinite.
        """
        counts = (~np.isnan(values)).sum(axis=1)  # (N,)
        used = counts > 0
        sums = np.nansum(values, axis=1)
        if used.sum() < LEAST_IMAGES or not np.isfinite(sums).all():
            return None
        drawn = self._draws(int(used.sum()))
        return expanded_interval((drawn @ sums[used]) / (drawn @ counts[used]), int(used.sum()))

    def change(self, candidate: Floats, reference: Floats) -> Interval | None:
        """Interval of the change of the mean, candidate minus reference.

        Args:
            candidate, reference: (N, K), NaN in both at the same places.

        Returns:
            As :meth:`mean`; None too where either has an infinite value.
        """
        if np.isinf(candidate).any() or np.isinf(reference).any():
            return None
        return self.mean(candidate - reference)

    def growth_percent(self, candidate: Floats, reference: Floats) -> Interval | None:
        """Interval of by how many percent the candidate's mean is above the reference's.

        Args:
            candidate, reference: As for :meth:`change`, and not negative.

        Returns:
            As :meth:`change`; None too where a resampled reference is all zero.
        """
        used = (~np.isnan(reference)).any(axis=1)
        ours, theirs = np.nansum(candidate, axis=1)[used], np.nansum(reference, axis=1)[used]
        if used.sum() < LEAST_IMAGES or not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
            return None
        drawn = self._draws(int(used.sum()))
        below = drawn @ theirs
        if not below.all():
            return None
        return expanded_interval(100 * ((drawn @ ours) / below - 1), int(used.sum()))

    def _draws(self, images: int) -> Floats:
        """How often each image was drawn: (resamples, images)."""
        if images not in self._drawn:
            drawn = np.random.default_rng(self._seed).multinomial(
                images, np.full(images, 1 / images), size=self._resamples
            )
            self._drawn[images] = drawn.astype(np.float64)
        return self._drawn[images]


def student_quantile(count: float, upper: float = UPPER) -> float:
    """A quantile of Student's t of ``count`` - 1 degrees of freedom.

    By its expansion about the normal quantile: for 97.5% to 0.001 from seven degrees on, for 99.5%
    to 1% from five.
    """
    z, v = NormalDist().inv_cdf(upper), count - 1
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )


def expanded_interval(resampled: Floats, count: float, upper: float = UPPER) -> Interval:
    """Percentiles of resampled values, further out where they rest on few drawn things.

    Args:
        count: How many things each resample drew.
        upper: The upper percentile, were there many: 0.975 for 95%.
    """
    expanded = student_quantile(count, upper) * math.sqrt(count / (count - 1))
    tail = NormalDist().cdf(-expanded)
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(low), float(high)
