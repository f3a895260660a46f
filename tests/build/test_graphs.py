from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from cpus import Cpu
from foreign_network import ForeignNetwork

from mahtrt.build.graphs import Graphs, make_graphs
from mahtrt.build.images import ImageSets
from mahtrt.build.options import BuildOptions
from mahtrt.build.plan_check import read_plan
from mahtrt.build.planned import choose_plan
from mahtrt.build.request import Request
from mahtrt.build.workspace import Workspace
from mahtrt.bundle.plan import load_plan
from mahtrt.data.phantom import PhantomDataset
from mahtrt.errors import ModelError, UsageError
from mahtrt.graph.graph_file import GraphFile, read_graph
from mahtrt.targets.graph_kinds import Int8

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def graph(foreign_network: ForeignNetwork) -> GraphFile:
    return read_graph(foreign_network.onnx)


def write(root: Path, graph: GraphFile, **options: object) -> tuple[Graphs, list[tuple[int, int]]]:
    """Make graphs in ``root``, and tell of the progress."""
    root.mkdir(exist_ok=True)
    scratch = root.with_name(f"{root.name}-scratch")
    scratch.mkdir()
    told: list[tuple[int, int]] = []
    asked = dataclasses.replace(
        BuildOptions(graph.path, root, ("fp32", "int8"), calib="phantom", threads=1),
        **options,  # type: ignore[arg-type]
    )
    targets = ("onnxruntime",)
    request = Request(asked, graph, targets, asked.precisions, read_plan(asked, graph, targets))
    images = ImageSets(PhantomDataset(3, 1), PhantomDataset(2, 5))

    def tell(stage: str, done: int, total: int, detail: str = "") -> None:
        told.append((done, total))

    choice = choose_plan(request, images, tell)
    request = request.following(choice.precisions, choice.planned_halves)
    return make_graphs(request, images, choice, Workspace(root, scratch), tell), told


def test_what_is_written(tmp_path: Path, graph: GraphFile) -> None:
    graphs, told = write(tmp_path / "made", graph, precisions=("fp32", "bf16", "int8"))
    assert {kind.name: place.name for kind, place in graphs.models.items()} == {
        "fp32": "model.onnx",
        "bf16": "model.bf16.onnx",
        "int8": "model.int8.onnx",
    }
    assert (tmp_path / "made/model.onnx").read_bytes() == graph.path.read_bytes()
    assert told[-1] == (3, 3)
    for place in graphs.models.values():
        onnx.checker.check_model(onnx.load(place), full_check=True)
    assert load_plan(tmp_path / "made/plan.json").int8_nodes
    ranges = json.loads((tmp_path / "made/ranges.json").read_text())
    record = graphs.calibration
    assert ranges["images"] == record.card.images == 3
    assert ranges["digest"] == record.card.digest
    assert (record.method, record.percentile, record.skipped) == ("minmax", None, ())
    quantized = {node.op_type for node in onnx.load(tmp_path / "made/model.int8.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= quantized


def test_an_export_that_changed_since_it_was_read_is_refused(
    tmp_path: Path, graph: GraphFile
) -> None:
    changed = tmp_path / "changed.onnx"
    changed.write_bytes(graph.path.read_bytes() + b"\n")
    with pytest.raises(
        ModelError, match=r"changed\.onnx: got a file that changed during the build"
    ):
        write(tmp_path / "made", dataclasses.replace(graph, path=changed), precisions=("fp32",))


def test_without_int8_nothing_is_calibrated(tmp_path: Path, graph: GraphFile) -> None:
    graphs, told = write(tmp_path / "made", graph, precisions=("fp32",))
    assert not told
    assert graphs.calibration is None
    assert [place.name for place in (tmp_path / "made").iterdir()] == ["model.onnx"]


def test_an_own_plan_is_honoured(tmp_path: Path, graph: GraphFile) -> None:
    write(tmp_path / "default", graph)
    plan = json.loads((tmp_path / "default/plan.json").read_text())
    kept = next(block for block in plan["blocks"] if block["name"] == "join.0")
    assert kept["precision"] == "int8"
    kept["precision"], kept["reason"] = "float", "the test says so"
    (tmp_path / "own.json").write_text(json.dumps(plan))
    write(tmp_path / "own", graph, plan=tmp_path / "own.json")
    assert json.loads((tmp_path / "own/plan.json").read_text()) == plan
    before, after = (
        int8_products(tmp_path / folder / "model.int8.onnx") for folder in ("default", "own")
    )
    assert before - after == {"join.0.0.Conv"}
    assert after < before


def int8_products(path: Path) -> set[str]:
    graph = onnx.load(path).graph
    dequantized = {
        name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output
    }
    return {
        node.name
        for node in graph.node
        if node.op_type in ("Conv", "ConvTranspose") and set(node.input[:2]) <= dequantized
    }


def test_method_and_percentile_reach_the_ranges(tmp_path: Path, graph: GraphFile) -> None:
    graphs, _ = write(tmp_path / "made", graph, method="percentile", percentile=90.0, weight_bits=7)
    assert graphs.calibration.percentile == 90.0
    assert Int8(None, 7) in graphs.models
    ranges = json.loads((tmp_path / "made/ranges.json").read_text())
    assert ranges["percentile"] == 90.0
    amax = [tensor["amax"] for tensor in ranges["tensors"].values()]
    assert any(each["percentile"] < each["minmax"] for each in amax)


def test_a_plan_without_int8_is_refused(tmp_path: Path, graph: GraphFile) -> None:
    (tmp_path / "plan.json").write_text('{"blocks": []}')
    with pytest.raises(UsageError, match="without any INT8 block"):
        write(tmp_path / "out", graph, plan=tmp_path / "plan.json")


def test_weight_bits_of_this_cpu_are_used(
    tmp_path: Path, graph: GraphFile, cpu: Callable[[str], Cpu]
) -> None:
    for kind in ("avx2", "vnni"):
        bits = cpu(kind).weight_bits
        graphs, _ = write(tmp_path / kind, graph)
        assert Int8(None, bits) in graphs.models


def test_a_quantised_graph_is_no_export(tmp_path: Path, graph: GraphFile) -> None:
    write(tmp_path / "made", graph)
    with pytest.raises(ModelError, match="quantised already"):
        read_graph(tmp_path / "made/model.int8.onnx")


@pytest.mark.parametrize("text", ["{no json", "[]"])
def test_damaged_provenance_is_refused(tmp_path: Path, graph: GraphFile, text: str) -> None:
    proto = onnx.ModelProto()
    proto.CopyFrom(graph.proto)
    next(e for e in proto.metadata_props if e.key == "mahtrt.source").value = text
    onnx.save(proto, tmp_path / "net.onnx")
    with pytest.raises(ModelError, match=r"mahtrt\.source"):
        read_graph(tmp_path / "net.onnx")


def test_a_graph_of_unknown_batch_is_refused(tmp_path: Path, graph: GraphFile) -> None:
    proto = onnx.ModelProto()
    proto.CopyFrom(graph.proto)
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    onnx.save(proto, tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="static shapes"):
        read_graph(tmp_path / "net.onnx")
