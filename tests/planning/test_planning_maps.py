"""Sensitivity, choice of methods and a plan for a network of two images without landmarks."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_maps
from sample_list import SampleList

from mahtrt.build.calibrated import OutputError
from mahtrt.bundle.origin import SourceRecord
from mahtrt.calibration.ranges import collect_ranges
from mahtrt.data.feed import stack
from mahtrt.data.sample import Sample
from mahtrt.data.subset import NetworkTensors
from mahtrt.digest import sha256_of_file
from mahtrt.graph.graph_file import GraphFile
from mahtrt.measure.distances import Target
from mahtrt.measure.limits import Limits
from mahtrt.planning.blocks import compose, decidable, find_candidates
from mahtrt.planning.matrix import Sensitivity, other_cells, summary_rows
from mahtrt.planning.picture import draw_picture
from mahtrt.planning.planner import PlanOptions, make_plan
from mahtrt.planning.proposals import Knowledge, costs_from, fill
from mahtrt.planning.recipe import NetworkToPlan, Recipe, tensors_of_candidates
from mahtrt.planning.sensitivity import SensitivityOptions, measure_sensitivity
from mahtrt.planning.workbench import BenchSettings

SPEC = tiny_maps.spec_of("baseline", "followup")


def pairs(count: int, seed: int = 0) -> SampleList:
    images = [tiny_maps.make_image(seed + i) for i in range(2 * count)]
    return SampleList(
        [Sample(f"{i}", images[2 * i], others=(images[2 * i + 1],)) for i in range(count)], "pairs"
    )


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> NetworkToPlan:
    path = tmp_path_factory.mktemp("maps") / "model.onnx"
    model = tiny_maps.make_model(SPEC)
    onnx.save(model, path)
    graph = GraphFile(path, model, SPEC, SourceRecord(), None, sha256_of_file(path), 1)
    candidates = find_candidates(model, SPEC)
    tensors = tensors_of_candidates(model, candidates)
    ranges = collect_ranges(path, tensors, NetworkTensors(pairs(4), SPEC), threads=1)
    return NetworkToPlan(graph, candidates, Recipe(ranges, "minmax", 7))


@pytest.fixture(scope="module")
def sensitivity(network: NetworkToPlan) -> Sensitivity:
    cases = list(NetworkTensors(pairs(3, seed=50), SPEC))
    return measure_sensitivity(network, cases, SensitivityOptions(threads=1))


def test_the_matrix_has_a_column_for_the_map_and_one_per_label(
    network: NetworkToPlan, sensitivity: Sensitivity
) -> None:
    assert sensitivity.landmarks == ("change", "mass", "edema")
    assert {row.name for row in sensitivity.blocks} == {
        c.name for c in decidable(network.candidates)
    }
    assert sensitivity.units == ("map", "logit", "logit")
    for row in sensitivity.blocks:
        change, *labels = row.cells
        assert 0 < change.mean_px < 0.05
        assert change.bias_px <= change.mean_px + 1e-12
        assert all(math.hypot(c.bias_px, c.spread_px) >= c.mean_px - 1e-9 for c in labels)
    assert sensitivity.unit == "px or as far"
    assert json.loads(sensitivity.to_json())["blocks"][0]["cells"][0]["unit"] == "map"
    assert summary_rows(sensitivity)[0]["mean_px"] > 0
    assert draw_picture(sensitivity).width > 100


def test_what_was_measured_is_read_again(
    network: NetworkToPlan, sensitivity: Sensitivity, tmp_path: Path
) -> None:
    cases = list(NetworkTensors(pairs(3, seed=50), SPEC))
    options = SensitivityOptions(cache=tmp_path / "cache", threads=1)
    first = measure_sensitivity(network, cases, options)
    told: list[tuple[int, int]] = []
    again = measure_sensitivity(network, cases, options, progress=lambda *n: told.append(n))
    assert told == [(len(first.blocks), len(first.blocks))]
    assert again == first
    assert [c.mean_px for c in first.blocks[0].cells] == pytest.approx(
        [c.mean_px for c in sensitivity.blocks[0].cells], rel=1e-6
    )


def test_a_cell_of_a_map_that_is_not_finite_is_infinite() -> None:
    (cell,) = other_cells(np.array([[[0.1, 0.1]], [[np.inf, np.inf]]]), [Target("a", "map")])
    assert (cell.mean_px, cell.max_px, cell.unit) == (math.inf, math.inf, "map")


def test_the_error_of_a_trial_counts_maps_and_labels(network: NetworkToPlan) -> None:
    feed = stack(list(NetworkTensors(pairs(2, seed=9), SPEC)))
    error = OutputError(network.graph, feed, 1)
    assert error(network.graph.proto) == 0
    everything = compose(network.candidates, [c.name for c in decidable(network.candidates)])
    assert 0 < error(network.recipe.apply(network.graph.proto, everything)) < 1


def test_guesses_stay_within_the_limit_of_maps(sensitivity: Sensitivity) -> None:
    costs = costs_from(sensitivity.blocks)
    names = tuple(costs)
    gains = dict.fromkeys(names, 1.0)
    known = Knowledge((), names, gains, costs, sensitivity.units)
    least = min(float(cost[0]) for cost in costs.values())
    # fill orders by candidates, of which there are none here: it is asked through its limits.
    assert known.cost_in_words(names[0]).endswith("px or as far")
    assert fill(known, names, Limits(map_mean=least / 2)) == ()


def test_a_plan_is_found_within_the_limits(
    network: NetworkToPlan, sensitivity: Sensitivity
) -> None:
    limits = Limits(map_mean=0.02, map_ssim=0.5)
    options = PlanOptions(
        limits=limits, minutes=0.02, bench=BenchSettings(images=2, rounds=3, min_rounds=2)
    )
    result = make_plan(options, network, sensitivity, "onnxruntime", pairs(2, seed=80))
    plan = json.loads(json.dumps(result.to_dict()))
    assert plan["last_race"][0]["accuracy"]["maps"][0]["name"] == "change"
    assert all(row.accuracy.mean_px is None for row in result.rows)
    assert "landmarks" not in result.conclusion or not result.uses_int8
