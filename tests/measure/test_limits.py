from __future__ import annotations

import math
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np
import pytest

from mahtrt.bundle.output_records import LogitsRecord, MapRecord
from mahtrt.bundle.records import AccuracyRecord, BudgetsRecord, GateRecord
from mahtrt.errors import UsageError
from mahtrt.measure.accuracy import Annotations, LandmarkSet, measure
from mahtrt.measure.limit_options import option_of
from mahtrt.measure.limits import Limits
from mahtrt.spec import DecodeSpec, InputSpec, ModelSpec, OutputKind, OutputSpec
from mahtrt.verbs.options import BudgetArguments

NAMES = ("sella", "nasion")
REFERENCE = np.array([[[10.0, 10.0], [20.0, 20.0]], [[30.0, 30.0], [40.0, 40.0]]])  # (2, 2, 2)
TAIL = Limits(budget_px=9.0, worst_landmark_px=9.0, p99_px=0.5, max_px=2.0)


def both(points_px: np.ndarray, spread_px: np.ndarray | None = None) -> LandmarkSet:
    """One network pixel is two image pixels."""
    return LandmarkSet(points_px, 2 * points_px, spread_px)


def moved(by: list[list[list[float]]]) -> AccuracyRecord:
    return measure(both(REFERENCE + np.array(by)), both(REFERENCE), NAMES)


def jumped(by_px: float, spread_px: float, reference_px: float = 2.0) -> AccuracyRecord:
    """One of 200 points moved, and its heatmap as wide as given; the others are 2 px wide."""
    reference, usual = np.zeros((100, 2, 2)), np.full((100, 2), 2.0)
    candidate, spread = reference.copy(), usual.copy()
    candidate[7, 1, 0], spread[7, 1], usual[7, 1] = by_px, spread_px, reference_px
    return measure(both(candidate, spread), both(reference, usual), NAMES)


@pytest.mark.parametrize(
    "wrong",
    [
        {"budget_px": -1.0},
        {"map_mean": math.nan},
        {"map_ssim": 1.5},
        {"logits_agreement": -0.1},
        {"visibility_agreement": math.nan},
    ],
)
def test_limits_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    Limits(map_ssim=-1.0, logits_agreement=0.0, budget_mm=0.0).check()
    option = option_of(next(iter(wrong)))
    assert option.startswith("--")  # as the user gave it
    with pytest.raises(UsageError, match=f"^{option}: got"):
        Limits(**wrong).check()


def test_a_limit_is_called_by_the_option_that_sets_it() -> None:
    usual = asdict(Limits())
    for argument in fields(BudgetArguments):
        limits = asdict(BudgetArguments(**{argument.name: 0.125}).limits())
        changed = {option_of(name) for name, limit in limits.items() if limit != usual[name]}
        assert changed == {f"--{argument.name.replace('_', '-')}"}


def test_limits_of_outputs_that_a_network_does_not_have_are_refused() -> None:
    def network(*kinds: OutputKind, method: Any = "none") -> ModelSpec:
        outputs = tuple(OutputSpec(kind, kind) for kind in kinds)
        return ModelSpec("any", (InputSpec((8, 8)),), outputs, ("a",), DecodeSpec(method))

    points, change = network("heatmaps", method="dark"), network("map")
    seen = network("landmarks", "visibility", method="regression")
    labels = network("logits", "heatmaps")
    for limits, fitting, others in (
        (Limits(budget_px=0.5), (points, seen), (change, labels)),
        (Limits(fp32_px=0.5), (points, seen), (change, labels)),
        (Limits(map_mean=0.5), (change,), (points, seen, labels)),
        (Limits(logits_max=0.5), (labels,), (points, seen, change)),
        (Limits(logits_agreement=0.5, visibility_agreement=0.5), (labels, seen), (points, change)),
    ):
        for spec in fitting:
            limits.check_outputs(spec)
        for spec in others:
            with pytest.raises(UsageError, match="got a network that gives"):
                limits.check_outputs(spec)
    with pytest.raises(
        UsageError,
        match="--least-agreement: got a network that gives map; expected one that "
        "gives logits or visibility",
    ):
        Limits(logits_agreement=0.5).check_outputs(change)
    with pytest.raises(
        UsageError, match="--budget-map: got a network that gives landmarks and vis"
    ):
        Limits(map_mean=0.5).check_outputs(seen)


