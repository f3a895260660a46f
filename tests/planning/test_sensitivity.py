from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from tiny_graphs import SIZE, Builder, feeds, smooth_images, soft_argmax, tiny_spec

from mahtrt.bundle.origin import SourceRecord
from mahtrt.calibration.ranges import collect_ranges
from mahtrt.digest import sha256_of_file
from mahtrt.errors import DataError, ModelError
from mahtrt.graph.flops import PRODUCTS
from mahtrt.graph.graph_file import GraphFile
from mahtrt.planning import sensitivity as module
from mahtrt.planning.blocks import Candidate, compose, decidable
from mahtrt.planning.matrix import BlockRow, Sensitivity
from mahtrt.planning.recipe import NetworkToPlan, Recipe, no_recipe, tensors_of_candidates
from mahtrt.planning.sensitivity import SensitivityOptions, measure_sensitivity
from mahtrt.precision.emulation import emulate_half
from mahtrt.precision.types import Half
from mahtrt.spec import OutputSpec

IMAGES = smooth_images(3, seed=5)


@pytest.fixture(scope="module")
def found(network: NetworkToPlan) -> Sensitivity:
    return measure_sensitivity(network, feeds(IMAGES), SensitivityOptions(threads=1))


def landmarks(model: Any) -> np.ndarray:
    """(N, K, 2) of the test images, executed literally."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options)
    return np.concatenate([session.run(["landmarks"], {"image": i[None]})[0] for i in IMAGES])


def rows_of(sensitivity: Sensitivity) -> dict[str, BlockRow]:
    return {row.name: row for row in sensitivity.blocks}


def only(network: NetworkToPlan, *names: str) -> NetworkToPlan:
    """The network with some of its blocks."""
    return replace(network, candidates=[c for c in network.candidates if c.name in names])


def test_it_is_what_the_whole_quantised_graph_gives(
    network: NetworkToPlan, found: Sensitivity
) -> None:
    """Running only what is behind a block changes nothing; the heatmap frame here is network px."""
    graph, candidates, recipe = network.graph, network.candidates, network.recipe
    reference = landmarks(graph.proto)
    for name in ("encoder.stem", "decoder.blocks.0", "transformer.layers.0.mlp", "head.heatmaps"):
        moved = landmarks(recipe.apply(graph.proto, compose(candidates, [name]))) - reference
        expected = np.hypot(moved[..., 0], moved[..., 1]).mean(axis=0)
        row = rows_of(found)[name]
        assert [c.mean_px for c in row.cells] == pytest.approx(expected.tolist(), abs=2e-3)
        assert row.mean_px > 0


def test_it_has_a_row_per_candidate_and_a_cell_per_landmark(
    candidates: tuple[Candidate, ...], found: Sensitivity
) -> None:
    assert [r.name for r in found.blocks] == [c.name for c in decidable(candidates)]
    assert all(len(row.cells) == 4 for row in found.blocks)
    assert rows_of(found)["head.heatmaps"].ruled_out.startswith("head")
    assert rows_of(found)["encoder.stem"].excluded
    assert (found.images, found.method, found.weight_bits) == (3, "minmax", 7)


def test_little_memory_changes_nothing(network: NetworkToPlan, found: Sensitivity) -> None:
    """One image at a time, one block at a time."""
    some = only(network, "decoder.fusion", "head.refine")
    tight = SensitivityOptions(memory_mib=0, threads=1)
    again = measure_sensitivity(some, feeds(IMAGES), tight)
    for row in again.blocks:
        assert row.mean_px == pytest.approx(rows_of(found)[row.name].mean_px, abs=1e-4)


def test_it_is_deterministic(network: NetworkToPlan, found: Sensitivity) -> None:
    again = measure_sensitivity(network, feeds(IMAGES), SensitivityOptions(threads=1))
    assert again.to_json() == found.to_json()


class Counting:
    """Counts the blocks that are really measured, and may stop after some."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.measured: list[str] = []
        self.stop_after, self.original = stop_after, module._Measuring.trials

    def __call__(self, measuring: Any, trials: list[Any]) -> Iterator[tuple[Any, Any]]:
        for trial, value in self.original(measuring, trials):
            if len(self.measured) == self.stop_after:
                raise KeyboardInterrupt
            self.measured.append(trial.candidate.name)
            yield trial, value


