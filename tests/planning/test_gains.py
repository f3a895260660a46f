from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from tiny_graphs import smooth_images

from mahtrt.graph.graph_file import GraphFile
from mahtrt.planning.blocks import Candidate, compose, decidable
from mahtrt.planning.gains import OTHER, find_owners, gains_by_block, time_by_block
from mahtrt.planning.recipe import Recipe
from mahtrt.targets.layers import Layer, layers_from_profile, undisturbed
from mahtrt.targets.onnxruntime.profile import profile as profile_onnxruntime
from mahtrt.targets.openvino.profile import profile as profile_openvino

STEM, FUSION, HEAD = "encoder.stem", "decoder.fusion", "head.heatmaps"


def test_nodes_belong_to_the_product_before_them(
    graph: GraphFile, candidates: tuple[Candidate, ...]
) -> None:
    owners = find_owners(graph.proto, candidates)
    assert owners.of["head.sigmoid"] == HEAD
    assert owners.of["heatmaps"] == HEAD  # an output's name stands for its node
    assert owners.of["encoder.stem_relu"] == STEM
    assert owners.of["soft_argmax.product"] == OTHER
    assert owners.of["encoder.blocks.0.se.sigmoid"] == OTHER


def test_quantisers_belong_to_the_block_that_needs_them(
    graph: GraphFile, candidates: tuple[Candidate, ...], recipe: Recipe
) -> None:
    model = recipe.apply(graph.proto, compose(candidates, [FUSION]))
    owners = find_owners(model, candidates)
    added = {n.name for n in model.graph.node} - {n.name for n in graph.proto.graph.node}
    assert added
    assert all(owners.of[name] == FUSION for name in added)
    assert added <= owners.converters


def test_layers_are_attributed(graph: GraphFile, candidates: tuple[Candidate, ...]) -> None:
    owners = find_owners(graph.proto, candidates)
    layers = [
        Layer("conv", ("head.heatmaps/WithoutBiases", "head.sigmoid"), 1.0),
        Layer("head.refine_nchwc", ("head.refine_nchwc",), 2.0, ("reorder",)),
        Layer("reorder", ("made up",), 0.5, ("another",)),  # for what reads it
        Layer("another", ("nothing known",), 0.25, ("conv",)),
        Layer("loose", (), 0.125),
        Layer("head.relu", ("head.relu",), 4.0),
    ]
    times = time_by_block(layers, owners)
    assert times == {HEAD: 1.75, "head.refine": 6.0, OTHER: 0.125}
    assert sum(times.values()) == sum(layer.ms for layer in layers)


def test_a_fused_layer_is_shared_out_by_arithmetic(
    graph: GraphFile, candidates: tuple[Candidate, ...]
) -> None:
    owners = find_owners(graph.proto, candidates)
    share = {c.name: c.flops_share for c in candidates}
    layer = Layer("{ForeignNode}", ("head.refine", "head.relu", "head.heatmaps"), 1.0)
    times = time_by_block([layer], owners)
    assert times["head.refine"] / times[HEAD] == pytest.approx(share["head.refine"] / share[HEAD])
    assert sum(times.values()) == pytest.approx(1.0)


def test_a_gpu_layer_profile_is_understood(
    graph: GraphFile, candidates: tuple[Candidate, ...]
) -> None:
    """As TensorRT names its layers; the numbers are made up."""
    float_ms = {
        "encoder.stem + encoder.stem_relu": 1.0,
        "{ForeignNode[decoder.fusion...decoder.fusion_relu]}": 2.0,
        "PWN(head.sigmoid)": 0.5,
    }
    int8_ms = {
        "encoder.stem + encoder.stem_relu": 0.75,
        "Reformatting CopyNode for Input Tensor 0 to decoder.fusion + decoder.fusion_relu": 0.25,
        "decoder.fusion + decoder.fusion_relu": 0.5,
        "head.sigmoid": 0.625,
    }
    owners = find_owners(graph.proto, candidates)
    before, after = (
        time_by_block(layers_from_profile(table), owners) for table in (float_ms, int8_ms)
    )
    names = [c.name for c in decidable(candidates)]
    gains = gains_by_block(before, after, names)
    assert (gains[STEM], gains[FUSION], gains[HEAD]) == (0.25, 1.25, -0.125)
    assert gains["decoder.gates.0"] == 0.0
    assert OTHER not in gains


@pytest.mark.parametrize("profile", [profile_openvino, profile_onnxruntime])
@pytest.mark.parametrize("quantised", [False, True])
def test_real_layers_find_their_blocks(
    profile: Callable[..., list[Layer]],
    quantised: bool,
    graph: GraphFile,
    candidates: tuple[Candidate, ...],
    recipe: Recipe,
    tmp_path: Path,
) -> None:
    names = [c.name for c in decidable(candidates)]
    path, model = graph.path, graph.proto
    if quantised:
        model = recipe.apply(model, compose(candidates, names))
        path = tmp_path / "int8.onnx"
        onnx.save(model, path)
    tensor = smooth_images(1)[0][None]
    layers = profile(path, {"image": tensor}, threads=1)
    times = time_by_block(layers, find_owners(model, candidates))
    assert set(names) <= set(times)
    total = sum(layer.ms for layer in layers)
    assert sum(times.values()) == pytest.approx(total)
    assert total > 0
    # What has no name in the ONNX is the soft-argmax, the gates and little else.
    unknown = [layer for layer in layers if not layer.origins and not layer.readers]
    assert len(unknown) <= 2


def test_disturbed_runs_do_not_count() -> None:
    assert undisturbed([9.0, 9.0, 9.0, 1.0, 20.0, 1.1, 30.0]) == 1.1
    assert undisturbed([2.0]) == 2.0
    assert undisturbed([0.0, 0.0, 0.0, -0.01, -0.02]) == 0.0
