from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import onnx
import pytest
from tiny_graphs import landmark_net, tiny_spec

from mahtrt.bundle.origin import MethodChoiceRecord
from mahtrt.bundle.plan import Plan
from mahtrt.calibration import method_choice
from mahtrt.calibration.method_choice import choose_methods, methods_by_tensor, tensor_classes
from mahtrt.calibration.methods import METHODS
from mahtrt.calibration.plan import default_plan
from mahtrt.calibration.qdq import METADATA_KEY, tensors_to_calibrate
from mahtrt.calibration.ranges import Ranges, TensorRange

CLASSES = [
    "encoder convolution input",
    "transformer linear input",
    "decoder convolution input",
    "decoder concat",
    "decoder residual",
]


@pytest.fixture(scope="module")
def distinct(model: onnx.ModelProto, plan: Plan) -> Ranges:
    """Ranges in which each method gives another scale to each tensor."""
    tensors = {
        name: TensorRange(
            -1.0, 1.0, {m: 4.0 - k / 2 for k, m in enumerate(METHODS)},
            dict.fromkeys(METHODS, 0.0), 1, 1,
        )
        for name in tensors_to_calibrate(model, plan)
    }  # fmt: skip
    return Ranges(tensors, 1, "", 1)


class Judge:
    """An evaluation whose error is a sum over classes, known beforehand.

    Args:
        gains: (class, method) -> what that method changes the error by, in pixels.
    """

    def __init__(self, classes: Mapping[str, str], gains: Mapping[tuple[str, str], float]) -> None:
        self.classes, self.gains, self.seen = classes, gains, 0

    def __call__(self, int8: onnx.ModelProto) -> float:
        self.seen += 1
        record = json.loads(next(p.value for p in int8.metadata_props if p.key == METADATA_KEY))
        chosen = {(self.classes[t], m) for t, m in record["method"].items()}
        return 1.0 + sum(self.gains.get(pair, 0.0) for pair in chosen)


def choose(
    model: onnx.ModelProto,
    ranges: Ranges,
    plan: Plan,
    gains: Mapping[tuple[str, str], float],
    **options: object,
) -> tuple[MethodChoiceRecord, Judge]:
    judge = Judge(tensor_classes(model, plan), gains)
    return choose_methods(model, ranges, plan, judge, **options), judge  # type: ignore[arg-type]


def test_classes_say_who_reads_and_what_made_a_tensor(model: onnx.ModelProto, plan: Plan) -> None:
    classes = tensor_classes(model, plan)
    assert list(classes) == tensors_to_calibrate(model, plan)
    assert classes["decoder.blocks.0.concat_out"] == "decoder concat"
    assert classes["transformer.layers.0.act_out"] == "transformer linear input"
    assert classes["decoder.blocks.0.relu1_out"] == "decoder convolution input"
    assert classes["encoder.blocks.1.relu_out"] == "encoder convolution input"
    assert set(classes.values()) <= set(CLASSES)
    assert "decoder residual" in classes.values()


def test_foreign_graphs_have_classes_without_parts() -> None:
    model = landmark_net(scopes=False)
    classes = tensor_classes(model, default_plan(model, tiny_spec()))
    assert set(classes.values()) == {"concat", "residual", "convolution input", "linear input"}


def test_each_class_gets_the_method_that_moves_landmarks_least(
    model: onnx.ModelProto, distinct: Ranges, plan: Plan
) -> None:
    gains = {
        ("decoder concat", "percentile"): +0.5,
        ("decoder concat", "mse"): -0.2,
        ("transformer linear input", "entropy"): -0.3,
        ("transformer linear input", "mse"): -0.1,
    }
    told: list[tuple[int, int]] = []
    choice, judge = choose(
        model, distinct, plan, gains, progress=lambda done, most: told.append((done, most))
    )
    assert choice.methods == dict.fromkeys(choice.methods, "minmax") | {
        "decoder concat": "mse",
        "transformer linear input": "entropy",
    }
    assert choice.error_px == pytest.approx(0.5)
    assert choice.uniform_px == pytest.approx(1.0)
    assert choice.complete
    assert choice.evaluations == judge.seen == len(told)
    assert all(done <= most for done, most in told)
    again, _ = choose(model, distinct, plan, gains)
    assert again == choice


def test_minmax_wins_what_is_within_the_margin(
    model: onnx.ModelProto, distinct: Ranges, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    gains = {("decoder concat", "mse"): -0.04}
    choice, _ = choose(model, distinct, plan, gains)
    assert set(choice.methods.values()) == {"minmax"}
    assert choice.error_px == choice.uniform_px == 1.0
    monkeypatch.setattr(method_choice, "MARGIN", 0.01)
    eager, _ = choose(model, distinct, plan, gains)
    assert eager.methods["decoder concat"] == "mse"


def test_the_number_of_evaluations_is_bounded_and_said(
    model: onnx.ModelProto, distinct: Ranges, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(method_choice, "MAX_EVALUATIONS", 3)
    gains = {("encoder convolution input", "percentile"): -0.5, ("decoder residual", "mse"): -0.4}
    choice, judge = choose(model, distinct, plan, gains)
    assert judge.seen == choice.evaluations == 3
    assert not choice.complete
    assert choice.methods["encoder convolution input"] == "percentile"  # found in time
    assert choice.error_px == pytest.approx(0.5)
    monkeypatch.setattr(method_choice, "MAX_EVALUATIONS", 1)
    one, _ = choose(model, distinct, plan, gains)
    assert (one.evaluations, set(one.methods.values())) == (1, {"minmax"})


def test_equal_scales_are_evaluated_once(
    model: onnx.ModelProto, distinct: Ranges, plan: Plan
) -> None:
    same = {
        name: replace(seen, amax=dict.fromkeys(METHODS, 2.0))
        for name, seen in distinct.tensors.items()
    }
    choice, judge = choose(model, replace(distinct, tensors=same), plan, {})
    assert judge.seen == 1
    assert set(choice.methods.values()) == {"minmax"}


def test_a_graph_that_gives_nan_is_never_chosen(
    model: onnx.ModelProto, distinct: Ranges, plan: Plan
) -> None:
    gains = {(name, "mse"): float("nan") for name in CLASSES} | {
        ("decoder concat", "entropy"): -0.2
    }
    choice, _ = choose(model, distinct, plan, gains)
    assert choice.methods["decoder concat"] == "entropy"
    assert "mse" not in choice.methods.values()


def test_methods_of_tensors_follow_their_classes() -> None:
    classes = {"a": "concat", "b": "linear input", "c": "concat"}
    assert methods_by_tensor(classes, {"concat": "mse"}) == {
        "a": "mse", "b": "minmax", "c": "mse"
    }  # fmt: skip
