"""Fine-tuning as a stage: it comes nearer, gives the same again, and refuses what cannot be."""

from __future__ import annotations

import dataclasses
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from foreign_network import ForeignNetwork
from onnx import numpy_helper

from mahtrt.build.build import build
from mahtrt.build.options import BuildOptions
from mahtrt.bundle.plan import Block, Plan, save_plan
from mahtrt.calibration.centring import interval_of
from mahtrt.calibration.tuned import METADATA_KEY, read_tuned
from mahtrt.errors import (
    CheckpointError,
    DataError,
    GateError,
    ModelError,
    SpecError,
    UsageError,
)
from mahtrt.finetuning import run as run_module
from mahtrt.finetuning.options import QatOptions
from mahtrt.finetuning.qat import qat
from mahtrt.finetuning.run import DivergedError
from mahtrt.finetuning.student import Student
from mahtrt.finetuning.validation import Validation
from mahtrt.graph.graph_file import read_graph
from mahtrt.measure.limits import Limits
from mahtrt.training.state import TrainingInterrupted, state_path

Make = Callable[..., QatOptions]
NOTHING_MOVES = Limits(budget_px=0.0)


def test_ranges_that_are_far_too_narrow_are_learned(options: Make) -> None:
    result = qat(options(steps=40))
    first, best = result.errors[0][1], min(error for _, error in result.errors)
    assert best < first
    before, after = result.judged.calibrated.mean_px, result.judged.tuned.mean_px
    assert before is not None
    assert after is not None
    assert after < before
    assert result.shipped_px == 0.0
    assert not state_path(result.path).exists()


def test_a_number_of_steps_gives_the_same_file_again(options: Make, tmp_path: Path) -> None:
    contents = []
    for name in ("a.onnx", "b.onnx"):
        qat(options(out=tmp_path / name))
        model = onnx.load(tmp_path / name)
        (entry,) = (e for e in model.metadata_props if e.key == METADATA_KEY)
        told = json.loads(entry.value)
        told["record"]["training"].pop("minutes")
        entry.value = ""
        contents.append((model.SerializeToString(), told))
    assert contents[0] == contents[1]
    qat(options(out=tmp_path / "c.onnx", seed=1))
    assert _weights(tmp_path / "c.onnx") != _weights(tmp_path / "a.onnx")


def test_an_interrupted_run_goes_on_to_the_same_weights(options: Make, tmp_path: Path) -> None:
    qat(options(out=tmp_path / "whole.onnx"))
    asked = options(out=tmp_path / "parts.onnx")

    def interrupt(stage: str, done: int, total: int, detail: str = "") -> None:
        if detail.startswith("step 2,"):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(TrainingInterrupted):
        qat(asked, interrupt)
    assert not asked.out.exists()
    with pytest.raises(UsageError, match="those of the interrupted run"):
        qat(dataclasses.replace(asked, resume=True, seed=5))
    qat(dataclasses.replace(asked, resume=True))
    assert _weights(asked.out) == _weights(tmp_path / "whole.onnx")
    assert not state_path(asked.out).exists()


def test_minutes_end_a_run(options: Make) -> None:
    result = qat(options(steps=None, minutes=0.01))
    assert result.steps >= 1
    assert result.minutes >= 0.01


def test_kept_ranges_are_the_calibrated_ones(options: Make, foreign_network: Any) -> None:
    result = qat(options(range_rate=0.0, method="minmax", percentile=None))
    tuned = read_tuned(result.path, read_graph(foreign_network.onnx))
    for seen in tuned.ranges.tensors.values():
        wanted = interval_of(seen, "minmax", can_be_centred=bool(seen.centre))
        assert seen.amax["learned"] == pytest.approx(wanted.amax, rel=1e-5)
        assert seen.centre == wanted.centre
    assert any(seen.centre for seen in tuned.ranges.tensors.values())


