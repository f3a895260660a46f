from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from tiny_graphs import landmark_net, tiny_spec

from mahtrt.bundle.plan import Block, Plan, load_plan, plan_from_json, save_plan
from mahtrt.calibration.plan import block_names, check_plan, default_plan
from mahtrt.calibration.rules import reason_for_float
from mahtrt.errors import IntegrityError, SpecError
from mahtrt.graph.index import GraphIndex
from mahtrt.graph.sites import Site

HEAD = "head, or the last stage before it"
SQUEEZED = "one position per image (squeeze-excite or pooled features)"
SCORES = "product of two activations (attention scores) stays float"

# Every product of the landmark net: None where it becomes INT8, else the reason.
EXPECTED = {
    "encoder.stem": "stem: the first convolution on the image",
    "encoder.blocks.0.se.reduce": SQUEEZED,
    "encoder.blocks.0.se.expand": SQUEEZED,
    "encoder.blocks.0.depthwise": "grouped convolution (32 groups)",
    "encoder.blocks.0.point": None,
    "encoder.blocks.1.down": None,
    "encoder.blocks.2.down": None,
    "transformer.input": None,
    "transformer.layers.0.attention.q": None,
    "transformer.layers.0.attention.k": None,
    "transformer.layers.0.attention.v": None,
    "transformer.layers.0.attention.qk": SCORES,
    "transformer.layers.0.attention.mix": SCORES,
    "transformer.layers.0.attention.out": None,
    "transformer.layers.0.mlp.up": None,
    "transformer.layers.0.mlp.down": None,
    "decoder.blocks.0.up": None,
    "decoder.gates.0.gate": None,
    "decoder.gates.0.skip": None,
    "decoder.gates.0.psi": "one output channel (attention gate)",
    "decoder.blocks.0.conv1": None,
    "decoder.blocks.0.conv2": None,
    "decoder.blocks.0.shortcut": None,
    "decoder.fusion": None,
    "decoder.blocks.1.conv1": HEAD,
    "decoder.blocks.1.conv2": HEAD,
    "decoder.blocks.1.shortcut": HEAD,
    "head.refine": HEAD,
    "head.heatmaps": HEAD,
    "soft_argmax.product": "matrix product with K or N below 16 (1024x2)",
}


def decisions(plan: Plan) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for block in plan.blocks:
        found |= dict.fromkeys(block.nodes, None if block.precision == "int8" else block.reason)
        found |= block.float_nodes
    return found


@pytest.mark.parametrize("scopes", [True, False])
def test_every_product_is_decided_by_its_rule(scopes: bool) -> None:
    assert decisions(default_plan(landmark_net(scopes=scopes), tiny_spec())) == EXPECTED


def test_excluded_scopes_stay_float(model: onnx.ModelProto) -> None:
    found = decisions(default_plan(model, tiny_spec(exclude=["encoder", "transformer.layers"])))
    reason = found["encoder.blocks.1.down"]
    assert reason == "excluded by the model's spec (encoder)"
    assert found["transformer.layers.0.mlp.up"] is not None
    assert found["transformer.input"] is None
    assert found["decoder.fusion"] is None


def test_a_prefix_ends_at_a_dot(model: onnx.ModelProto) -> None:
    found = decisions(default_plan(model, tiny_spec(exclude=["encoder.blocks.1", "dec"])))
    assert found["encoder.blocks.1.down"] is not None
    assert found["encoder.blocks.2.down"] is None
    assert found["decoder.fusion"] is None


SITE = Site(
    key="n", position=9, op="Conv", scope="n", weight_shape=(64, 64, 3, 3), weight_axis=0, inner=64,
    outer=64, groups=1, positions=256, flops_share=0.1, is_stem=False, is_head=False,
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"inner": 48}, "48 input channels, not a multiple of 32"),
        ({"flops_share": 0.004}, "below 0.5% of the arithmetic: does not pay"),
        (
            {"op": "ConvTranspose", "flops_share": 0.004},
            "below 0.5% of the arithmetic: does not pay",
        ),
        ({"op": "MatMul", "flops_share": 0.001}, None),
        ({"op": "MatMul", "inner": 48}, None),
        ({"op": "Gemm", "outer": 14}, "matrix product with K or N below 16 (64x14)"),
        ({"groups": 2}, "grouped convolution (2 groups)"),
        ({"outer": 1}, "one output channel (attention gate)"),
        ({"positions": 1}, SQUEEZED),
        ({"positions": 1, "op": "Gemm", "weight_shape": (512, 2047)}, SQUEEZED),
        ({"positions": 1, "op": "Gemm", "weight_shape": (512, 2048)}, None),
        ({"weight_shape": None}, SCORES),
    ],
)
def test_each_rule_on_its_own(change: dict[str, object], reason: str | None) -> None:
    assert reason_for_float(replace(SITE, **change)) == reason  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"outer": 15}, "convolution with fewer than 16 channels (64x15)"),
        ({"outer": 16}, None),
        ({"op": "ConvTranspose", "outer": 8}, "convolution with fewer than 16 channels (64x8)"),
        ({"outer": 1}, "one output channel (attention gate)"),
    ],
)
def test_a_target_may_want_wider_convolutions(
    change: dict[str, object], reason: str | None
) -> None:
    site = replace(SITE, **change)  # type: ignore[arg-type]
    assert reason_for_float(site, least_channels=16) == reason
    if site.outer > 1:
        assert reason_for_float(site) is None


