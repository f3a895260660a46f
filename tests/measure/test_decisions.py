"""Logits and visibility: agreement, differences, AUROC."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from mahtrt.measure.decisions import auroc, compare_decisions
from mahtrt.measure.logits import logit, measure_logits, sigmoid
from mahtrt.measure.visibility import measure_visibility

RNG = np.random.default_rng(0)


def pairs_auroc(scores: np.ndarray, truth: np.ndarray) -> float:
    pairs = itertools.product(scores[truth == 1], scores[truth == 0])
    return float(np.mean([(a > b) + 0.5 * (a == b) for a, b in pairs]))


def test_auroc_is_the_share_of_pairs_with_ties_counted_half() -> None:
    truth = np.array([1, 0, 1, 0, 0, 1, np.nan, 0, 1.0])
    for _ in range(20):
        scores = RNG.integers(0, 4, len(truth)).astype(float)
        assert auroc(scores, truth) == pytest.approx(pairs_auroc(scores, truth))
    assert auroc(truth, truth) == 1.0
    assert auroc(-truth, truth) == 0.0


def test_auroc_needs_both_kinds_of_cases() -> None:
    assert auroc(np.arange(3.0), np.ones(3)) is None
    assert auroc(np.arange(3.0), np.array([0, 0, np.nan])) is None


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_broken_score_loses_every_comparison(broken: float) -> None:
    truth = np.array([1, 1, 0, 0.0])
    assert auroc(np.array([broken, 2, 0, 1]), truth) == pytest.approx(0.5)
    assert auroc(np.array([2, 2, broken, 1]), truth) == pytest.approx(0.5)


def test_the_threshold_itself_is_a_yes_and_broken_values_agree_with_nobody() -> None:
    ours = np.array([[0.5, 0.4], [math.nan, 0.7]])
    theirs = np.array([[0.6, 0.4], [math.nan, 0.2]])
    found = compare_decisions(ours, theirs, 0.5)
    np.testing.assert_array_equal(found.same, [[True, True], [False, False]])
    assert found.counts == {
        "non_finite": 1,
        "mean": math.inf,
        "max": math.inf,
        "decisions": 4,
        "disagreements": 2,
        "agreement": 0.5,
    }
    with pytest.raises(ValueError, match=r"\(N, M\) twice"):
        compare_decisions(ours, theirs[:1], 0.5)


def test_logits_decide_at_the_outputs_threshold_of_their_sigmoid() -> None:
    assert sigmoid(np.array(logit(0.3))) == pytest.approx(0.3)
    assert (logit(0.0), logit(1.0)) == (-math.inf, math.inf)
    theirs = np.array([[logit(0.31), 3.0], [-2.0, 40.0]])
    ours = theirs + np.array([[-0.2, 0.0], [0.5, 1.0]])
    found = measure_logits("findings", ("mass", "edema"), 0.3, ours, theirs)
    assert (found.disagreements, found.decisions, found.agreement) == (1, 4, 0.75)
    assert found.max == pytest.approx(1.0)
    assert [(row.name, row.agreement) for row in found.per_label] == [("mass", 0.5), ("edema", 1.0)]
    assert found.auroc is None
    assert found.per_label[0].max == pytest.approx(0.5)


def test_the_change_of_auroc_is_over_labels_that_have_one() -> None:
    truth = np.array([[1, 1], [0, 1], [1, np.nan]])
    theirs, ours = np.array([[2.0, 1], [1, 1], [3, 1]]), np.array([[2.0, 1], [2.5, 1], [3, 1]])
    found = measure_logits("findings", (), 0.5, ours, theirs, truth)
    assert (found.auroc, found.reference_auroc, found.delta_auroc) == (0.5, 1.0, -0.5)
    assert [(row.name, row.positives, row.negatives) for row in found.per_label] == [
        ("0", 2, 1),
        ("1", 2, 0),
    ]
    with pytest.raises(ValueError, match="labels"):
        measure_logits("findings", (), 0.5, ours, theirs, truth[:, :1])


def test_visibility_against_the_reference_and_against_annotations() -> None:
    theirs = np.array([[0.9, 0.2, 0.6], [0.8, 0.4, 0.1]])
    ours = np.array([[0.9, 0.2, 0.4], [0.8, 0.4, 0.1]])
    truth = np.array([[1, 0, 1], [np.nan, 1, 0]])
    found = measure_visibility("visibility", 0.5, ours, theirs, truth)
    assert (found.disagreements, found.annotated) == (1, 5)
    assert found.max == pytest.approx(0.2)
    assert found.accuracy == pytest.approx(0.6)
    assert found.reference_accuracy == pytest.approx(0.8)
    assert found.delta_accuracy == pytest.approx(-0.2)
    assert measure_visibility("visibility", 0.5, ours, theirs).accuracy is None