def test_the_fine_tuned_network_is_built_as_int8(
    options: Make, foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    tuned = qat(options())
    asked = BuildOptions(
        foreign_network.onnx,
        tmp_path / "net.mahtrt",
        ("fp32", "int8"),
        targets=("onnxruntime",),
        eval="phantom:4@2",
        tuned=tuned.path,
        points=(0, 1, 2),
        limits=Limits(budget_px=50.0, worst_landmark_px=50.0),
        threads=1,
        weight_bits=8,
    )
    built = build(asked)
    calibration = built.manifest.calibration
    assert calibration is not None
    assert calibration.method == "learned"
    shipped = onnx.load(built.path / "model.int8.onnx")
    names = {tensor.name: tensor for tensor in shipped.graph.initializer}
    learned = {t.name: numpy_helper.to_array(t) for t in onnx.load(tuned.path).graph.initializer}
    biases = [name for name in names if name.endswith(".bias") and name in learned]
    assert biases
    assert all(np.array_equal(numpy_helper.to_array(names[n]), learned[n]) for n in biases)
    original = {t.name: t for t in onnx.load(foreign_network.onnx).graph.initializer}
    assert any(not np.array_equal(numpy_helper.to_array(original[n]), learned[n]) for n in biases)
    fp32 = onnx.load(built.path / "model.onnx").graph.initializer
    assert [t.raw_data for t in fp32] == [t.raw_data for t in original.values()]


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"plan": "nowhere.json"}, SpecError, "nowhere.json"),
        ({"data": "phantom:12@1", "points": None}, DataError, "7 annotated points"),
        ({"eval": "phantom:12@1"}, DataError, "learning"),
        ({"data": "phantom:1@1", "eval": None}, DataError, "at least 2"),
        ({"minutes": 0.0}, UsageError, "--minutes"),
        ({"learning_rate": -1.0}, UsageError, "--lr"),
        ({"range_rate": -1.0}, UsageError, "--range-lr"),
        ({"resume": True}, CheckpointError, "no state"),
    ],
)
def test_bad_input_is_refused_and_leaves_nothing(
    options: Make, changed: dict[str, Any], error: type[Exception], words: str
) -> None:
    asked = options(**changed)
    with pytest.raises(error, match=words):
        qat(asked)
    assert [*asked.out.parent.iterdir()] == []


def test_a_plan_without_int8_is_refused(options: Make, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    save_plan(Plan((Block("head", "float", "", 0.1, ("head.Conv",)),)), plan)
    with pytest.raises((UsageError, SpecError)):
        qat(options(plan=str(plan)))


def test_random_weights_teach_nothing(options: Make, tmp_path: Path) -> None:
    from mahtrt.export.export import export
    from mahtrt.export.options import ExportOptions
    from mahtrt.models.reference import ModelSource

    settings = {"channels": (8, 32, 32, 32, 32), "input_size": (64, 64)}
    random = tmp_path / "random.onnx"
    export(ExportOptions(ModelSource("unet/nano", None, settings), random))
    with pytest.raises(ModelError, match="random weights"):
        qat(options(onnx=random, points=None))


def test_a_result_over_its_limits_is_not_written_but_can_go_on(options: Make) -> None:
    asked = options(limits=NOTHING_MOVES)
    with pytest.raises(GateError, match="--resume"):
        qat(asked)
    assert not asked.out.exists()
    assert state_path(asked.out).exists()
    longer = dataclasses.replace(asked, steps=5, resume=True, keep_failed=True)
    assert qat(longer).steps == 5
    assert asked.out.exists()


def test_a_loss_that_is_not_finite_ends_the_run(
    options: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object, *_: object) -> float:
        return float("nan")

    monkeypatch.setattr(run_module.Lesson, "take", broken)
    asked = options()
    with pytest.raises(DivergedError, match="loss of nan"):
        qat(asked)
    assert not asked.out.exists()


def test_a_run_that_becomes_far_worse_stops_and_keeps_the_best(
    options: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors, seen = iter([6.0, 5.0, 4.0, 100.0, 100.0]), list[dict[str, torch.Tensor]]()

    def scripted(self: Validation, student: Student) -> float:
        seen.append(student.state_dict()["weights"])
        return next(errors)

    monkeypatch.setattr(Validation, "error", scripted)
    asked = options(steps=40)
    with pytest.raises(DivergedError, match="best weights") as raised:
        qat(asked)
    assert raised.value.exit_code == 3
    written = {t.name: numpy_helper.to_array(t) for t in onnx.load(asked.out).graph.initializer}
    for name, value in seen[2].items():
        assert np.array_equal(written[name], value.numpy()), name
    assert any(not torch.equal(value, seen[2][name]) for name, value in seen[4].items())


def test_what_was_tuned_for_another_export_is_refused(
    options: Make, foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    tuned = qat(options())
    model = onnx.load(foreign_network.onnx)
    model.producer_name = "another"
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(ModelError, match="learned for the export"):
        read_tuned(tuned.path, read_graph(tmp_path / "other.onnx"))
    with pytest.raises(ModelError, match="without learned ranges"):
        read_tuned(foreign_network.onnx, read_graph(foreign_network.onnx))


def _weights(path: Path) -> list[tuple[str, bytes]]:
    return [(t.name, t.raw_data) for t in onnx.load(path).graph.initializer]
