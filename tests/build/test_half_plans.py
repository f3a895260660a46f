"""Half precision that follows a plan, of the planner or from a file: graphs, engines, bundles."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from cpus import Cpu
from foreign_network import ForeignNetwork
from hand_plans import options, plan_of

from mahtrt.build import graphs as graphs_module
from mahtrt.build import planned as planned_module
from mahtrt.build.build import build
from mahtrt.build.compile import CompileOptions, compile
from mahtrt.build.result import BuildResult
from mahtrt.bundle.plan import load_plan, save_plan
from mahtrt.cuda.probe import probe_cuda
from mahtrt.data.sample import Dataset
from mahtrt.errors import GateError, MissingComponentError, UsageError
from mahtrt.inspection.inspect import InspectOptions, inspect
from mahtrt.planning.blocks import compose, decidable, in_fp32
from mahtrt.planning.matrix import Sensitivity
from mahtrt.planning.planner import PlanOptions, PlanResult
from mahtrt.planning.recipe import NetworkToPlan
from mahtrt.precision.float_graph import float_graph
from mahtrt.targets.graph_kinds import FP32_NODES_KEY
from mahtrt.targets.tensorrt import build as tensorrt_module
from mahtrt.targets.tensorrt.network import network_layers
from mahtrt.targets.tensorrt.options import TensorRtOptions

pytestmark = pytest.mark.slow
KEPT = ("down.0", "join.2")


@pytest.fixture(scope="module")
def plan(foreign_network: ForeignNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan file that keeps two blocks in FP32."""
    path = tmp_path_factory.mktemp("plan") / "own.json"
    save_plan(plan_of(foreign_network, **dict.fromkeys(("down_0", "join_2"), "fp32")), path)
    return path


def rounded(path: Path) -> set[str]:
    """Names of the convolutions that read a tensor which was rounded by arithmetic."""
    graph = onnx.load(path).graph
    made = {name for node in graph.node if node.op_type == "Sub" for name in node.output}
    convolutions = (node for node in graph.node if node.op_type in ("Conv", "ConvTranspose"))
    return {node.name for node in convolutions if node.input[0] in made}


def test_a_plan_file_is_followed_kept_and_compiled_again(
    foreign_network: ForeignNetwork, plan: Path, tmp_path: Path
) -> None:
    plain = build(options(foreign_network, tmp_path / "plain.mahtrt")).path
    made = build(options(foreign_network, tmp_path / "b.mahtrt", plan=plan))
    (engine,) = made.manifest.engines
    assert engine.files["onnx"] == "model.bf16-planned.onnx"
    assert [(g.name, g.precision) for g in made.manifest.graphs] == [
        ("fp32", "fp32"),
        ("bf16-planned", "bf16"),
    ]
    kept = set(load_plan(plan).fp32_nodes)
    before, after = rounded(plain / "model.bf16.onnx"), rounded(made.path / engine.files["onnx"])
    assert before - after == kept & before
    assert after == before - kept != set()
    assert load_plan(made.path / "plan.bf16.json") == load_plan(plan)
    assert not (made.path / "plan.json").exists()

    found = inspect(InspectOptions(made.path)).bundle
    assert found is not None
    assert found.plan is None
    assert tuple(found.half_plans["bf16"].fp32_blocks) == KEPT

    again = compile(CompileOptions(made.path, "onnxruntime", tmp_path / "c.mahtrt", threads=1))
    assert again.manifest.graphs == made.manifest.graphs
    assert [e.files["onnx"] for e in again.manifest.engines] == ["model.bf16-planned.onnx"]


def test_openvino_keeps_the_blocks_by_name_and_another_target_forgets_none(
    foreign_network: ForeignNetwork, plan: Path, tmp_path: Path, cpu: Callable[[str], Cpu]
) -> None:
    cpu("bf16")
    asked = options(foreign_network, tmp_path / "b.mahtrt", targets=("openvino",), plan=plan)
    made = build(asked)
    (engine,) = made.manifest.engines
    assert engine.files["onnx"] == "model.bf16-native-planned.onnx"
    props = {p.key: p.value for p in onnx.load(made.path / engine.files["onnx"]).metadata_props}
    assert set(load_plan(plan).fp32_nodes) <= set(json.loads(props[FP32_NODES_KEY]))
    again = compile(CompileOptions(made.path, "openvino", tmp_path / "c.mahtrt", threads=1))
    assert [e.files["onnx"] for e in again.manifest.engines] == [engine.files["onnx"]]
    # The FP32 graph would do for the plain BF16 of such a CPU, and forget the plan.
    with pytest.raises(UsageError, match=r"--bf16 --plan plan\.bf16\.json --target onnxruntime"):
        compile(CompileOptions(made.path, "onnxruntime", tmp_path / "d.mahtrt", threads=1))


