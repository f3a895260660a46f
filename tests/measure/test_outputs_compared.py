"""Maps, logits and visibility of a network, from its outputs to records and limits."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mahtrt.bundle.records import AccuracyRecord, BudgetsRecord
from mahtrt.data.preprocess import preprocess
from mahtrt.data.sample import Sample
from mahtrt.errors import DataError
from mahtrt.measure.accuracy import LandmarkSet, measure
from mahtrt.measure.judged import judged_outputs
from mahtrt.measure.limits import Limits
from mahtrt.measure.outputs import OutputTally, truth_of
from mahtrt.schema import dataclass_from, plain
from mahtrt.spec import DecodeSpec, InputSpec, ModelSpec, OutputSpec

RNG = np.random.default_rng(0)
SPEC = ModelSpec(
    family="made-up",
    inputs=(InputSpec((16, 24), channels=1, color_order="gray", mean=(0.5,), std=(0.25,)),),
    outputs=(
        OutputSpec("seen", "visibility"),
        OutputSpec("change", "map"),
        OutputSpec("findings", "logits", labels=("mass", "edema")),
    ),
    landmarks=("nose", "ear"),
    decode=DecodeSpec("none"),
)
NOTHING = np.empty((3, 0, 2))


def outputs(images: int = 3) -> dict[str, Any]:
    return {
        "seen": RNG.random((images, 2)),
        "change": RNG.random((images, 1, 16, 24)),
        "findings": RNG.normal(0, 3, (images, 2)),
    }


def compared(ours: dict[str, Any], theirs: dict[str, Any], **truth: Any) -> AccuracyRecord:
    landmarks = LandmarkSet(NOTHING, NOTHING)
    tally = OutputTally(SPEC)
    for i in range(3):  # one after another, as a bench has them
        a, b, c = ({k: v[i : i + 1] for k, v in each.items()} for each in (ours, theirs, truth))
        tally.add(a, b, c, [f"image {i}"])
    return tally.into(measure(landmarks, landmarks, ()))


def test_each_kind_has_its_records_and_they_survive_json() -> None:
    theirs = outputs()
    ours = {**theirs, "change": theirs["change"] + 0.004}
    found = compared(ours, theirs, findings=np.array([[1, 0], [0, 1], [1, 1.0]]))
    assert [o.name for o in judged_outputs(SPEC)] == ["seen", "change", "findings"]
    assert (found.images, found.mean_px, found.per_landmark) == (3, None, ())
    assert found.maps[0].mean == pytest.approx(0.004)
    assert found.maps[0].worst_image.startswith("image ")
    assert (found.logits[0].agreement, found.visibility[0].agreement) == (1.0, 1.0)
    assert found.logits[0].delta_auroc == 0.0
    assert dataclass_from(AccuracyRecord, plain(found), "accuracy") == found


def test_within_the_usual_limits_and_over_each_of_them() -> None:
    theirs = outputs()
    near = {**theirs, "change": theirs["change"] + 0.004}
    limits = Limits()
    assert limits.over(compared(near, theirs), "int8") == ()
    far = {
        "seen": 1 - theirs["seen"],
        "change": theirs["change"] + 0.03,
        "findings": -theirs["findings"],
    }
    over = limits.over(compared(far, theirs), "int8")
    assert [reason.split(" is ")[0].rsplit(" ", 1)[0] for reason in over] == [
        *("mean difference of change", "agreement of findings", "agreement of seen"),
    ]
    assert "(6 of 6 landmarks differ)" in over[-1]
    noisy = {**theirs, "change": theirs["change"] + RNG.normal(0, 0.2, theirs["change"].shape)}
    assert any(
        reason.startswith("SSIM of") for reason in limits.over(compared(noisy, theirs), "bf16")
    )


def test_fp32_is_held_to_the_largest_difference() -> None:
    theirs = outputs()
    ours = {name: values.copy() for name, values in theirs.items()}
    ours["change"][0, 0, 0, 0] += 0.002
    ours["findings"][0, 0] += 0.02
    ours["seen"][0, 0] = np.nextafter(theirs["seen"][0, 0], 2)
    found = compared(ours, theirs)
    over = Limits().over(found, "fp32")
    assert [reason.split(" 0.")[0] for reason in over] == [
        "largest difference of change",
        "largest difference of findings",
    ]
    assert Limits().over(found, "int8") == ()
    assert len(Limits(map_max=1e-3, logits_max=1e-3).over(found, "int8")) == 2


@pytest.mark.parametrize("name", ["seen", "change", "findings"])
def test_a_value_that_is_not_finite_fails_whatever_the_limits(name: str) -> None:
    theirs = outputs()
    ours = {key: values.copy() for key, values in theirs.items()}
    ours[name].flat[3] = math.nan
    wide = Limits(
        map_mean=1e9, map_ssim=-1, logits_agreement=0, visibility_agreement=0, budget_px=1e9
    )
    (reason, *_) = wide.over(compared(ours, theirs), "int8")
    assert reason == f"1 values of {name} are NaN or infinite"


def test_one_decision_of_few_may_differ_but_not_where_none_may() -> None:
    theirs = outputs()
    ours = {**theirs, "findings": theirs["findings"].copy()}
    ours["findings"][0, 0] *= -1
    found = compared(ours, theirs)
    assert found.logits[0].disagreements == 1
    assert Limits().over(found, "int8") == ()
    assert len(Limits(logits_agreement=1.0).over(found, "int8")) == 1


def test_a_share_of_the_limits_is_stricter_in_each() -> None:
    part = Limits(map_max=0.5).scaled(0.8)
    assert part.map_mean == pytest.approx(0.008)
    assert part.map_max == pytest.approx(0.4)
    assert part.map_ssim == pytest.approx(0.984)
    assert part.logits_agreement == part.visibility_agreement == pytest.approx(0.992)
    assert part.logits_max is None
    limits = Limits(map_ssim=0.9)
    record = dataclass_from(BudgetsRecord, limits.to_dict(), "limits")
    assert (record.map_ssim, record.logits_max) == (0.9, None)


def test_budgets_of_earlier_bundles_are_read_with_the_usual_limits_of_outputs() -> None:
    old = {"budget_px": 0.25, "worst_landmark_px": 1.0, "fp32_px": 0.01, "fp32_max_px": 0.1}
    record = dataclass_from(BudgetsRecord, old, "limits")
    assert plain(record) == Limits().to_dict()


def test_annotations_come_in_the_form_of_the_outputs() -> None:
    image = np.zeros((40, 20), np.uint8)  # letterboxed: 16 rows, 8 columns in the middle
    target = np.zeros((1, 40, 20), np.float32)
    target[0, :20] = 1.0
    known = Sample("a", image, target_map=target, labels=np.array([1, np.nan], np.float32))
    other = Sample("b", image)
    placements = [preprocess(image, SPEC.input)[1]] * 2
    truth = truth_of([known, other], placements, SPEC, outputs(2), source="data")
    assert set(truth) == {"change", "findings"}
    inside = truth["change"][0, 0, :, 8:16]
    np.testing.assert_allclose(inside[:8], 1.0)
    np.testing.assert_allclose(inside[8:], 0.0)
    assert np.isnan(truth["change"][0, 0, :, :8]).all()
    assert np.isnan(truth["change"][1]).all()
    np.testing.assert_array_equal(truth["findings"], [[1, np.nan], [np.nan, np.nan]])
    turned = replace(known, label_names=("edema", "mass"))
    truth = truth_of([turned], placements[:1], SPEC, outputs(1), source="data")
    np.testing.assert_array_equal(truth["findings"], [[np.nan, 1]])


def test_annotations_that_do_not_fit_the_network_are_refused() -> None:
    image = np.zeros((40, 20), np.uint8)
    sample = Sample("a", image, labels=np.ones(3, np.float32))
    placement = preprocess(image, SPEC.input)[1]
    with pytest.raises(DataError, match="3 annotated labels"):
        truth_of([sample], [placement], SPEC, outputs(1), source="data")
    bad = replace(sample, labels=None, target_map=np.zeros((2, 40, 20), np.float32))
    with pytest.raises(DataError, match="2 annotated channels"):
        truth_of([bad], [placement], SPEC, outputs(1), source="data")
