"""Plans as real engines, on a network of a few thousand weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cpus import OPENVINO_ROUNDS, Cpu
from planning_fixtures import Photographs
from tiny_graphs import feeds, smooth_images

from mahtrt.bundle.plan import load_plan, save_plan
from mahtrt.errors import DataError, UsageError
from mahtrt.graph.graph_file import GraphFile
from mahtrt.measure.limits import Limits
from mahtrt.planning.blocks import Candidate, compose, in_fp32
from mahtrt.planning.matrix import Sensitivity
from mahtrt.planning.planner import PlanOptions, make_plan
from mahtrt.planning.proposals import BASELINES
from mahtrt.planning.recipe import NetworkToPlan, RecipeOptions, make_recipe
from mahtrt.planning.sensitivity import SensitivityOptions, measure_sensitivity
from mahtrt.planning.workbench import BenchSettings, TargetBench
from mahtrt.targets.openvino.target import OpenVino
from mahtrt.targets.target import EngineOptions

pytestmark = pytest.mark.slow

# What rounding a landmark to BF16 would move it by: half a step of the numbers from 16 to 32.
BF16_PX = 1 / 16
SETTINGS = BenchSettings(EngineOptions(threads=1), images=3, rounds=5, min_rounds=3)


@pytest.fixture(scope="module")
def sensitivity(network: NetworkToPlan) -> Sensitivity:
    options = SensitivityOptions(threads=1)
    return measure_sensitivity(network, feeds(smooth_images(2, seed=5)), options)


@pytest.mark.parametrize(
    ("target", "kind", "least_px", "most_px"),
    [
        ("openvino", "avx2", 0.0, 1e-3),
        ("openvino", "bf16", 1e-3 * OPENVINO_ROUNDS, BF16_PX),
        ("onnxruntime", "bf16", 0.0, 1e-3),
    ],
)
def test_plans_become_engines(
    target: str,
    kind: str,
    least_px: float,
    most_px: float,
    cpu: Callable[[str], Cpu],
    network: NetworkToPlan,
) -> None:
    candidates = network.candidates
    cpu(kind)
    with TargetBench(network, target, Photographs(3), SETTINGS) as bench:
        nothing, one = compose(candidates, ()), compose(candidates, ["decoder.blocks.0"])
        floating: Any = bench.accuracy(nothing)
        assert least_px <= floating.max_px <= most_px
        found: Any = bench.accuracy(one)
        assert 0 < found.mean_px <= found.worst_landmark_mean_px <= found.max_px
        assert found.images == 3
        timings = bench.race({"float": nothing, "one": one}, seconds=0.0, seed=0)
        assert {t.runs for t in timings.values()} == {3}  # the least, though no time was given
        folder = bench._folder
        assert bench.block_times_ms(one)["decoder.blocks.0"] > 0
        before = len(list(folder.iterdir()))
        bench.forget(one)
        assert len(list(folder.iterdir())) == before - 1
        assert bench.accuracy(one) is found  # kept, and not measured again
        assert len(list(folder.iterdir())) == before - 1
    assert not folder.exists()


@pytest.mark.parametrize("target", ["openvino", "onnxruntime"])
def test_a_network_is_planned_for_each_target(
    target: str, network: NetworkToPlan, sensitivity: Sensitivity, tmp_path: Path
) -> None:
    candidates = network.candidates
    told: list[str] = []
    limits = Limits(1.0, 5.0)
    result = make_plan(
        PlanOptions(limits, minutes=1e-3, bench=SETTINGS),
        network,
        sensitivity,
        target,
        Photographs(3),
        tell=told.append,
    )
    assert set(BASELINES) <= {row.name for row in result.rows}
    assert result.target == target
    assert told[0] == "measuring layer times"
    assert target in result.conclusion
    assert [b.name for b in result.plan.blocks] == [c.name for c in candidates]
    assert not any(
        b.precision == "int8" and b.name.startswith("encoder") for b in result.plan.blocks
    )
    chosen = next((r for r in result.rows if r.blocks and not r.over and result.uses_int8), None)
    assert chosen is None or not limits.over(chosen.accuracy, "int8")
    save_plan(result.plan, tmp_path / "plan.json")
    assert load_plan(tmp_path / "plan.json") == result.plan


def test_a_network_without_anything_to_decide(
    graph: GraphFile, candidates: tuple[Candidate, ...]
) -> None:
    fixed = tuple(c for c in candidates if not c.nodes)
    images = smooth_images(1)
    recipe = make_recipe(graph, fixed, feeds(images), RecipeOptions(threads=1))
    assert recipe.ranges.images == 0
    network = NetworkToPlan(graph, fixed, recipe)
    matrix = measure_sensitivity(network, feeds(images), SensitivityOptions(threads=1))
    assert matrix.blocks == ()
    data = Photographs(1)
    result = make_plan(PlanOptions(), network, matrix, "onnxruntime", data)
    assert "nothing to decide for onnxruntime" in result.conclusion
    assert [block.precision for block in result.plan.blocks] == ["float"] * len(fixed)


def test_what_cannot_be_planned_is_refused(
    network: NetworkToPlan, sensitivity: Sensitivity
) -> None:
    def plan(options: PlanOptions, matrix: Sensitivity, images: int = 1) -> None:
        data = Photographs(images)
        make_plan(options, network, matrix, "onnxruntime", data)

    with pytest.raises(UsageError, match="more than 0"):
        plan(PlanOptions(minutes=0.0), sensitivity)
    with pytest.raises(UsageError, match="budget"):
        plan(PlanOptions(Limits(-1.0)), sensitivity)
    with pytest.raises(DataError, match="no evaluation images"):
        plan(PlanOptions(), sensitivity, images=0)
    with pytest.raises(DataError, match="another graph"):
        plan(PlanOptions(), replace(sensitivity, onnx_sha256="0" * 64))
    with pytest.raises(DataError, match=r"no block 'encoder\.stem'"):
        plan(PlanOptions(), replace(sensitivity, blocks=sensitivity.blocks[1:]))


def test_plans_of_half_precision_become_engines(network: NetworkToPlan) -> None:
    names = [candidate.name for candidate in network.candidates]
    settings = replace(SETTINGS, half="bf16")
    with TargetBench(network, "onnxruntime", Photographs(3), settings) as bench:
        assert bench.float_precision == "bf16"  # beside INT8 it is FP32 there
        moved = [
            bench.accuracy(compose(network.candidates, [in_fp32(n) for n in kept])).mean_px
            for kept in ((), names[1:], names)
        ]
    whole, first, none = (float(px or 0.0) for px in moved)
    assert whole > first > none
    assert none == pytest.approx(0, abs=1e-5)


def test_a_block_is_kept_where_every_target_of_the_plan_keeps_it(
    network: NetworkToPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenVino, "keeps_fp32", lambda *_, weighted: not weighted)
    kept = []
    for others in ((), ("openvino",)):
        settings = replace(SETTINGS, half="bf16", others=others)
        with TargetBench(network, "onnxruntime", Photographs(1), settings) as bench:
            kept.append([bench.keeps_fp32(candidate) for candidate in network.candidates])
    assert all(kept[0])
    assert not any(kept[1])


def test_half_precision_is_not_planned_without_its_own_sensitivity(
    network: NetworkToPlan, sensitivity: Sensitivity
) -> None:
    asked = PlanOptions(minutes=0.01, bench=replace(SETTINGS, half="bf16"))
    with pytest.raises(DataError, match="sensitivity: got another graph, or no block"):
        make_plan(asked, network, sensitivity, "onnxruntime", Photographs(2))
    options = SensitivityOptions(threads=1, half="bf16", int8=False)
    found = measure_sensitivity(network, feeds(smooth_images(2, seed=5)), options)
    result = make_plan(asked, network, found, "onnxruntime", Photographs(2))
    assert result.precision in ("bf16", "fp32")
    assert not result.uses_int8
    other = replace(asked, bench=replace(SETTINGS, half="fp16"))
    with pytest.raises(DataError, match="sensitivity: got another graph, or no block"):
        make_plan(other, network, found, "onnxruntime", Photographs(2))
