"""Looking into files, bundles and plans, good and bad."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
import tiny_network as tiny
from inspected_graphs import float_net, int8_net
from rendering import text_of

from mahtrt.build.records import gate_record
from mahtrt.bundle.bundle import write_bundle
from mahtrt.bundle.manifest import EngineRecord, GraphRecord, Manifest
from mahtrt.bundle.plan import Block, Plan
from mahtrt.bundle.records import DeviceRecord, VerdictRecord
from mahtrt.errors import DataError, IntegrityError, MahtrtError, ModelError, UsageError
from mahtrt.inspection.bundle import PlanBlocks
from mahtrt.inspection.inspect import InspectOptions, inspect
from mahtrt.measure.limits import Limits
from mahtrt.verbs.inspection_tables import tables_of

VERSION = bytes([1, 7, 1, 116])
LAYERS = {
    "Layers": [
        {
            "Name": "conv1",
            "LayerType": "CaskConvolution",
            "Inputs": [{"Name": "image", "Format/Datatype": "Int8"}],
        },
        {"Name": "relu", "LayerType": "PointWiseV2", "Inputs": [{"Format/Datatype": "Half"}]},
    ],
    "I/O Tensors": [{"Name": "image"}],
}


def rtx_plan(size: int = 64) -> bytes:
    """As much of a TensorRT-RTX plan as its header says."""
    head = b"vtrt" + bytes(4) + (2).to_bytes(8, "little") + size.to_bytes(8, "little") + VERSION
    return head.ljust(size, b"\1")


PLAN = Plan(
    (
        Block("a", "int8", "fast", 0.25, ("a.Conv",)),
        Block("b", "float", "stem", 0.5, ("b.Conv",)),
        Block("c", "fp32", "too coarse", 0.25, ("c.Conv",)),
    )
)


@pytest.fixture
def plan_bundle(tmp_path: Path) -> Path:
    """A bundle with a TensorRT-RTX plan and what an engine inspector said of it."""
    path = tmp_path / "plan.mahtrt"
    files = {
        "onnx": "model.onnx",
        "plan": "engines/e/model.plan",
        "layers": "engines/e/layers.json",
    }
    record = EngineRecord(
        name="tensorrt-rtx-fp32",
        target="tensorrt-rtx",
        precision="fp32",
        files=files,
        device=DeviceRecord(capabilities=("SM86",)),
        versions={"tensorrt-rtx": "1.7.1.116"},
        verdict=VerdictRecord(True),
    )
    with write_bundle(path) as writer:
        onnx.save(tiny.make_model(), writer.place("model.onnx"))
        writer.place(files["plan"]).write_bytes(rtx_plan())
        writer.place(files["layers"]).write_text(json.dumps(LAYERS))
        writer.place("plan.json").write_text(PLAN.to_json())
        writer.place("plan.bf16.json").write_text(Plan(PLAN.blocks[2:]).to_json())
        writer.finish(
            Manifest(
                spec=tiny.SPEC,
                precision="fp32",
                graphs=(GraphRecord("fp32", "model.onnx", "fp32"),),
                engines=(record,),
                default_engine=record.name,
                preprocess_version=1,
                gate=gate_record("PyTorch", Limits()),
            )
        )
    return path


def test_an_onnx_file(tmp_path: Path) -> None:
    path = tmp_path / "int8.onnx"
    onnx.save(int8_net(), path)
    found = inspect(InspectOptions(path, top=1))
    table = json.loads(json.dumps(found.to_dict()))
    assert table["schema"] == "mahtrt.inspect/2"
    assert (table["kind"], table["name"], table["size"]) == (
        "onnx",
        "int8.onnx",
        path.stat().st_size,
    )
    assert table["bundle"] is table["plan"] is None
    assert table["graph"]["int8_layers"] == 1
    assert [layer["name"] for layer in table["graph"]["largest_by_flops"]] == ["conv1"]
    assert str(tmp_path) not in json.dumps(table)
    text = text_of(tables_of(found))
    assert "1 fp32, 1 int8" in text
    assert "largest 1 by FLOPs" in text


def test_names_with_brackets_are_no_markup(tmp_path: Path) -> None:
    path = tmp_path / "float.onnx"
    onnx.save(float_net(), path)
    assert "relu[0]" in text_of(tables_of(inspect(InspectOptions(path))))


def test_weights_in_another_file_are_counted_without_it(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(float_net(), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "w.bin").unlink()
    graph = inspect(InspectOptions(path)).graph
    assert graph is not None
    assert graph.weights[0].bytes == 2 * 4 * (32 * 32 * 9 + 32)


def test_a_bundle(tiny_bundle: Path) -> None:
    found = inspect(InspectOptions(tiny_bundle))
    table = json.loads(json.dumps(found.to_dict()))["bundle"]
    assert table["default_engine"] == "openvino-fp32"
    assert [engine["name"] for engine in table["engines"]] == ["openvino-fp32", "onnxruntime-fp32"]
    assert all(engine["bytes"] > 0 for engine in table["engines"])
    assert [graph["file"] for graph in table["graphs"]] == ["model.onnx"]
    assert table["onnx"] == {}
    text = text_of(tables_of(found))
    assert "openvino-fp32 *" in text
    assert "tiny: image 32x48 rgb, letterbox" in text
    assert "3 landmarks by soft_argmax" in text


def test_the_graphs_of_a_bundle_on_request(tiny_bundle: Path) -> None:
    bundle = inspect(InspectOptions(tiny_bundle, graphs=True)).bundle
    assert bundle is not None
    assert set(bundle.onnx) == {"fp32"}
    assert bundle.onnx["fp32"].products == {"fp32": 1}


def test_a_bundle_with_a_plan(plan_bundle: Path) -> None:
    found = inspect(InspectOptions(plan_bundle))
    assert found.bundle is not None
    assert found.bundle.plan == PlanBlocks(("a",), {"b": "stem"}, {"c": "too coarse"}, 0.25)
    assert found.bundle.half_plans == {"bf16": PlanBlocks((), {}, {"c": "too coarse"}, 0.0)}
    assert found.to_dict()["bundle"]["half_plans"]["bf16"]["fp32_blocks"] == {"c": "too coarse"}
    (engine,) = found.bundle.engines
    assert engine.record.verdict == VerdictRecord(True)
    assert engine.layers is not None
    assert engine.layers.by_precision == {"int8": 1, "fp16": 1}
    text = text_of(tables_of(found))
    assert "2 layers: 1 int8, 1 fp16; 1 products in INT8" in text
    assert "1 INT8 blocks (25% of the arithmetic), 1 float blocks, 1 FP32 blocks" in text
    assert "SM86" in text


def test_a_plan_in_its_bundle(plan_bundle: Path) -> None:
    found = inspect(InspectOptions(plan_bundle / "engines/e/model.plan"))
    assert (found.kind, found.size) == ("plan", 64)
    plan = found.plan
    assert plan is not None
    assert plan.engine is not None
    assert plan.engine.name == "tensorrt-rtx-fp32"
    assert (plan.flavour, plan.version) == ("tensorrt-rtx", "1.7.1.116")
    assert plan.layers is not None
    assert plan.notes == ()
    json.dumps(found.to_dict())
    assert "1 products in INT8" in text_of(tables_of(found))


def test_a_plan_on_its_own(tmp_path: Path) -> None:
    path = tmp_path / "any.name"
    path.write_bytes(rtx_plan())
    plan = inspect(InspectOptions(path)).plan
    assert plan is not None
    assert (plan.flavour, plan.version, plan.engine) == ("tensorrt-rtx", "1.7.1.116", None)
    assert "needs a GPU" in plan.notes[-1]


def test_a_plan_of_unknown_make(tmp_path: Path) -> None:
    path = tmp_path / "model.plan"
    path.write_bytes(b"something else altogether")
    found = inspect(InspectOptions(path))
    assert found.plan is not None
    assert (found.plan.flavour, found.plan.version) == ("", "")
    assert "no header that mahtrt knows" in text_of(tables_of(found))


@pytest.mark.parametrize("content", [b"", rtx_plan()[:40], rtx_plan()[:10], rtx_plan() + b"more"])
def test_a_plan_that_is_not_whole(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.plan"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.plan: got .*(empty|bytes)"):
        inspect(InspectOptions(path))


def test_a_changed_plan_in_a_bundle(plan_bundle: Path) -> None:
    place = plan_bundle / "engines/e/model.plan"
    place.write_bytes(rtx_plan()[:-1] + b"\2")
    with pytest.raises(IntegrityError, match=r"model\.plan"):
        inspect(InspectOptions(place))


def test_changed_layers_in_a_bundle(plan_bundle: Path) -> None:
    (plan_bundle / "engines/e/layers.json").write_text("{}")
    with pytest.raises(IntegrityError, match=r"layers\.json"):
        inspect(InspectOptions(plan_bundle))


def test_a_plan_that_the_bundle_does_not_know(plan_bundle: Path) -> None:
    stranger = plan_bundle / "engines/e/other.plan"
    stranger.write_bytes(rtx_plan())
    plan = inspect(InspectOptions(stranger)).plan
    assert plan is not None
    assert plan.engine is None
    assert "manifest does not know it" in plan.notes[0]


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"no protobuf at all", "not ONNX"),
        (b"", "without a graph"),
        (float_net().SerializeToString()[:2000], "not ONNX"),
        (onnx.ModelProto(ir_version=10).SerializeToString(), "without a graph"),
    ],
)
def test_files_that_are_no_onnx(tmp_path: Path, content: bytes, got: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"model\.onnx: got .*{got}"):
        inspect(InspectOptions(path))


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        inspect(InspectOptions(tmp_path / "none.onnx"))
    with pytest.raises(DataError, match="an empty folder"):
        inspect(InspectOptions(tmp_path))
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(DataError, match="fifo: got a FIFO; expected an ONNX file"):
        inspect(InspectOptions(tmp_path / "fifo"))


def test_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MahtrtError, match=r"no manifest\.json"):
        inspect(InspectOptions(tmp_path))


def test_top_must_be_a_number_of_layers(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--top"):
        inspect(InspectOptions(tmp_path, top=0))


def test_a_bundle_is_described_without_onnx_or_torch(tiny_bundle: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_bundle, tmp_path / "copy.mahtrt")
    code = (
        "import sys\n"
        "from mahtrt.cli import app\n"
        f"app(['inspect', {str(copy)!r}], standalone_mode=False)\n"
        "loaded = {'onnx', 'torch', 'openvino', 'tensorrt_rtx_bindings'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_document_has_every_record(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(float_net(spec={"family": "x"}, source={"model": "m"}), path)
    graph: dict[str, Any] = inspect(InspectOptions(path)).to_dict()["graph"]
    assert (graph["spec"], graph["provenance"]) == ({"family": "x"}, {"model": "m"})
    assert graph["parity"] is graph["quantization"] is graph["precision"] is None
    assert "family x" in text_of(
        tables_of(inspect(InspectOptions(path)))
    )  # no whole spec, shown as it is
