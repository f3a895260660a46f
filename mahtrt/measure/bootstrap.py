"""95% intervals by a paired bootstrap over images.

An image is drawn whole, with all its landmarks and with both engines: landmarks of one image err
together, and so do two engines on it. All numbers of one measurement share their draws, so that
intervals of, say, the MRE and of the SDR tell of the same resampled data sets.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mahtrt.bundle.records import Interval

RESAMPLES = 1000

Floats = NDArray[np.float64]


class Bootstrap:
    """Resamples of images, drawn once for each number of images.

    Args:
        seed: Equal seeds give equal intervals.
        resamples: How many data sets are drawn.
    """

    def __init__(self, seed: int = 0, resamples: int = RESAMPLES) -> None:
        self._seed, self._resamples = seed, resamples
        self._drawn: dict[int, NDArray[np.int64]] = {}

    def mean(self, values: Floats) -> Interval | None:
        """Interval of the mean of values (N, K), NaN where there is none.

        Returns:
            (low, high), or None with fewer than two images or a value that is infinite.
        """
        counts = (~np.isnan(values)).sum(axis=1)  # (N,)
        used = counts > 0
        sums = np.nansum(values, axis=1)
        if used.sum() < 2 or not np.isfinite(sums).all():
            return None
        drawn = self._draws(int(used.sum()))
        low, high = np.quantile((drawn @ sums[used]) / (drawn @ counts[used]), [0.025, 0.975])
        return float(low), float(high)

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
        if used.sum() < 2 or not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
            return None
        drawn = self._draws(int(used.sum()))
        below = drawn @ theirs
        if not below.all():
            return None
        low, high = np.quantile(100 * ((drawn @ ours) / below - 1), [0.025, 0.975])
        return float(low), float(high)

    def _draws(self, images: int) -> NDArray[np.int64]:
        """How often each image was drawn: (resamples, images)."""
        if images not in self._drawn:
            self._drawn[images] = np.random.default_rng(self._seed).multinomial(
                images, np.full(images, 1 / images), size=self._resamples
            )
        return self._drawn[images]