@pytest.mark.parametrize(
    ("by_px", "precision", "passed"),
    [
        (0.25, "int8", True),
        (0.26, "int8", False),
        (0.26, "bf16", False),
        (0.01, "fp32", True),
        (0.02, "fp32", False),
    ],
)
def test_budget_follows_the_precision(by_px: float, precision: str, passed: bool) -> None:
    found = moved([[[by_px, 0], [by_px, 0]], [[by_px, 0], [by_px, 0]]])
    # Exactly at the budget, whatever the rounding of 10.25 - 10 was.
    found = replace(found, mean_px=by_px, max_px=by_px, per_landmark=(
        replace(found.per_landmark[0], mean_px=by_px),
    ))  # fmt: skip
    assert Limits().judge(found, precision).passed is passed


def test_an_average_does_not_hide_a_landmark() -> None:
    names = tuple(f"p{k}" for k in range(10))
    reference = np.zeros((4, 10, 2))
    candidate = reference.copy()
    candidate[:, 7, 0] = 1.5
    found = measure(both(candidate), both(reference), names)
    verdict = Limits().judge(found, "int8")
    assert found.mean_px == pytest.approx(0.15)
    assert verdict.reasons == ("mean displacement of p7 1.5 px is over its budget of 1 px",)


def test_fp32_holds_every_single_point() -> None:
    reference = np.zeros((100, 2, 2))
    candidate = reference.copy()
    candidate[0, 0, 0] = 0.5
    verdict = Limits().judge(measure(both(candidate), both(reference), NAMES), "fp32")
    assert verdict.reasons == ("largest displacement 0.5 px is over its budget of 0.1 px",)


def test_budgets_in_mm() -> None:
    spacing = np.full((2, 2), 0.5)
    truth = Annotations(2 * REFERENCE, spacing)
    found = measure(both(REFERENCE + np.array([0.2, 0.0])), both(REFERENCE), NAMES, truth)
    assert Limits(budget_mm=0.21).judge(found, "int8").passed
    assert not Limits(budget_mm=0.19).judge(found, "int8").passed
    assert not Limits(delta_mre_mm=0.02).judge(found, "int8").passed
    without = moved([[[0, 0], [0, 0]], [[0, 0], [0, 0]]])
    assert "no length in mm" in Limits(budget_mm=0.2).judge(without, "int8").reasons[0]


def test_a_jump_is_judged_where_asked_for_in_every_precision() -> None:
    found = jumped(5.0, spread_px=2.0)
    assert replace(TAIL, max_px=None).judge(found, "int8").passed  # one of 200 is no percentile
    assert TAIL.judge(found, "int8").reasons == (
        "largest displacement (points that are not excused) 5 px is over its budget of 2 px",
    )
    wide = replace(TAIL, fp32_px=9.0, fp32_max_px=9.0)
    assert wide.judge(found, "fp32").reasons == TAIL.judge(found, "int8").reasons
    assert replace(wide, p99_px=None, max_px=None).judge(found, "fp32").passed
    assert Limits().judge(found, "int8").passed


def test_a_jump_on_a_wide_heatmap_is_excused_but_not_in_the_averages() -> None:
    found = jumped(20.0, spread_px=8.0, reference_px=7.0)
    assert TAIL.judge(found, "int8").passed
    assert found.max_px == 20.0
    assert "mean displacement 0.1 px" in Limits(budget_px=0.05).judge(found, "int8").reasons[0]


def test_one_broad_peak_does_not_excuse_a_jump_of_60_px() -> None:
    found = jumped(60.0, spread_px=6.5, reference_px=6.5)
    assert (found.two_peaked, found.two_peaked_excused) == (1, 0)
    loose = Limits(budget_px=9.0, max_px=2.0)
    (reason,) = loose.judge(found, "int8").reasons
    assert reason.startswith("largest displacement (points that are not excused) 60 px")


