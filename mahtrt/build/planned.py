"""``--plan auto``: attribution and planner, run by a build on the images it calibrates on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mahtrt.build.images import ImageSets
from mahtrt.build.options import AUTO_METHOD, AUTO_PLAN, CalibrationOptions
from mahtrt.build.request import Request
from mahtrt.bundle.plan import Plan, load_plan
from mahtrt.calibration.methods import DEFAULT_METHOD, DEFAULT_PERCENTILE, Method
from mahtrt.calibration.plan import default_plan
from mahtrt.data.overlap import refuse_overlap
from mahtrt.data.sample import Dataset
from mahtrt.data.subset import NetworkTensors, hold_back
from mahtrt.errors import DataError, MissingComponentError
from mahtrt.graph.graph_file import GraphFile
from mahtrt.planning.blocks import find_candidates
from mahtrt.planning.matrix import Sensitivity
from mahtrt.planning.planner import PlanOptions, PlanResult, make_plan
from mahtrt.planning.recipe import NetworkToPlan, RecipeOptions, make_recipe
from mahtrt.planning.sensitivity import SensitivityOptions, measure_sensitivity
from mahtrt.planning.store import usable_cache
from mahtrt.planning.workbench import BenchSettings
from mahtrt.progress import StageProgress
from mahtrt.targets.graph_kinds import HalfType
from mahtrt.targets.table import TARGETS, find_target
from mahtrt.targets.target import DEFAULT_OPTIONS, EngineOptions

SENSITIVITY_IMAGES = 8
# Held back from the calibration images, so that a plan is not chosen on those that judge it.
JUDGED_IMAGES = 16
# The planner's share of every limit: the gate measures on other images, some of them worse.
SHARE_OF_LIMITS = 0.8


@dataclass(frozen=True, slots=True)
class Attribution:
    """What planning begins with: blocks, scales for all of them, and what each costs in pixels.

    Attributes:
        notes: What the user should know, one sentence each.
    """

    network: NetworkToPlan
    sensitivity: Sensitivity
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan that the planner searched for, and what it rests on."""

    result: PlanResult
    attribution: Attribution


@dataclass(frozen=True, slots=True, eq=False)
class PlanChoice:
    """What becomes INT8, and what is built because of it.

    Attributes:
        precisions: Precisions to build: the caller's, without INT8 where it does not pay.
        plan: Plan to quantise by; None where no engine is INT8.
        calib: Images that calibrate; None where no engine is INT8.
        planned: The planner's result, where the caller asked for a search.
    """

    precisions: tuple[str, ...]
    plan: Plan | None = None
    calib: NetworkTensors | None = None
    planned: Planned | None = None


def choose_plan(request: Request, images: ImageSets, progress: StageProgress) -> PlanChoice:
    """Third stage of a build: the caller's plan, the planner's, or the one by the rules.

    Raises:
        SpecError, DataError: A plan file that cannot be used.
        MissingComponentError: A plan is to be searched for, and no target runs here.
    """
    options, graph = request.options, request.graph
    if "int8" not in request.precisions:
        return PlanChoice(request.precisions)
    calib = images.calib
    assert calib is not None
    if options.plan == AUTO_PLAN:
        return _searched(request, calib, progress)
    if options.plan is not None:
        plan = load_plan(Path(options.plan))
    else:
        plan = default_plan(graph.proto, graph.spec, least_channels(request.targets))
    return PlanChoice(request.precisions, plan, NetworkTensors(calib, graph.spec))


@dataclass(frozen=True, slots=True)
class AttributionOptions:
    """How the cost of reduced precision is measured block by block.

    Attributes:
        calibration: How scales are found.
        weight_bits: Bits of INT8 weights.
        cache: Keep results between runs.
        cache_dir: Folder in which they are kept; None is the user's cache.
        images: Number of images that are measured on.
        half: Half precision to measure beside INT8; None for INT8 alone.
        least_channels: The fewest channels of an INT8 convolution that the targets want.
    """

    calibration: CalibrationOptions
    weight_bits: int
    cache: bool = True
    cache_dir: Path | None = None
    images: int = SENSITIVITY_IMAGES
    half: HalfType | None = None
    least_channels: int = 1


