from __future__ import annotations

from collections.abc import Sequence

import onnx
import pytest
from tiny_graphs import Builder, landmark_net, squeeze_excite

from mahtrt.graph.flops import flops_by_node
from mahtrt.graph.index import GraphIndex
from mahtrt.graph.sites import find_sites, head_positions, stem_positions, tail_positions


def names(model: onnx.ModelProto, positions: Sequence[int] | set[int]) -> set[str]:
    return {model.graph.node[p].name for p in positions}


def head_of(model: onnx.ModelProto) -> set[str]:
    return names(model, head_positions(GraphIndex(model)))


def test_stem_is_what_the_image_meets_first(model: onnx.ModelProto) -> None:
    assert names(model, stem_positions(GraphIndex(model))) == {"encoder.stem"}


def test_two_stems_on_one_image() -> None:
    b = Builder()
    both = [b.conv(b.op("Neg", ["image"], "neg"), "left", 3, 32), b.conv("image", "right", 3, 32)]
    model = b.model({"y": b.conv(b.op("Add", both, "sum"), "last", 32, 32)})
    assert names(model, stem_positions(GraphIndex(model))) == {"left", "right"}


@pytest.mark.parametrize("scopes", [True, False])
def test_head_is_the_last_stage_and_nothing_before_it(scopes: bool) -> None:
    model = landmark_net(scopes=scopes)
    assert head_of(model) == {
        "decoder.blocks.1.conv1",
        "decoder.blocks.1.conv2",
        "decoder.blocks.1.shortcut",
        "head.refine",
        "head.heatmaps",
    }


def test_heatmaps_that_are_no_output_still_make_the_head() -> None:
    model = landmark_net()
    del model.graph.output[0]
    assert {"head.refine", "head.heatmaps"} <= head_of(model)


def test_head_of_a_pose_net_is_its_last_deconvolution_and_the_map() -> None:
    b = Builder()
    x = b.conv("image", "stem", 3, 32, stride=2)
    x = b.conv(x, "body", 32, 32, stride=2)
    x = b.up(b.op("Relu", [b.up(x, "up1", 32, 32)], "relu"), "up2", 32, 32)
    model = b.model({"maps": b.conv(x, "maps", 32, 4, 1)})
    assert head_of(model) == {"up2", "maps"}


def test_head_of_a_pyramid_net_ends_where_levels_are_added() -> None:
    b = Builder()
    fine = b.conv("image", "stem", 3, 32)
    deep = b.conv(fine, "down", 32, 32, stride=2)
    x = b.op("Add", [b.resize(deep, "resize"), b.conv(fine, "lateral", 32, 32, 1)], "sum")
    model = b.model({"maps": b.conv(b.conv(x, "smooth", 32, 32), "maps", 32, 4, 1)})
    assert head_of(model) == {"smooth", "maps"}


def test_head_of_a_plain_chain_is_its_last_two_products() -> None:
    b, x = Builder(), "image"
    for i in range(6):
        x = b.conv(x, f"conv{i}", 32 if i else 3, 32)
    assert head_of(b.model({"maps": x})) == {"conv4", "conv5"}


def test_head_of_a_regressor_is_what_follows_the_pooling() -> None:
    b = Builder()
    x = b.conv(b.conv("image", "stem", 3, 32), "body", 32, 32)
    x = b.reshape(b.op("GlobalAveragePool", [x], "pool"), "flat", (1, 32))
    x = b.op("Relu", [b.linear(x, "fc1", 32, 64)], "relu")
    model = b.model({"points": b.linear(x, "fc2", 64, 14)})
    assert head_of(model) == {"fc1"}  # fc2 is too thin for INT8 in any case


def test_tail_is_the_soft_argmax(model: onnx.ModelProto) -> None:
    tail = names(model, tail_positions(GraphIndex(model)))
    assert {"soft_argmax.softmax", "soft_argmax.product", "head.sigmoid"} <= tail
    assert not tail & {"head.heatmaps", "head.refine", "transformer.layers.0.softmax"}


def test_sites_know_their_channels_and_positions(model: onnx.ModelProto) -> None:
    sites = {site.key: site for site in find_sites(GraphIndex(model))}
    conv, up, linear = (
        sites[key] for key in ("decoder.blocks.0.conv1", "decoder.blocks.0.up", "transformer.input")
    )
    assert (conv.inner, conv.outer, conv.weight_axis, conv.positions) == (128, 64, 0, 256)
    assert (up.inner, up.outer, up.weight_axis, up.positions) == (64, 64, 1, 64)
    assert (linear.inner, linear.outer, linear.weight_axis, linear.positions) == (64, 64, 0, 64)
    assert sites["encoder.blocks.0.depthwise"].groups == 32
    assert sites["encoder.blocks.0.se.reduce"].positions == 1
    assert sites["transformer.layers.0.attention.qk"].weight_shape is None
    assert sum(site.flops_share for site in sites.values()) == pytest.approx(1.0)


def test_flops_of_each_kind_of_product(model: onnx.ModelProto) -> None:
    graph = GraphIndex(model)
    flops = {graph.keys[p]: count for p, count in flops_by_node(graph).items()}
    assert flops["encoder.stem"] == 2 * 32 * 32 * 32 * 3 * 9
    assert flops["encoder.blocks.0.depthwise"] == 2 * 32 * 32 * 32 * 9
    assert flops["decoder.blocks.0.up"] == 2 * 64 * 8 * 8 * 64 * 4
    assert flops["transformer.input"] == 2 * 64 * 64 * 64
    assert flops["transformer.layers.0.mlp.up"] == 2 * 64 * 64 * 128
    assert flops["transformer.layers.0.attention.qk"] == 2 * 64 * 64 * 64


def test_nodes_without_names_are_known_by_their_outputs() -> None:
    b = Builder(scopes=False)
    model = b.model({"y": squeeze_excite(b, b.conv("image", "stem", 3, 32), "se", 32)})
    for node in model.graph.node:
        node.name = ""
    keys = GraphIndex(model).keys
    assert keys[0] == "stem_out"
    assert len(set(keys)) == len(keys)
