from __future__ import annotations

import gc
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from networks import (
    HEATMAPS,
    LANDMARKS,
    MAP,
    SIZE,
    Siamese,
    SqueezeExciteNet,
    Transformer,
    UNet,
    images,
    settle,
    spec_for,
)
from rendering import text_of
from tiny_graphs import feeds
from torch import Tensor, nn

from mahtrt.digest import sha256_of_file
from mahtrt.errors import DataError, GateError, ModelError, UsageError
from mahtrt.export import onnx as export_module
from mahtrt.export import tracing
from mahtrt.export.onnx import ExportResult, OnnxOptions, export_onnx
from mahtrt.export.parity import ParityError
from mahtrt.export.passes.pipeline import optimizations_applied
from mahtrt.models.foreign import adapt
from mahtrt.spec import ModelSpec, OutputSpec, spec_from_json
from mahtrt.verbs.export import parity_table

pytestmark = pytest.mark.slow

SOURCE = {"model": "networks.py:UNet", "kwargs": {"width": 8}}


def export(module: nn.Module, spec: ModelSpec, out: Path, **options: Any) -> ExportResult:
    progress = options.pop("progress", None)
    asked = OnnxOptions(out, **{"images": feeds(images(3)), "source": SOURCE, **options})
    return export_onnx(settle(module), spec, asked, progress)


def metadata(model: onnx.ModelProto) -> dict[str, Any]:
    return {entry.key: json.loads(entry.value) for entry in model.metadata_props}


