"""``--plan auto`` inside a build."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from build_options import make_options
from foreign_network import ForeignNetwork
from PIL import Image

from mahtrt.build import planned as planned_module
from mahtrt.build.build import build
from mahtrt.build.options import BuildOptions
from mahtrt.build.planned import SHARE_OF_LIMITS, may_overrule, planning_target
from mahtrt.bundle.plan import load_plan
from mahtrt.cuda.probe import probe_cuda
from mahtrt.data.phantom import PhantomDataset
from mahtrt.data.sample import Dataset
from mahtrt.data.subset import NetworkTensors, hold_back
from mahtrt.errors import DataError, MissingComponentError, UsageError
from mahtrt.graph.graph_file import read_graph
from mahtrt.measure.limits import Limits
from mahtrt.planning.blocks import compose, decidable
from mahtrt.planning.matrix import Sensitivity
from mahtrt.planning.planner import PlanOptions, PlanResult
from mahtrt.planning.recipe import NetworkToPlan

pytestmark = pytest.mark.slow


def options(network: ForeignNetwork, out: Path, **changed: Any) -> BuildOptions:
    asked = {"calib": "phantom:12@1", "plan": "auto", "plan_minutes": 0.02}
    return make_options(network, out, **(asked | changed))


class Planner:
    """Instead of timing: chooses what it is told to, and keeps what it was asked."""

    def __init__(self, int8: bool, float_precision: str = "fp32") -> None:
        self.int8, self.float_precision = int8, float_precision
        self.asked: PlanOptions | None = None
        self.images: tuple[str, ...] = ()

    def __call__(
        self,
        options: PlanOptions,
        network: NetworkToPlan,
        sensitivity: Sensitivity,
        target: str,
        evaluation: Dataset,
        **_: Any,
    ) -> PlanResult:
        candidates = network.candidates
        self.asked, self.images = options, tuple(evaluation.names)
        assert {row.name for row in sensitivity.blocks} == {c.name for c in decidable(candidates)}
        able = [c.name for c in decidable(candidates) if not c.ruled_out]
        plan = compose(candidates, able[:1] if self.int8 else ())
        conclusion = "one block pays" if self.int8 else "INT8 does not pay here"
        return PlanResult(
            plan, conclusion, (), (), target, self.float_precision, options.limits, 1, 0.1
        )


def test_a_plan_is_made_followed_and_kept(
    foreign_network: ForeignNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planner = Planner(int8=True)
    monkeypatch.setattr(planned_module, "make_plan", planner)
    result = build(options(foreign_network, tmp_path / "b.mahtrt", limits=Limits(budget_px=0.5)))
    assert [engine.precision for engine in result.manifest.engines] == ["int8"]
    plan = load_plan(result.path / "plan.json")
    assert len([block for block in plan.blocks if block.precision == "int8"]) == 1
    assert "plan: one block pays" in result.notes
    sensitivity = json.loads((result.path / "sensitivity.json").read_text())
    assert sensitivity["landmarks"] == list(result.manifest.spec.landmarks)
    assert (result.path / "sensitivity.png").stat().st_size
    assert json.loads((result.path / "planning.json").read_text())["conclusion"] == "one block pays"
    assert planner.asked is not None
    assert planner.asked.limits.budget_px == pytest.approx(0.5 * SHARE_OF_LIMITS)
    assert not planner.asked.consider_excluded  # a wish of the network's own spec
    # Neither what calibrates nor what the gate judges by chose the plan.
    assert result.manifest.calibration.card.images == 12 - 3 - len(planner.images)
    rest, _ = hold_back(hold_back(PhantomDataset(12, 1), 3)[0], 2)
    assert (
        result.manifest.calibration.images_digest
        == NetworkTensors(rest, result.manifest.spec).images_digest
    )
    again = build(options(foreign_network, tmp_path / "c.mahtrt", plan=result.path / "plan.json"))
    assert load_plan(again.path / "plan.json") == plan


def test_a_measurement_overrules_a_family_and_not_a_users_spec(
    foreign_network: ForeignNetwork,
) -> None:
    graph = read_graph(foreign_network.onnx)
    assert not may_overrule(graph)
    of_family = replace(graph, source=replace(graph.source, model="maht-net/nano"))
    assert may_overrule(of_family)


def test_where_int8_does_not_pay_fp32_is_built_and_said(
    foreign_network: ForeignNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planned_module, "make_plan", Planner(int8=False))
    result = build(options(foreign_network, tmp_path / "b.mahtrt"))
    assert [engine.precision for engine in result.manifest.engines] == ["fp32"]
    assert "plan: INT8 does not pay here" in result.notes
    assert not load_plan(result.path / "plan.json").int8_nodes
    assert not (result.path / "model.int8.onnx").exists()


def test_what_it_was_raced_against_is_what_is_built_instead(
    foreign_network: ForeignNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planned_module, "make_plan", Planner(int8=False, float_precision="bf16"))
    asked = options(foreign_network, tmp_path / "b.mahtrt", precisions=("fp32", "int8"))
    result = build(asked)
    assert [engine.precision for engine in result.manifest.engines] == ["fp32", "bf16"]


def test_one_image_is_too_few_to_plan_with(foreign_network: ForeignNetwork, tmp_path: Path) -> None:
    asked = options(foreign_network, tmp_path / "b.mahtrt", calib="phantom:1@1", eval="phantom:2@9")
    with pytest.raises(DataError, match="--plan auto"):
        build(asked)


def test_an_image_that_judges_plans_does_not_calibrate_under_another_name(
    foreign_network: ForeignNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planned_module, "make_plan", Planner(int8=True))
    images = tmp_path / "images"
    images.mkdir()
    phantoms = PhantomDataset(10, 1)
    for n in range(10):
        # The first and the last judge engines; of the rest "1" judges plans, and "3" is the same.
        Image.fromarray(phantoms[1 if n == 3 else n].image).save(images / f"{n}.png")
    asked = options(
        foreign_network, tmp_path / "b.mahtrt", calib=str(images), eval=None, points=None
    )
    with pytest.raises(DataError, match=r"planner's.*3\.png is 1\.png.* image in common: keep one"):
        build(asked)


def test_the_cache_is_for_sensitivities_too(
    foreign_network: ForeignNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planned_module, "make_plan", Planner(int8=True))
    build(options(foreign_network, tmp_path / "b.mahtrt", cache_dir=tmp_path / "cache"))
    assert list((tmp_path / "cache/sensitivity").iterdir())
    build(options(foreign_network, tmp_path / "b.mahtrt", cache=False))


def test_the_real_planner_in_a_build(foreign_network: ForeignNetwork, tmp_path: Path) -> None:
    told: list[str] = []
    asked = options(foreign_network, tmp_path / "b.mahtrt")
    result = build(asked, lambda stage, *_: told.append(stage))
    assert any(stage.startswith("planning: ") for stage in told)
    planning = json.loads((result.path / "planning.json").read_text())
    uses = bool(load_plan(result.path / "plan.json").int8_nodes)
    assert [e.precision for e in result.manifest.engines] == (["int8"] if uses else ["fp32"])
    assert {row["name"] for row in planning["last_race"]} >= {"all-INT8"}


def test_what_is_planned_for() -> None:
    assert planning_target(["onnxruntime", "openvino"]) == "openvino"
    assert planning_target(["onnxruntime"]) == "onnxruntime"


@pytest.mark.skipif(bool(probe_cuda().devices), reason="a GPU is here")
def test_a_target_that_cannot_be_timed_is_refused(
    foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    with pytest.raises(MissingComponentError, match="an NVIDIA GPU: plans are chosen by timing"):
        build(options(foreign_network, tmp_path / "b.mahtrt", targets=("tensorrt-rtx",)))
    assert planning_target(["tensorrt-rtx", "openvino"]) == "openvino"
    assert not list(tmp_path.iterdir())


def test_no_time_is_a_usage_error(foreign_network: ForeignNetwork, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--plan-minutes"):
        build(options(foreign_network, tmp_path / "b.mahtrt", plan_minutes=0.0))
