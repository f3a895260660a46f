"""Paired comparisons, by values worked out by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from mahtrt.evaluation.answers import Answers, joined
from mahtrt.evaluation.comparison import compare, holm, signed_rank_p
from mahtrt.evaluation.scores import score

NAN = np.nan


def answers(errors: Any, **known: Any) -> Answers:
    errors = np.asarray(errors, np.float64)
    nothing, unknown = np.empty((len(errors), 0)), np.full(len(errors), NAN)
    names = tuple(map(str, range(len(errors))))
    plain = Answers(
        names, errors, errors / 10, nothing, nothing, unknown, unknown, nothing, nothing, ("a", "b")
    )
    return dataclasses.replace(plain, **known)


def test_holm_steps_down_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_signed_rank_test_is_exact_where_cases_are_few() -> None:
    first = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    assert signed_rank_p(first, first + np.arange(1, 6)) == pytest.approx(2 / 2**5)
    assert signed_rank_p(first, first) == 1.0


def test_a_network_that_is_better_everywhere_is_found_so() -> None:
    generator = np.random.default_rng(0)
    base = generator.uniform(1, 3, (20, 2))
    found = compare({"first": answers(base), "second": answers(base - 0.5)})
    (pair,) = found
    assert (pair.measure, pair.cases) == ("mre_mm", 20)
    assert pair.difference == pytest.approx(-0.05)
    assert pair.interval == pytest.approx((-0.05, -0.05))
    assert pair.p_value == pair.p_holm < 1e-4


def test_every_pair_is_corrected_for_all_of_them() -> None:
    generator = np.random.default_rng(1)
    base = generator.uniform(1, 3, (10, 2))
    found = compare({name: answers(base + generator.normal(0, 0.3, (10, 2))) for name in "abc"})
    assert [(pair.first, pair.second) for pair in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [pair.p_holm for pair in found] == holm([pair.p_value for pair in found])


def test_pixels_count_where_no_spacing_is_known_and_cases_without_annotation_do_not() -> None:
    errors = np.array([[1.0, NAN], [NAN, NAN], [3.0, 5.0]])
    unknown = np.full((3, 2), NAN)
    pair, *rest = compare(
        {
            "a": answers(errors, errors_mm=unknown),
            "b": answers(errors + 1, errors_mm=unknown),
        }
    )
    assert rest == []
    assert (pair.measure, pair.cases, pair.interval) == ("mre_px", 2, None)
    assert pair.difference == pytest.approx(1.0)


def test_broken_landmarks_are_the_worst_and_no_reason_to_stop() -> None:
    broken, fine = np.array([[np.inf], [1.0], [2.0]]), np.array([[1.0], [1.0], [2.0]])
    (pair,) = compare({"a": answers(broken), "b": answers(fine)})
    assert (pair.difference, pair.p_value, pair.interval) == (-np.inf, 1.0, None)
    (pair,) = compare({"a": answers(broken), "b": answers(broken + 0.5)})
    assert np.isnan(pair.difference)
    assert pair.p_value == pytest.approx(signed_rank_p(np.zeros(3), np.array([0, 0.5, 0.5])))


def test_labels_maps_and_visibility_are_compared_too() -> None:
    none = np.full((2, 2), NAN)
    known = {
        "errors_mm": none,
        "visible": np.array([[1.0, 0.0], [1.0, NAN]]),
        "labels": np.array([[1.0], [0.0]]),
    }
    good = answers(
        none,
        visibility=np.array([[0.9, 0.1], [0.9, 0.9]]),
        map_errors=np.array([0.1, 0.2]),
        probabilities=np.array([[0.9], [0.2]]),
        **known,
    )
    bad = answers(
        none,
        visibility=np.array([[0.9, 0.8], [0.9, 0.9]]),
        map_errors=np.array([0.2, 0.4]),
        probabilities=np.array([[0.1], [0.2]]),
        **known,
    )
    found = {pair.measure: pair.difference for pair in compare({"good": good, "bad": bad})}
    assert found == pytest.approx({"visibility_error": 1 / 3, "map_mae": 0.15, "label_error": 0.5})


def test_scores_are_those_of_all_points_and_of_each_landmark() -> None:
    found = score(answers(np.array([[10.0, 24.0], [30.0, NAN]])))  # 1, 2.4 and 3 mm
    assert (found.images, found.overall.points) == (2, 3)
    assert (found.px, found.mm) == pytest.approx((64 / 3, 6.4 / 3))
    assert found.overall.sdr_percent == pytest.approx(
        {"2": 100 / 3, "2.5": 200 / 3, "3": 100.0, "4": 100.0}
    )
    assert found.per_landmark["b"].points == 1
    assert found.per_landmark["b"].mm == pytest.approx(2.4)
    assert found.px_interval is None


def test_answers_of_folds_are_put_together() -> None:
    parts = [answers([[1.0, 2.0]]), answers([[3.0, 4.0], [5.0, 6.0]])]
    whole = joined(parts)
    assert whole.errors_px.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert len(whole.names) == 3
