"""``--plan auto``: attribution and planner, run by a build on the images it calibrates on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mahtrt.build.options import AUTO_METHOD, AUTO_PLAN, CalibrationOptions, Tell
from mahtrt.calibration.methods import DEFAULT_METHOD, DEFAULT_PERCENTILE, Method
from mahtrt.data.sample import Dataset
from mahtrt.data.subset import NetworkTensors, hold_back, spread_out
from mahtrt.errors import DataError, MissingComponentError
from mahtrt.graph.graph_file import GraphFile
from mahtrt.measure.limits import Limits
from mahtrt.planning.blocks import Candidate, find_candidates
from mahtrt.planning.matrix import Sensitivity
from mahtrt.planning.planner import PlanOptions, PlanResult, make_plan
from mahtrt.planning.recipe import Recipe, make_recipe
from mahtrt.planning.sensitivity import SensitivityOptions, measure_sensitivity
from mahtrt.planning.workbench import BenchSettings
from mahtrt.targets.targets import TARGETS, find_target
from mahtrt.targets.tensorrt.options import TensorRtOptions
from mahtrt.targets.tensorrt.profile import check_runs_here

SENSITIVITY_IMAGES = 8
# Held back from the calibration images, so that a plan is not chosen on those that judge it.
JUDGED_IMAGES = 16
# The planner's share of every limit: the gate measures on other images, some of them worse.
SHARE_OF_LIMITS = 0.8


@dataclass(frozen=True, slots=True)
class Attribution:
    """What planning begins with: blocks, scales for all of them, and what each costs in pixels."""

    candidates: tuple[Candidate, ...]
    recipe: Recipe
    sensitivity: Sensitivity


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and what it rests on.

    Attributes:
        calib: The images that calibrated it; the others judged it.
    """

    result: PlanResult
    attribution: Attribution
    calib: Dataset


def attribute(
    graph: GraphFile,
    calib: Dataset,
    options: CalibrationOptions,
    *,
    weight_bits: int,
    cache: Path | None,
    images: int = SENSITIVITY_IMAGES,
    tell: Tell,
) -> Attribution:
    """Measure block by block how far INT8 moves landmarks.

    Args:
        calib: Calibrates; some of it is measured on.
        cache: Folder that keeps results between runs, None for none.
        images: How many are measured on.

    Raises:
        DataError, ModelError: As calibration.
    """
    candidates = find_candidates(graph.proto, graph.spec)
    method: Method = DEFAULT_METHOD if options.method == AUTO_METHOD else options.method  # type: ignore[assignment]
    recipe = make_recipe(
        graph,
        candidates,
        NetworkTensors(calib, graph.spec.input),
        method=method,
        weight_bits=weight_bits,
        percentile=DEFAULT_PERCENTILE if options.percentile is None else options.percentile,
        threads=options.threads,
        progress=lambda done, of: tell("calibrating", done, of),
    )
    few = NetworkTensors(spread_out(calib, images), graph.spec.input)
    sensitivity = measure_sensitivity(
        graph,
        candidates,
        recipe,
        list(few),
        SensitivityOptions(cache=cache, threads=options.threads),
        progress=lambda done, of: tell("measuring sensitivity", done, of),
    )
    return Attribution(candidates, recipe, sensitivity)


def plan_for(
    graph: GraphFile,
    calib: Dataset,
    options: CalibrationOptions,
    *,
    target: str,
    limits: Limits,
    minutes: float,
    weight_bits: int,
    cache: Path | None,
    int8_float: str = "fp16",
    tensorrt: TensorRtOptions | None = None,
    seed: int = 0,
    tell: Tell,
) -> Planned:
    """Plan for a target, within a share of the gate's limits.

    Args:
        int8_float, tensorrt: Of a TensorRT build.

    Raises:
        MissingComponentError: The target does not run here, so nothing can be timed.
        DataError: Too few images: some calibrate, others judge.
    """
    if len(calib) < 2:
        raise DataError(
            calib.source,
            got=f"{len(calib)} image to calibrate on",
            expected=f"at least 2 for --plan {AUTO_PLAN}: some calibrate, others judge plans",
            fix="Give --calib some dozens of images.",
        )
    rest, judged = hold_back(calib, min(JUDGED_IMAGES, max(1, len(calib) // 4)))
    attribution = attribute(graph, rest, options, weight_bits=weight_bits, cache=cache, tell=tell)
    result = make_plan(
        PlanOptions(
            limits=limits.scaled(SHARE_OF_LIMITS),
            minutes=minutes,
            seed=seed,
            bench=BenchSettings(
                threads=options.threads,
                images=len(judged),
                int8_float=int8_float,  # type: ignore[arg-type]
                tensorrt=tensorrt or TensorRtOptions(),
            ),
        ),
        graph,
        attribution.candidates,
        attribution.recipe,
        attribution.sensitivity,
        target,
        judged,
        tell=lambda what: tell(f"planning: {what}", 0, 0),
    )
    return Planned(result, attribution, rest)


def planning_target(targets: Sequence[str], tensorrt: TensorRtOptions | None = None) -> str:
    """Which of a build's targets to plan for: a GPU's where it runs here, else as in the table.

    Raises:
        MissingComponentError: None of them runs here.
    """
    able = [name for name in TARGETS if name in targets and find_target(name).runs_here]
    if not able:
        for name in targets:
            check_runs_here(name, tensorrt)  # says what is missing
        raise MissingComponentError(
            f"--plan {AUTO_PLAN}",
            got=f"target {', '.join(targets)}, of which none runs on this machine",
            expected="one that can be timed here",
        )
    return next((name for name in able if find_target(name).needs_gpu), able[0])
