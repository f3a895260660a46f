from __future__ import annotations

from dataclasses import replace

import onnx
import pytest
from tiny_graphs import landmark_net, tiny_spec

from mahtrt.bundle.plan import plan_from_json
from mahtrt.calibration.plan import check_plan, default_plan
from mahtrt.graph.graph_file import GraphFile
from mahtrt.graph.index import GraphIndex
from mahtrt.planning.blocks import Candidate, _merge_stages, compose, decidable, find_candidates
from mahtrt.planning.recipe import Recipe, tensors_of_candidates


def named(candidates: tuple[Candidate, ...], name: str) -> Candidate:
    return next(c for c in candidates if c.name == name)


def test_what_is_impossible_is_no_candidate(candidates: tuple[Candidate, ...]) -> None:
    fixed = {c.name for c in candidates if not c.nodes}
    assert fixed == {"encoder.blocks.0.se", "soft_argmax.product"}
    attention = named(candidates, "transformer.layers.0.attention")
    assert sorted(attention.float_nodes) == [f"{attention.name}.mix", f"{attention.name}.qk"]
    assert named(candidates, "encoder.blocks.0").nodes == ("encoder.blocks.0.point",)


def test_what_the_rules_keep_float_is_a_candidate_with_their_reason(
    candidates: tuple[Candidate, ...],
) -> None:
    head = named(candidates, "head.heatmaps")
    assert head.ruled_out.startswith("head")
    assert not head.excluded
    rest = named(candidates, "decoder.gates.0 (rest)")
    assert rest.nodes == ("decoder.gates.0.psi",)
    assert "attention gate" in rest.ruled_out
    assert not named(candidates, "decoder.gates.0").ruled_out
    assert named(candidates, "encoder.stem").excluded


def test_stem_and_heatmaps_are_the_planners_to_decide_where_no_spec_excludes_them() -> None:
    model = landmark_net()
    found = find_candidates(model, tiny_spec())
    for name, reason in (("encoder.stem", "stem"), ("head.heatmaps", "head")):
        candidate = named(found, name)
        assert candidate.nodes == (name,)
        assert candidate.ruled_out.startswith(reason)
        assert not candidate.excluded
        assert compose(found, [name]).int8_nodes == (name,)


def test_thin_convolutions_are_none_where_the_target_wants_more_channels() -> None:
    model = landmark_net()
    found = find_candidates(model, tiny_spec(), least_channels=16)
    fixed = {key: why for c in found for key, why in c.float_nodes.items()}
    assert fixed["encoder.stem"] == "convolution with fewer than 16 channels (3x32)"
    assert fixed["decoder.gates.0.psi"] == "convolution with fewer than 16 channels (32x1)"
    assert "decoder.gates.0.skip" not in fixed
    everything = compose(found, [c.name for c in decidable(found)])
    assert not {"encoder.stem", "decoder.gates.0.psi"} & set(everything.int8_nodes)


def test_every_product_is_in_one_candidate(
    graph: GraphFile, candidates: tuple[Candidate, ...]
) -> None:
    index = GraphIndex(graph.proto)
    keys = [k for c in candidates for k in (*c.nodes, *c.float_nodes)]
    products = ("Conv", "ConvTranspose", "MatMul", "Gemm")
    expected = [k for k, n in zip(index.keys, index.nodes, strict=True) if n.op_type in products]
    assert sorted(keys) == sorted(expected)
    assert sum(c.flops_share for c in candidates) == pytest.approx(1.0)


def test_the_rules_own_plan_can_be_composed(
    graph: GraphFile, candidates: tuple[Candidate, ...]
) -> None:
    by_rules = [c.name for c in decidable(candidates) if not c.ruled_out]
    composed = compose(candidates, by_rules)
    assert sorted(composed.int8_nodes) == sorted(default_plan(graph.proto, graph.spec).int8_nodes)
    check_plan(composed, GraphIndex(graph.proto))


def test_a_composed_plan_goes_through_json_with_its_numbers(
    graph: GraphFile, candidates: tuple[Candidate, ...]
) -> None:
    plan = compose(
        candidates,
        ["head.refine"],
        reasons={"head.refine": "pays"},
        gains_ms={"head.refine": 0.123456},
        costs_px={"head.refine": 0.01, "decoder.fusion": 0.02},
    )
    back = plan_from_json(plan.to_json())
    assert back == plan
    blocks = {b.name: b for b in back.blocks}
    assert (blocks["head.refine"].gain_ms, blocks["head.refine"].cost_px) == (0.1235, 0.01)
    assert blocks["decoder.fusion"].gain_ms is None
    assert blocks["decoder.fusion"].cost_px == 0.02
    assert '"gain_ms": null' not in plan.to_json()
    assert back.int8_nodes == ("head.refine",)
    check_plan(back, GraphIndex(graph.proto))


def test_an_unknown_name_cannot_be_chosen(candidates: tuple[Candidate, ...]) -> None:
    with pytest.raises(ValueError, match="no such candidates: nothing"):
        compose(candidates, ["nothing"])
    with pytest.raises(ValueError, match="soft_argmax"):  # has no choice
        compose(candidates, ["soft_argmax.product"])


def test_a_stage_is_one_candidate_only_where_all_of_it_is_ruled_out() -> None:
    parts = [Candidate(f"encoder.blocks.1.{i}", (f"n{i}",), ruled_out="no") for i in range(3)]
    (merged,) = _merge_stages(parts)
    assert (merged.name, merged.nodes) == ("encoder.blocks.1", ("n0", "n1", "n2"))
    kept = _merge_stages([parts[0], replace(parts[1], ruled_out=""), parts[2]])
    assert [c.name for c in kept] == [c.name for c in parts]


def test_names_without_a_nested_index_are_not_merged() -> None:
    names = ["layers.0.attention", "layers.0.mlp", "layer1.0", "layer1.1", "stem"]
    parts = [Candidate(n, (n,), ruled_out="no") for n in names]
    assert [c.name for c in _merge_stages(parts)] == names


def test_calibrated_tensors_cover_every_combination(
    graph: GraphFile, candidates: tuple[Candidate, ...], recipe: Recipe
) -> None:
    """Either operand of the residual addition, depending on which block is INT8."""
    assert set(tensors_of_candidates(graph.proto, candidates)) == set(recipe.ranges.tensors)
    names = [c.name for c in decidable(candidates)]
    for chosen in (names, names[::2], names[1::2], names[:1]):
        onnx.checker.check_model(recipe.apply(graph.proto, compose(candidates, chosen)))


def test_the_digest_tells_recipes_apart(recipe: Recipe) -> None:
    others = [
        replace(recipe, weight_bits=8),
        replace(recipe, method="entropy"),
        replace(recipe, method={"x": "entropy"}),
        replace(recipe, ranges=replace(recipe.ranges, images=99)),
    ]
    assert len({r.digest() for r in (recipe, *others)}) == 5
    assert replace(recipe, method={"x": "entropy"}).method_name == "by tensor"


def test_candidates_without_scopes(graph: GraphFile) -> None:
    found = find_candidates(landmark_net(scopes=False), tiny_spec())
    assert len(decidable(found)) >= 10