def op_counts(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.fixture(scope="module")
def unet(tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """The U-Net with soft-argmax, two images at a time."""
    adapted = adapt(settle(UNet()), spec_for(HEATMAPS, method="soft_argmax"))
    out = tmp_path_factory.mktemp("export") / "new" / "unet.onnx"
    return export(adapted, adapted.spec, out, batch=2)


def test_the_file_is_what_the_result_says(unet: ExportResult) -> None:
    assert unet.path.parent.is_dir()
    assert [path.name for path in unet.path.parent.iterdir()] == ["unet.onnx"]
    assert unet.sha256 == sha256_of_file(unet.path)
    assert unet.parity.passed
    assert unet.parity.images == 3
    assert unet.changes["MergeSiblingConvsPass"] == 1


def test_spec_source_and_parity_travel_in_the_file(unet: ExportResult) -> None:
    model = onnx.load(unet.path)
    props = metadata(model)
    assert spec_from_json(json.dumps(props["mahtrt.spec"])) == unet.spec
    passes = optimizations_applied(unet.changes)
    assert passes["merge-sibling-convs"] == 1
    assert props["mahtrt.source"] == {**SOURCE, "graph_passes": passes}
    assert props["mahtrt.parity"] == unet.parity.to_dict()
    assert set(props) == {"mahtrt.spec", "mahtrt.source", "mahtrt.parity"}


def test_a_pass_that_is_skipped_is_said_so(unet: ExportResult, tmp_path: Path) -> None:
    adapted = adapt(settle(UNet()), spec_for(HEATMAPS, method="soft_argmax"))
    skip = ("merge-sibling-convs",)
    result = export(adapted, adapted.spec, tmp_path / "out.onnx", skip_passes=skip)
    assert "MergeSiblingConvsPass" not in result.changes
    assert op_counts(result.path)["Conv"] > op_counts(unet.path)["Conv"]
    source = metadata(onnx.load(result.path))["mahtrt.source"]
    assert source["graph_passes"] == optimizations_applied(result.changes, skip)
    assert source["graph_passes"]["merge-sibling-convs"] is None


def test_inputs_and_outputs_are_named_and_static(unet: ExportResult) -> None:
    graph = onnx.load(unet.path).graph
    shapes = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {
        "image": (2, 3, *SIZE),
        "heatmaps": (2, 3, *SIZE),
        "landmarks": (2, 3, 2),
        "confidence": (2, 3),
        "spread": (2, 3),
    }
    assert [value.name for value in graph.output] == [o.name for o in unet.spec.outputs]


def test_norms_are_folded_and_the_heads_are_one(unet: ExportResult) -> None:
    counts = op_counts(unet.path)
    assert counts["BatchNormalization"] == counts["Dropout"] == 0
    assert counts["Conv"] == 4  # two down, join, head
    assert counts["ConvTranspose"] == counts["Sigmoid"] == 1
    assert counts["MatMul"] == counts["Gemm"] == 0  # none in the soft-argmax


def test_every_node_has_a_readable_unique_name_and_scope(unet: ExportResult) -> None:
    nodes = onnx.load(unet.path).graph.node
    scopes = {node.name: {p.key: p.value for p in node.metadata_props} for node in nodes}
    assert len(scopes) == len(nodes)
    assert scopes["join.0.Conv"] == {"mahtrt.scope": "join.0"}
    assert scopes["heads.Conv"] == {"mahtrt.scope": "heads"}
    assert scopes["soft_argmax.Softmax"] == {"mahtrt.scope": "soft_argmax"}
    assert not [name for name in scopes if "mahtrt_wrapped" in name]


def test_no_path_of_this_machine_stays(unet: ExportResult) -> None:
    data = unet.path.read_bytes()
    places = (os.getcwd(), os.path.dirname(torch.__file__), os.path.dirname(__file__), '.py"')
    assert not [place for place in places if place.encode() in data]
    assert b"stack_trace" not in data


def test_same_network_same_bytes(tmp_path: Path) -> None:
    module, spec = Siamese(), spec_for(MAP)
    first = export(module, spec, tmp_path / "a.onnx")
    second = export(module, spec, tmp_path / "b.onnx")
    assert first.sha256 == second.sha256


def test_an_encoder_called_twice_is_folded_twice(tmp_path: Path) -> None:
    export(Siamese(), spec_for(MAP), tmp_path / "out.onnx")
    counts = op_counts(tmp_path / "out.onnx")
    assert counts["BatchNormalization"] == 0
    assert counts["Conv"] == 2


def test_auxiliary_branch_is_gone_and_the_resize_is_one_static_node(tmp_path: Path) -> None:
    module = SqueezeExciteNet().train()
    export(module, spec_for(HEATMAPS), tmp_path / "out.onnx")
    assert module.training
    model = onnx.load(tmp_path / "out.onnx")
    names = [tensor.name for tensor in model.graph.initializer]
    assert not [name for name in names if "auxiliary" in name]
    (resize,) = [node for node in model.graph.node if node.op_type == "Resize"]
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in resize.attribute}
    assert attributes["mode"] == b"linear"
    assert attributes["coordinate_transformation_mode"] == b"half_pixel"
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    assert all(name in constants for name in resize.input[1:] if name)


@pytest.mark.parametrize("eager", [True, False])
def test_attention_keeps_norms_and_gelus_whole(tmp_path: Path, eager: bool) -> None:
    export(Transformer(eager=eager), spec_for(LANDMARKS, MAP), tmp_path / "out.onnx")
    counts = op_counts(tmp_path / "out.onnx")
    assert counts["LayerNormalization"] == 4
    assert counts["Gelu"] == counts["Softmax"] == 2
    assert counts["Erf"] == counts["Sqrt"] == counts["Pow"] == 0


def test_formulas_written_by_hand_become_whole_nodes(tmp_path: Path) -> None:
    result = export(Transformer(by_hand=True), spec_for(LANDMARKS, MAP), tmp_path / "out.onnx")
    counts = op_counts(tmp_path / "out.onnx")
    assert counts["LayerNormalization"] == 4
    assert counts["Gelu"] == 2
    assert result.changes["FuseGeluPass"] == result.changes["FuseLayerNormPass"] == 2


def test_linear_weights_are_constants(tmp_path: Path) -> None:
    export(Transformer(width=96), spec_for(LANDMARKS, MAP), tmp_path / "out.onnx", opset=21)
    model = onnx.load(tmp_path / "out.onnx")
    assert model.opset_import[0].version == 21
    constants = {tensor.name for tensor in model.graph.initializer}
    weighted = [n for n in model.graph.node if n.op_type == "MatMul" and n.input[1] in constants]
    assert len(weighted) == 8  # qkv, proj, fc1, fc2 of two blocks


class Drifting(nn.Module):
    """Gives something else in every call."""

    def __init__(self, step: float) -> None:
        super().__init__()
        self.step, self.calls = step, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x[:, :, :3, :2].flatten(2).mean(-1)[:, :, None].repeat(1, 1, 2) + (
            self.calls * self.step
        )


def test_over_tolerance_leaves_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    out.write_text("older")
    spec = spec_for(OutputSpec("points", "landmarks", frame="network"))
    with pytest.raises(ParityError, match=r"output 'points': got an error of .* px") as caught:
        export(Drifting(1.0), spec, out)
    assert isinstance(caught.value, GateError)
    assert caught.value.exit_code == 3
    assert not caught.value.table.passed
    assert "FAIL" in text_of(parity_table(caught.value.table))
    assert [path.name for path in tmp_path.iterdir()] == ["out.onnx"]
    assert out.read_text() == "older"


@pytest.mark.parametrize("stage", range(1, 5))
def test_interrupted_leaves_nothing(tmp_path: Path, stage: int) -> None:
    def interrupt(done: int, total: int, stage_name: str) -> None:
        assert (total, bool(stage_name)) == (5, done < 5)
        if done == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(Siamese(), spec_for(MAP), tmp_path / "out.onnx", progress=interrupt)
    assert not list(tmp_path.iterdir())


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if float(x.sum()) > 0 else -x


def test_a_network_that_cannot_be_traced_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"network test-net: got .*; expected a forward pass"):
        export(Branching(), spec_for(MAP), tmp_path / "out.onnx")
    assert not list(tmp_path.iterdir())