def test_a_bundle_of_a_cpu_without_bf16_is_not_compiled_without_its_plan(
    foreign_network: ForeignNetwork, plan: Path, tmp_path: Path, cpu: Callable[[str], Cpu]
) -> None:
    made = build(options(foreign_network, tmp_path / "b.mahtrt", plan=plan)).path
    cpu("bf16")
    with pytest.raises(UsageError, match=r"fp32, bf16-planned; expected the graph of bf16 as open"):
        compile(CompileOptions(made, "openvino", tmp_path / "c.mahtrt", threads=1))


@pytest.mark.skipif(bool(probe_cuda().devices), reason="a GPU is here")
def test_typed_graphs_and_stand_ins_follow_the_plan(
    foreign_network: ForeignNetwork, plan: Path, tmp_path: Path
) -> None:
    rtx = {
        "precisions": ("fp16", "bf16"),
        "targets": ("tensorrt-rtx",),
        "target_options": (TensorRtOptions(compute_capabilities=("SM89",)),),
    }
    everything = tmp_path / "all.json"
    blocks = [block.name for block in load_plan(plan).blocks]
    save_plan(plan_of(foreign_network, **dict.fromkeys(blocks, "fp32")), everything)
    plain, kept = (
        build(options(foreign_network, tmp_path / f"{n}.mahtrt", plan=given, **rtx)).manifest
        for n, given in enumerate((None, everything))
    )
    assert [engine.files["onnx"] for engine in kept.engines] == [
        "model.fp16-planned.onnx",
        "model.bf16-typed-planned.onnx",
    ]
    moved: Any = [[e.accuracy.mean_px for e in each.engines] for each in (plain, kept)]
    assert all(px > 0 for px in moved[0])
    assert moved[1] == pytest.approx([0, 0], abs=1e-4)  # nothing is rounded in the stand-in either


@pytest.mark.skipif(bool(probe_cuda().devices), reason="a GPU is here")
@pytest.mark.parametrize("lies", ["graph", "network"])
def test_an_engine_in_other_precisions_than_its_plan_is_refused(
    foreign_network: ForeignNetwork,
    plan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lies: str,
) -> None:
    if lies == "graph":
        monkeypatch.setattr(graphs_module, "float_graph", lambda of, kind, _: float_graph(of, kind))
    else:
        monkeypatch.setattr(
            tensorrt_module,
            "network_layers",
            lambda found: network_layers(dict.fromkeys(found, "fp16")),
        )
    asked = options(
        foreign_network,
        tmp_path / "b.mahtrt",
        precisions=("fp16",),
        targets=("tensorrt-rtx",),
        target_options=(TensorRtOptions(compute_capabilities=("SM89",)),),
        plan=plan,
        cache=False,
    )
    where = {"graph": "its graph", "network": "the network that was parsed"}[lies]
    with pytest.raises(
        GateError, match=rf"{where}: got other precisions .* 2 blocks: down\.0, join"
    ):
        build(asked)
    assert not list(tmp_path.iterdir())


class Planner:
    """Instead of timing: one INT8 block for INT8, and two FP32 blocks for half precision."""

    def __init__(self, **ends: str) -> None:
        self.ends, self.asked = ends, list[tuple[str, Any]]()

    def __call__(
        self,
        options: PlanOptions,
        network: NetworkToPlan,
        sensitivity: Sensitivity,
        target: str,
        evaluation: Dataset,
        **_: Any,
    ) -> PlanResult:
        half = options.bench.half
        candidates = network.candidates
        self.asked.append((half or "int8", target))
        assert bool(sensitivity.blocks) == (half is None)
        assert bool(network.recipe.ranges.tensors) == (half is None)
        end = self.ends.get(half or "int8", half or "int8")
        able = [c.name for c in decidable(candidates) if not c.ruled_out][:1]
        everything = [in_fp32(c.name) for c in candidates]
        chosen = {"int8": able, "fp32": everything}.get(end, list(map(in_fp32, KEPT)))
        plan, float_type = compose(candidates, chosen), half or "bf16"
        return PlanResult(
            plan, f"ends in {end}", (), (), target, float_type, options.limits, 1, 0.1
        )


