"""The limits of charts: what a reference leaves open, and what follows for alarms."""

from __future__ import annotations

import numpy as np
import pytest

from mahtrt.bundle.reference_statistics import MOST_KNOTS, StatisticRecord, knot_ranks
from mahtrt.monitoring.limits import chart_limits
from mahtrt.monitoring.reference_error import possible_means
from mahtrt.monitoring.scores import Kind, Scorer, scores_of

KINDS: tuple[Kind, ...] = ("place", "width")


def ranks_of(images: int) -> tuple[int, ...]:
    return knot_ranks(images, min(images, MOST_KNOTS))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("images", [16, 64, 200])
def test_what_a_reference_leaves_open_is_what_references_show(images: int, kind: Kind) -> None:
    ranks = ranks_of(images)
    scores, means = scores_of(images, ranks, kind), possible_means(images, ranks, kind)
    chances = np.random.default_rng(0).dirichlet(scores.chances * (images + 1), 40_000)
    drawn = chances @ scores.values
    assert drawn.mean() == pytest.approx(0, abs=0.02 * scores.error)
    assert drawn.std() == pytest.approx(scores.error, rel=0.02)
    for deviations in (0, 1, 2):  # ends of the ranges that single means stand for
        at = deviations * scores.error
        expected = means.weights[means.means > at].sum()
        assert (drawn > at).mean() == pytest.approx(expected, rel=0.1)
    np.testing.assert_allclose(means.chances @ scores.values, means.means, atol=1e-6)


def test_a_smaller_reference_finds_only_larger_shifts() -> None:
    found = [chart_limits(images, ranks_of(images), "place", 1e-5) for images in (16, 32, 64, 200)]
    shifts = [limits.smallest_shift for limits in found if limits is not None]
    assert len(shifts) == 4
    assert shifts == sorted(shifts, reverse=True)
    assert chart_limits(2, ranks_of(2), "place", 1e-5) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_chart_raises_false_alarms_as_rarely_as_asked(kind: Kind) -> None:
    images, count, chance = 32, 2000, 0.02
    ranks, rng = ranks_of(images), np.random.default_rng(1)
    limits, scores = chart_limits(images, ranks, kind, chance), scores_of(images, ranks, kind)
    assert limits is not None
    places = np.arange(count)
    knots = (np.sort(rng.random((count, images)), axis=1) + places[:, None]).ravel()
    sums, alarmed = np.zeros(count), np.zeros(count, bool)
    for _ in range(2000):
        cells = np.searchsorted(knots, rng.random(count) + places) - images * places
        sums = np.maximum(0, sums + scores.values[cells] - limits.allowance)
        alarmed |= sums >= limits.limit
    assert 0.008 < alarmed.mean() < 0.032  # four deviations of 2,000 trials to both sides


def test_values_that_are_equal_to_reference_values_share_their_scores() -> None:
    same = StatisticRecord("image.bits", 20, 8.0, 0.0, (8.0,) * 20)
    scorer = Scorer(same, 0.0)
    place, width = scorer.score(8.0)
    assert (place, width) == pytest.approx((0, 0), abs=1e-12)
    above, below = scorer.score(16.0)[0], scorer.score(1.0)[0]
    assert above == pytest.approx(-below)
    assert above > 1.9
    assert Scorer(same, 0.1).score(8.05)[0] == pytest.approx(0, abs=1e-12)