def test_the_percentile_is_judged_too() -> None:
    reference, usual = np.zeros((100, 2, 2)), np.full((100, 2), 2.0)
    candidate = reference.copy()
    candidate[:3, 0, 0] = 1.0
    found = measure(both(candidate, usual), both(reference, usual), NAMES)
    (reason,) = TAIL.judge(found, "int8").reasons
    assert reason.startswith(
        "99th percentile of displacement (points that are not excused) 1 px is over"
    )


def test_a_map_that_the_engine_destroyed_excuses_nothing() -> None:
    found = jumped(50.0, spread_px=8.0)
    assert (found.two_peaked, found.new_two_peaks) == (0, 1)
    (reason,) = TAIL.judge(found, "int8").reasons
    assert reason.startswith("largest displacement (points that are not excused) 50 px")
    usual = np.full((2, 2), 2.0)
    everywhere = measure(both(REFERENCE + 3.0, 9 * usual), both(REFERENCE, usual), NAMES)
    assert everywhere.new_two_peaks == 4
    assert len(TAIL.judge(everywhere, "int8").reasons) == 2


def test_with_every_point_excused_the_tail_cannot_be_judged() -> None:
    found = replace(jumped(0.0, 2.0), single_peak_p99_px=None, single_peak_max_px=None)
    reasons = TAIL.judge(found, "int8").reasons
    assert len(reasons) == 2
    assert all("cannot be judged: every point is excused by its wide heatmap" in r for r in reasons)


def test_no_landmark_may_get_worse_than_so_many_percent() -> None:
    truth = 2 * REFERENCE + np.array([10.0, 0.0])
    candidate = REFERENCE.copy()
    candidate[:, 0, 0] -= 0.1  # 0.2 image px of 10
    candidate[:, 1, 0] += 0.1  # nasion gets better by as much: the average hides both
    annotations = Annotations(truth, np.full((2, 2), np.nan))
    found = measure(both(candidate), both(REFERENCE), NAMES, annotations)
    assert found.delta_mre_px == pytest.approx(0.0, abs=1e-9)
    assert found.worst_mre_change_percent == pytest.approx(2.0)
    for precision in ("int8", "fp32"):
        limits = Limits(fp32_px=1.0, fp32_max_px=1.0, landmark_mre_percent=1.0)
        assert limits.judge(found, precision).reasons == (
            "MRE change of sella 2 % is over its budget of 1 %",
        )
        assert replace(limits, landmark_mre_percent=3.0).judge(found, precision).passed


def test_the_error_of_landmarks_cannot_be_judged_without_annotations() -> None:
    found = moved([[[0, 0], [0, 0]], [[0, 0], [0, 0]]])
    (reason,) = Limits(landmark_mre_percent=1.0).judge(found, "int8").reasons
    assert reason == "MRE change of each landmark cannot be judged: the data have no annotations"


def test_a_budget_in_mm_replaces_the_one_in_px_and_nothing_else() -> None:
    truth = Annotations(2 * REFERENCE, np.full((2, 2), 0.01))
    found = measure(both(REFERENCE + np.array([1.5, 0.0])), both(REFERENCE), NAMES, truth)
    (reason,) = Limits(budget_mm=0.1).judge(found, "int8").reasons
    assert "mean displacement of sella 1.5 px" in reason


def test_what_is_not_a_number_is_over() -> None:
    found = replace(moved([[[0, 0], [0, 0]], [[0, 0], [0, 0]]]), mean_px=math.nan)
    (reason,) = Limits().over(found, "int8")
    assert reason.startswith("mean displacement nan px")


def test_a_wide_budget_widens_that_of_the_worst_landmark() -> None:
    assert Limits().worst_px == Limits(budget_px=0.1).worst_px == 1.0
    assert Limits(budget_px=2.0).worst_px == replace(Limits(), budget_px=2.0).worst_px == 8.0
    assert Limits(budget_px=2.0, worst_landmark_px=1.5).worst_px == 1.5
    assert Limits(budget_px=0.0).worst_px == 1.0