def test_weights_that_do_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "MAX_WEIGHT_BYTES", 100)
    with pytest.raises(ModelError, match=r"weights: got 0.00 GB"):
        export(Siamese(), spec_for(MAP), tmp_path / "out.onnx")


def test_half_precision_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"weight encoder\.0\.weight: got float16"):
        export(Siamese().half(), spec_for(MAP), tmp_path / "out.onnx")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"opset": 17}, UsageError, "--opset: got 17; expected 20 to 22"),
        ({"batch": 0}, UsageError, "--batch: got 0"),
        (
            {"skip_passes": ["fold"]},
            UsageError,
            "graph pass: got 'fold'; expected merge-sibling-convs or split-pyramid-conv",
        ),
        ({"images": []}, DataError, "images for parity: got none"),
        ({"images": feeds([np.zeros((3, 4, 4), np.float32)])}, DataError, r"\(3, 4, 4\)"),
        ({"images": feeds([np.zeros((3, *SIZE))])}, DataError, "float64"),
    ],
)
def test_arguments_are_judged_first(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        export(Siamese(), spec_for(MAP), tmp_path / "out.onnx", **options)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="got a directory"):
        export(Siamese(), spec_for(MAP), tmp_path)


def test_an_invalid_graph_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaking(graph: ir.Model, passes: object) -> dict[str, int]:
        next(iter(graph.graph)).op_type = "NoSuchOp"
        return {}

    monkeypatch.setattr(export_module, "run_passes", breaking)
    with pytest.raises(ModelError, match=r"exported graph of test-net: got .*NoSuchOp"):
        export(Siamese(), spec_for(MAP), tmp_path / "out.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("was_on", [True, False])
def test_the_collector_is_as_it_was_after_a_network_that_cannot_be_traced(was_on: bool) -> None:
    class Broken(nn.Module):
        def forward(self, image: Tensor) -> dict[str, Tensor]:
            seen.append(gc.isenabled())
            raise RuntimeError("no")

    seen: list[bool] = []
    before = gc.isenabled()
    (gc.enable if was_on else gc.disable)()
    try:
        with pytest.raises(ModelError):
            tracing.trace(Broken(), spec_for(HEATMAPS), batch=1, opset=20)
        assert gc.isenabled() is was_on
        assert seen
        assert not any(seen)
    finally:
        (gc.enable if before else gc.disable)()