def attribute(
    graph: GraphFile, calib: NetworkTensors, options: AttributionOptions, progress: StageProgress
) -> Attribution:
    """Measure block by block how far INT8 moves landmarks.

    Args:
        calib: Images that calibrate; some of them are measured on.

    Raises:
        DataError, ModelError: As calibration.
        InputError, BuildError: The folder asked for cannot be a cache.
    """
    how = options.calibration
    cache, note = usable_cache(options.cache_dir) if options.cache else (None, "")
    candidates = find_candidates(graph.proto, graph.spec, options.least_channels)
    method: Method = DEFAULT_METHOD if how.method == AUTO_METHOD else how.method  # type: ignore[assignment]
    percentile = DEFAULT_PERCENTILE if how.percentile is None else how.percentile
    recipe = make_recipe(
        graph,
        candidates,
        calib,
        RecipeOptions(method, percentile, options.weight_bits, how.threads),
        progress=lambda done, of: progress("calibrating", done, of),
    )
    network = NetworkToPlan(graph, candidates, recipe)
    sensitivity = measure_sensitivity(
        network,
        list(calib.spread_out(options.images)),
        SensitivityOptions(cache=cache, half=options.half, threads=how.threads),
        progress=lambda done, of: progress("measuring sensitivity", done, of),
    )
    return Attribution(network, sensitivity, (note,) if note else ())


def _searched(request: Request, calib: Dataset, progress: StageProgress) -> PlanChoice:
    """The planner's choice, within a share of the gate's limits."""
    options, graph = request.options, request.graph
    target = planning_target(request.targets, options.engine)
    kept, judged = _split(calib)
    refuse_overlap(
        kept,
        judged,
        used_for="the planner's calibration",
        fix="Cases of --calib have an image in common: keep one of these cases.",
        progress=lambda n, of: progress("comparing the planner's images", n, of),
    )
    rest = NetworkTensors(kept, graph.spec)
    attribution = attribute(graph, rest, _attribution_options(request, target), progress)
    result = make_plan(
        PlanOptions(
            limits=options.limits.scaled(SHARE_OF_LIMITS),
            minutes=options.plan_minutes,
            seed=options.seed,
            bench=BenchSettings(
                engine=options.engine,
                images=len(judged),
                int8_float=options.int8_float,
            ),
        ),
        attribution.network,
        attribution.sensitivity,
        target,
        judged,
        tell=lambda what: progress(f"planning: {what}", 0, 0),
    )
    planned = Planned(result, attribution)
    if result.uses_int8:
        return PlanChoice(request.precisions, result.plan, rest, planned)
    instead = result.instead_of_int8
    precisions = dict.fromkeys(instead if p == "int8" else p for p in request.precisions)
    return PlanChoice(tuple(precisions), planned=planned)


def _attribution_options(request: Request, target: str) -> AttributionOptions:
    options, kind = request.options, find_target(target)
    bits, beside = kind.weight_bits(options.weight_bits), kind.float_type(options.int8_float)
    how = (options.calibration, bits, options.cache, options.cache_dir)
    return AttributionOptions(
        *how,
        half=None if beside == "fp32" else beside,
        least_channels=least_channels(request.targets),
    )


def _split(calib: Dataset) -> tuple[Dataset, Dataset]:
    """Images that calibrate, and images that plans are judged on."""
    if len(calib) < 2:
        raise DataError(
            calib.source,
            got=f"{len(calib)} image to calibrate on",
            expected=f"at least 2 for --plan {AUTO_PLAN}: some calibrate, others judge plans",
            fix="Give --calib some dozens of images.",
        )
    return hold_back(calib, min(JUDGED_IMAGES, max(1, len(calib) // 4)))


def least_channels(targets: Sequence[str]) -> int:
    """The fewest channels of an INT8 convolution that every target of a build wants."""
    return max((find_target(name).least_int8_channels for name in targets), default=1)


def planning_target(targets: Sequence[str], options: EngineOptions = DEFAULT_OPTIONS) -> str:
    """Which of a build's targets to plan for: of those that run here, the one of highest rank.

    Raises:
        MissingComponentError: None of them runs here.
    """
    able = [name for name in TARGETS if name in targets and find_target(name).runs_here]
    if not able:
        for name in targets:
            find_target(name).check_timing(options)  # says what is missing
        raise MissingComponentError(
            f"--plan {AUTO_PLAN}",
            got=f"target {', '.join(targets)}, of which none runs on this machine",
            expected="one that can be timed here",
        )
    return max(able, key=lambda name: find_target(name).rank)