def test_a_share_of_the_limits_is_one_of_each() -> None:
    every = {name: float(place) for place, name in enumerate(asdict(Limits()), 1)}
    halved = Limits(**every).scaled(0.5)
    least = ("map_ssim", "logits_agreement", "visibility_agreement")  # halfway to 1
    assert halved.to_dict() == {
        name: 0.5 * limit + (0.5 if name in least else 0.0) for name, limit in every.items()
    }
    plain = Limits(budget_px=1.0).scaled(0.8)
    assert (plain.budget_px, plain.worst_px, plain.max_px) == (0.8, 3.2, None)


@pytest.mark.parametrize("spacing_mm", [0.5, math.nan])
def test_golden_images_are_held_to_what_they_can_tell(spacing_mm: float) -> None:
    truth = Annotations(np.full((2, 2, 2), np.nan), np.full((2, 2), spacing_mm))
    found = measure(both(REFERENCE + np.array([0.2, 0.0])), both(REFERENCE), NAMES, truth)
    limits = Limits(0.1, 2.0, delta_mre_mm=0.0, max_px=0.0, p99_px=0.0, landmark_mre_percent=0.0)
    (reason,) = limits.for_replay(True).over(found, "int8")
    assert reason == "mean displacement 0.2 px is over its budget of 0.1 px"
    in_mm, unknown = replace(limits, budget_mm=0.1), math.isnan(spacing_mm)
    held = in_mm.for_replay(not unknown).over(found, "int8")
    assert held == (() if unknown else ("mean displacement 0.2 mm is over its budget of 0.1 mm",))
    narrow = replace(in_mm, worst_landmark_px=0.15).for_replay(not unknown)
    assert any("displacement of " in reason for reason in narrow.over(found, "int8"))


def test_limits_allow_what_was_measured_and_a_quarter_more() -> None:
    found = AccuracyRecord(
        *(3, 0, 0.4, 2.0, 2.0, 0.8, ()),
        maps=(MapRecord("m", 0, 0.02, 0.1, 0.2, ssim=0.96, worst_ssim=0.9),),
        logits=(LogitsRecord("l", 0, 0.1, 0.4, 10, 1, 0.9, ()),),
    )
    usual, wide = Limits(), Limits().allowing(found, "int8")
    assert wide.budget_px == pytest.approx(0.5)
    assert wide.worst_px == 1.0  # which is wider already
    assert wide.map_mean == pytest.approx(0.025)
    assert wide.map_ssim == pytest.approx(0.95)
    assert wide.logits_agreement == pytest.approx(0.875)
    assert (wide.map_max, wide.logits_max, wide.budget_mm) == (None, None, None)  # not judged
    assert (wide.fp32_px, wide.fp32_map_max) == (usual.fp32_px, usual.fp32_map_max)
    exact = Limits().allowing(found, "fp32")
    assert exact.fp32_px == pytest.approx(1.0)
    assert exact.fp32_max_px == pytest.approx(2.5)
    assert exact.fp32_map_max == pytest.approx(0.25)
    assert exact.budget_px == usual.budget_px
    assert Limits().allowing(replace(found, mean_px=0.1), "int8").budget_px == 0.25


def test_the_limits_of_a_gate_are_those_it_recorded() -> None:
    asked = Limits(budget_px=0.7, max_px=3.0, landmark_mre_percent=5.0)
    gate = GateRecord("PyTorch", BudgetsRecord(**asked.to_dict()))  # type: ignore[arg-type]
    assert Limits.of_gate(gate) == replace(asked, worst_landmark_px=asked.worst_px)
    assert Limits.of_gate(None) == Limits()


def test_every_number_that_is_judged_is_told_with_its_limit() -> None:
    found, limits = moved([[[0.3, 0], [0.3, 0]], [[0.3, 0], [0.3, 0]]]), Limits(max_px=0.5)
    broken, mean, *others = limits.held(found, "int8")
    assert (broken.what, broken.value) == ("landmarks that are NaN or infinite", 0)
    assert mean.what == "mean displacement"
    assert mean.value == pytest.approx(0.3)
    assert (mean.limit, mean.unit, mean.passed) == (0.25, "px", False)
    assert [each.limit for each in others] == [1.0, 0.5]
    assert all(each.passed for each in others)
    assert limits.over(found, "int8") == (mean.reason,)