def test_an_interrupted_run_goes_on(
    network: NetworkToPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = [c for c in decidable(network.candidates) if c.name.startswith(("decoder", "head"))]
    part = replace(network, candidates=some)
    options = SensitivityOptions(cache=tmp_path, threads=1)
    first = Counting(stop_after=2)
    monkeypatch.setattr(module._Measuring, "trials", lambda *a: first(*a))
    with pytest.raises(KeyboardInterrupt):
        measure_sensitivity(part, feeds(IMAGES), options)
    second, seen = Counting(), []
    second.original = first.original
    monkeypatch.setattr(module._Measuring, "trials", lambda *a: second(*a))
    whole = measure_sensitivity(
        part, feeds(IMAGES), options, progress=lambda done, of: seen.append((done, of))
    )
    assert first.measured == [c.name for c in some[:2]]
    assert second.measured == [c.name for c in some[2:]]
    assert seen[0] == (2, len(some))
    assert seen[-1] == (len(some), len(some))
    # What is read back is what was measured.
    cached = measure_sensitivity(part, feeds(IMAGES), options)
    assert cached.to_json() == whole.to_json()
    # Another recipe, other images: nothing of it is used.
    second.measured.clear()
    one = only(network, some[0].name)
    coarse = replace(network.recipe, weight_bits=8)
    measure_sensitivity(replace(one, recipe=coarse), feeds(IMAGES), options)
    measure_sensitivity(one, feeds(IMAGES[:2]), options)
    assert second.measured == [some[0].name] * 2


def test_a_damaged_cache_is_measured_again(network: NetworkToPlan, tmp_path: Path) -> None:
    some = only(network, "head.refine")
    options = SensitivityOptions(cache=tmp_path, threads=1)
    first = measure_sensitivity(some, feeds(IMAGES), options)
    files = list((tmp_path / "sensitivity").iterdir())
    assert len(files) == 2  # the reference and the block
    for place, text in zip(files, ("{", '{"points_px": [[1]], "spread_px": []}'), strict=True):
        place.write_text(text)
    assert measure_sensitivity(some, feeds(IMAGES), options).to_json() == first.to_json()


@pytest.mark.parametrize("half", ["bf16", "fp16"])
def test_half_precision_of_a_block_is_what_the_whole_graph_gives(
    network: NetworkToPlan, half: Half
) -> None:
    names = ("encoder.stem", "decoder.blocks.0", "head.heatmaps")
    options = SensitivityOptions(half=half, threads=1)
    found = measure_sensitivity(only(network, *names), feeds(IMAGES), options)
    assert (found.half, [row.name for row in found.half_blocks]) == (half, [*names])
    proto = network.graph.proto
    products = [node.name for node in proto.graph.node if node.op_type in PRODUCTS]
    reference = landmarks(proto)
    for row in found.half_blocks:
        others = [name for name in products if name not in row.nodes]
        moved = landmarks(emulate_half(proto, half, others)) - reference
        expected = np.hypot(moved[..., 0], moved[..., 1]).mean(axis=0)
        assert [c.mean_px for c in row.cells] == pytest.approx(expected.tolist(), rel=0.2, abs=2e-3)
        assert row.mean_px > 0


def test_half_precision_is_measured_of_blocks_that_cannot_be_int8(
    network: NetworkToPlan, tmp_path: Path
) -> None:
    fixed = [c for c in network.candidates if not c.nodes]
    assert fixed
    options = SensitivityOptions(cache=tmp_path, half="bf16", threads=1)
    found = measure_sensitivity(replace(network, candidates=fixed[:1]), feeds(IMAGES), options)
    assert found.blocks == ()
    assert [row.name for row in found.half_blocks] == [fixed[0].name]
    assert found.half_blocks[0].nodes == tuple(fixed[0].float_nodes)
    told: list[tuple[int, int]] = []
    again = measure_sensitivity(
        replace(network, candidates=fixed[:1]),
        feeds(IMAGES),
        options,
        progress=lambda done, of: told.append((done, of)),
    )
    assert told == [(1, 1)]  # kept
    assert again.to_json() == found.to_json()


def test_no_images(network: NetworkToPlan) -> None:
    with pytest.raises(DataError, match="no images"):
        measure_sensitivity(network, [])


def test_a_network_without_landmarks(network: NetworkToPlan) -> None:
    graph = network.graph
    spec = replace(graph.spec, outputs=graph.spec.outputs[:1])
    with pytest.raises(ModelError, match="no output of kind landmarks"):
        measure_sensitivity(replace(network, graph=replace(graph, spec=spec)), feeds(IMAGES))


@pytest.fixture(scope="module")
def two_heads(tmp_path_factory: pytest.TempPathFactory) -> GraphFile:
    """Landmarks of one head; spreads of another; and a third output that is neither."""
    b = Builder(0, scopes=True)
    trunk = b.op("Relu", [b.conv("image", "trunk", 3, 32)], "trunk.relu")
    maps = b.op("Sigmoid", [b.conv(trunk, "maps", 32, 4)], "maps.sigmoid")
    wide = b.op("Relu", [b.conv(trunk, "width", 32, 4)], "width.relu")
    pooled = b.reshape(b.op("GlobalAveragePool", [wide], "width.pool"), "width.flat", (1, 4))
    aside = b.op("Relu", [b.conv(trunk, "aside", 32, 32)], "aside.relu")
    outputs = {"landmarks": soft_argmax(b, maps, 4, SIZE**2), "spread": pooled, "other": aside}
    model = b.model(outputs)
    path = tmp_path_factory.mktemp("heads") / "model.onnx"
    onnx.save(model, path)
    spec = tiny_spec()
    spread = OutputSpec("spread", "spread", "heatmap")
    spec = replace(spec, outputs=(spec.outputs[1], spread))
    return GraphFile(path, model, spec, SourceRecord(), None, sha256_of_file(path), 1)


def test_a_block_that_landmarks_do_not_come_from_moves_none(
    two_heads: GraphFile, tmp_path: Path
) -> None:
    blocks = [
        Candidate(name, (node.name,), flops_share=0.1)
        for node in two_heads.proto.graph.node
        for name in ("trunk", "maps", "width", "aside")
        if node.op_type == "Conv" and node.name.startswith(name)
    ]
    assert len(blocks) == 4
    tensors = tensors_of_candidates(two_heads.proto, blocks)
    recipe = Recipe(collect_ranges(two_heads.path, tensors, feeds(IMAGES), threads=1), "minmax", 7)
    for memory_mib in (0, 64):
        options = SensitivityOptions(cache=tmp_path, memory_mib=memory_mib, threads=1)
        found = measure_sensitivity(
            NetworkToPlan(two_heads, blocks, recipe), feeds(IMAGES), options
        )
        for path in (tmp_path / "sensitivity").iterdir():  # all but the reference again
            if "nodes" in json.loads(path.read_text())["key"]:
                path.unlink()
        moved = {row.name: row.mean_px for row in found.blocks}
        assert moved["width"] == moved["aside"] == 0.0
        assert min(moved["trunk"], moved["maps"]) > 0


def test_half_precision_alone_asks_for_no_ranges(network: NetworkToPlan) -> None:
    both = measure_sensitivity(network, feeds(IMAGES), SensitivityOptions(half="bf16", threads=1))
    bare = NetworkToPlan(network.graph, network.candidates, no_recipe())
    alone = measure_sensitivity(
        bare, feeds(IMAGES), SensitivityOptions(half="bf16", int8=False, threads=1)
    )
    assert (alone.blocks, alone.half_blocks) == ((), both.half_blocks)
    assert alone.units == both.units