def test_blocks_are_named_after_modules() -> None:
    scopes = {
        "decoder.blocks.3.conv1.0": "decoder.blocks.3",
        "decoder.blocks.3.residual": "decoder.blocks.3",
        "transformer.layers.2.attention.q": "transformer.layers.2.attention",
        "transformer.layers.2.attention.out.dense": "transformer.layers.2.attention",
        "transformer.layers.2.attention": "transformer.layers.2.attention",
        "transformer.layers.2.fc": "transformer.layers.2",
        "transformer.input": "transformer.input",
        "head.refine.0": "head.refine",
        "head.refine.3": "head.refine",
        "stem": "stem",
        "node_conv_7": "node_conv_7",
    }
    assert block_names(list(scopes)) == list(scopes.values())


def test_shares_add_up_and_blocks_cover_every_product_once(plan: Plan) -> None:
    assert sum(block.flops_share for block in plan.blocks) == pytest.approx(1.0, abs=1e-4)
    members = [n for b in plan.blocks for n in (*b.nodes, *b.float_nodes)]
    assert sorted(members) == sorted(EXPECTED)


def test_json_round_trip(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    save_plan(plan, path)
    assert load_plan(path) == plan
    assert load_plan(path).to_json() == path.read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


def test_golden_text() -> None:
    gate = Block(
        "decoder.gates.0", "int8", "every rule for INT8 holds", 0.25, ("a",), {"psi": "gate"}
    )
    told = {
        "name": "decoder.gates.0",
        "precision": "int8",
        "reason": "every rule for INT8 holds",
        "flops_share": 0.25,
        "nodes": ["a"],
        "float_nodes": {"psi": "gate"},
    }
    head = {"name": "head", "precision": "float", "reason": "head", "flops_share": 0.75}
    blocks = [told, {**head, "nodes": ["b", "c"]}]
    table = {"schema": "mahtrt.plan/2", "quantize_residuals": True, "blocks": blocks}
    plan = Plan((gate, Block("head", "float", "head", 0.75, ("b", "c"))))
    assert plan.to_json() == json.dumps(table, indent=2) + "\n"


def table(**changes: object) -> str:
    block = {"name": "a", "precision": "int8", "nodes": ["n"], **changes}
    return json.dumps({"blocks": [block]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "plan: got text that is not JSON"),
        ('{"blocks": [], "block": 1}', "plan: got unknown field 'block'"),
        ("{}", "plan: got no field 'blocks'"),
        ("[]", "plan: got list; expected a table"),
        (table(precison="int8"), r"plan: blocks\[0\]: got unknown field 'precison'"),
        (
            table(precision="int4"),
            r"blocks\[0\]: precision: got 'int4'; expected one of int8",
        ),
        (table(nodes="n"), r"blocks\[0\]: nodes: got 'n'; expected a list"),
        (table(nodes=["n", "n"]), "got node 'n' twice"),
    ],
)
def test_a_wrong_plan_is_refused_in_words(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        plan_from_json(text)


def test_a_newer_plan_is_refused() -> None:
    with pytest.raises(IntegrityError, match=r"mahtrt\.plan/3"):
        plan_from_json('{"schema": "mahtrt.plan/3", "blocks": []}')


def test_a_plan_of_two_precisions_is_read() -> None:
    old = {**json.loads(table()), "schema": "mahtrt.plan/1"}
    assert plan_from_json(json.dumps(old)) == plan_from_json(table())


def test_the_nodes_of_each_precision() -> None:
    blocks = [
        {"name": precision, "precision": precision, "nodes": [f"{precision}-node"]}
        for precision in ("int8", "float", "fp32")
    ]
    plan = plan_from_json(json.dumps({"blocks": blocks}))
    assert plan.int8_nodes == ("int8-node",)
    assert plan.fp32_nodes == ("fp32-node",)


def test_a_plan_of_another_graph_is_refused(model: onnx.ModelProto) -> None:
    other = Plan((Block("a", "float", "", 0.0, ("nowhere", "conv2")),))
    with pytest.raises(
        SpecError, match=r"block 'a': got 2 node\(s\) that the graph lacks: nowhere"
    ):
        check_plan(other, GraphIndex(model))


def test_int8_where_there_are_no_weights_is_refused(model: onnx.ModelProto) -> None:
    wrong = Plan((Block("a", "int8", "", 0.0, ("transformer.layers.0.attention.qk",)),))
    with pytest.raises(SpecError, match="has no constant weights"):
        check_plan(wrong, GraphIndex(model))
    check_plan(Plan((replace(wrong.blocks[0], precision="float"),)), GraphIndex(model))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"plan\.json: got no such file"):
        load_plan(tmp_path / "plan.json")


def test_only_a_regular_file_is_a_plan(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "plan.json")
    with pytest.raises(SpecError, match=r"plan\.json: got a FIFO; expected a plan"):
        load_plan(tmp_path / "plan.json")
    (tmp_path / "deep.json").write_text('{"blocks":' * 100_000)
    with pytest.raises(SpecError, match=r"deep\.json: got text that is not JSON"):
        load_plan(tmp_path / "deep.json")