def searched(
    network: ForeignNetwork, out: Path, monkeypatch: pytest.MonkeyPatch, planner: Planner, *p: str
) -> BuildResult:
    monkeypatch.setattr(planned_module, "make_plan", planner)
    more: dict[str, Any] = {"calib": "phantom:8@1", "plan": "auto"}
    return build(options(network, out, precisions=p, **more))


def test_each_precision_has_a_search_and_files_of_its_own(
    foreign_network: ForeignNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planner = Planner()
    result = searched(
        foreign_network, tmp_path / "b.mahtrt", monkeypatch, planner, "fp32", "bf16", "int8"
    )
    assert planner.asked == [("bf16", "onnxruntime"), ("int8", "onnxruntime")]
    assert [(e.precision, e.files["onnx"]) for e in result.manifest.engines] == [
        ("fp32", "model.onnx"),
        ("bf16", "model.bf16-planned.onnx"),
        ("int8", "model.int8.onnx"),
    ]
    assert {"plan of bf16: ends in bf16", "plan: ends in int8"} <= set(result.notes)
    listed = {record.path for record in result.manifest.files}
    for of in ("", ".bf16"):
        names = (f"plan{of}.json", f"planning{of}.json", f"sensitivity{of}.json")
        assert {*names, f"sensitivity{of}.png"} <= listed
    assert load_plan(result.path / "plan.json").int8_nodes
    half = load_plan(result.path / "plan.bf16.json")
    assert tuple(b.name for b in half.blocks if b.precision == "fp32") == KEPT
    assert not half.int8_nodes


def test_half_precision_alone_calibrates_nothing(
    foreign_network: ForeignNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = searched(foreign_network, tmp_path / "b.mahtrt", monkeypatch, Planner(), "bf16")
    assert result.manifest.calibration is None
    assert not (result.path / "ranges.json").exists()
    assert [e.files["onnx"] for e in result.manifest.engines] == ["model.bf16-planned.onnx"]


def test_where_half_precision_does_not_pay_fp32_is_built_and_said(
    foreign_network: ForeignNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planner = Planner(bf16="fp32", int8="bf16")
    result = searched(foreign_network, tmp_path / "b.mahtrt", monkeypatch, planner, "bf16", "int8")
    # INT8 would be BF16, of which its own search says that it is FP32.
    assert [engine.precision for engine in result.manifest.engines] == ["fp32"]
    assert "plan of bf16: ends in fp32" in result.notes


def test_a_search_for_int8_that_ends_in_half_precision_builds_that_plan(
    foreign_network: ForeignNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planner = Planner(int8="bf16")
    result = searched(foreign_network, tmp_path / "b.mahtrt", monkeypatch, planner, "int8")
    assert [e.files["onnx"] for e in result.manifest.engines] == ["model.bf16-planned.onnx"]
    assert result.manifest.calibration is None
    assert load_plan(result.path / "plan.bf16.json") == load_plan(result.path / "plan.json")


@pytest.mark.skipif(bool(probe_cuda().devices), reason="a GPU is here")
def test_half_precision_that_cannot_be_timed_is_built_without_a_plan_beside_int8(
    foreign_network: ForeignNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planner = Planner()
    monkeypatch.setattr(planned_module, "make_plan", planner)
    rtx = TensorRtOptions(compute_capabilities=("SM89",))
    asked = options(
        foreign_network,
        tmp_path / "b.mahtrt",
        precisions=("fp16", "int8"),
        targets=("openvino", "tensorrt-rtx"),
        target_options=(rtx,),
        calib="phantom:8@1",
        plan="auto",
    )
    result = build(asked)
    assert planner.asked == [("int8", "openvino")]
    assert result.manifest.engines[0].files["onnx"] == "model.fp16.onnx"
    assert any(note.startswith("fp16: built without a plan: planning") for note in result.notes)
    for precisions in (("fp16",), ("fp16", "bf16")):
        alone = dataclasses.replace(asked, precisions=precisions, targets=("tensorrt-rtx",))
        with pytest.raises(MissingComponentError, match="plans are chosen by timing"):
            build(dataclasses.replace(alone, out=tmp_path / "c.mahtrt"))
