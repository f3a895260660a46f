"""``--plan auto``: attribution and planner, run by a build on the images it calibrates on.

INT8 and each half precision have a search of their own, on the same images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from mahtrt.build.images import ImageSets
from mahtrt.build.options import AUTO_METHOD, AUTO_PLAN, CalibrationOptions
from mahtrt.build.request import Request
from mahtrt.bundle.plan import Plan
from mahtrt.calibration.methods import DEFAULT_METHOD, DEFAULT_PERCENTILE, Method
from mahtrt.calibration.plan import default_plan
from mahtrt.data.overlap import refuse_overlap
from mahtrt.data.sample import Dataset
from mahtrt.data.subset import NetworkTensors, hold_back
from mahtrt.errors import DataError, MissingComponentError
from mahtrt.graph.graph_file import GraphFile
from mahtrt.models.families import is_known
from mahtrt.planning.blocks import find_candidates
from mahtrt.planning.matrix import Sensitivity
from mahtrt.planning.planner import PlanOptions, PlanResult, make_plan
from mahtrt.planning.recipe import NetworkToPlan, RecipeOptions, make_recipe, no_recipe
from mahtrt.planning.sensitivity import SensitivityOptions, measure_sensitivity
from mahtrt.planning.store import usable_cache
from mahtrt.planning.workbench import BenchSettings
from mahtrt.progress import StageProgress
from mahtrt.targets.graph_kinds import HalfType
from mahtrt.targets.table import TARGETS, find_target
from mahtrt.targets.target import DEFAULT_OPTIONS, EngineOptions

SENSITIVITY_IMAGES = 8
# Held back from the calibration images, so that a plan is not chosen on those that judge it.
JUDGED_IMAGES = 48
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
    """What is built in which precision.

    Attributes:
        precisions: Precisions to build: the caller's, without those that do not pay.
        plans: Precision to the plan that its engines follow: INT8's to quantise by, and those of
            half precisions that keep blocks in FP32.
        calib: Images that calibrate; None where no engine is INT8.
        searches: Precision to the planner's result, where the caller asked for a search.
        notes: What the user should know, one sentence each.
    """

    precisions: tuple[str, ...]
    plans: Mapping[str, Plan] = field(default_factory=dict)
    calib: NetworkTensors | None = None
    searches: Mapping[str, Planned] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def planned_halves(self) -> tuple[str, ...]:
        """Half precisions in which a plan keeps blocks in FP32."""
        return tuple(p for p, plan in self.plans.items() if p != "int8" and plan.fp32_nodes)


def choose_plan(request: Request, images: ImageSets, progress: StageProgress) -> PlanChoice:
    """Third stage of a build: the caller's plan, the planner's, or the one by the rules.

    Raises:
        DataError: Too few images to search with, or the same image twice among them.
        MissingComponentError: A plan is to be searched for, and no target runs here.
    """
    graph, precisions = request.graph, request.precisions
    if request.tuned is not None:
        return PlanChoice(precisions, {"int8": request.tuned.plan})
    if request.options.plan == AUTO_PLAN:
        assert images.calib is not None
        return _searched(request, images.calib, progress)
    if "int8" not in precisions:
        if request.plan is None:
            return PlanChoice(precisions)
        halves = [precision for precision in precisions if precision != "fp32"]
        return PlanChoice(precisions, dict.fromkeys(halves, request.plan))
    assert images.calib is not None
    plan = request.plan or default_plan(graph.proto, graph.spec, least_channels(request.targets))
    return PlanChoice(precisions, {"int8": plan}, NetworkTensors(images.calib, graph.spec))


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
        int8: Whether INT8 is measured; without, nothing is calibrated.
    """

    calibration: CalibrationOptions
    weight_bits: int
    cache: bool = True
    cache_dir: Path | None = None
    images: int = SENSITIVITY_IMAGES
    half: HalfType | None = None
    int8: bool = True
    least_channels: int = 1


def attribute(
    graph: GraphFile, calib: NetworkTensors, options: AttributionOptions, progress: StageProgress
) -> Attribution:
    """Measure block by block how far INT8, or half precision, moves landmarks.

    Args:
        calib: Images that calibrate; some of them are measured on.

    Raises:
        DataError, ModelError: As calibration.
        InputError, BuildError: The folder asked for cannot be a cache.
    """
    how = options.calibration
    cache, note = usable_cache(options.cache_dir) if options.cache else (None, "")
    candidates = find_candidates(graph.proto, graph.spec, options.least_channels)
    recipe = no_recipe()
    if options.int8:
        recipe = make_recipe(
            graph,
            candidates,
            calib,
            _recipe_options(options),
            progress=lambda done, of: progress("calibrating", done, of),
        )
    network = NetworkToPlan(graph, candidates, recipe)
    sensitivity = measure_sensitivity(
        network,
        list(calib.spread_out(options.images)),
        SensitivityOptions(cache=cache, half=options.half, int8=options.int8, threads=how.threads),
        progress=lambda done, of: progress("measuring sensitivity", done, of),
    )
    return Attribution(network, sensitivity, (note,) if note else ())


def _recipe_options(options: AttributionOptions) -> RecipeOptions:
    how = options.calibration
    method = DEFAULT_METHOD if how.method == AUTO_METHOD else cast("Method", how.method)
    percentile = DEFAULT_PERCENTILE if how.percentile is None else how.percentile
    return RecipeOptions(method, percentile, options.weight_bits, how.threads)


def _searched(request: Request, calib: Dataset, progress: StageProgress) -> PlanChoice:
    """The planner's choices: of INT8, and of each half precision."""
    reduced = [precision for precision in request.precisions if precision != "fp32"]
    if not reduced:
        return PlanChoice(request.precisions)
    reduced, notes = _timed(request, reduced)
    kept, judged = _split(calib)
    refuse_overlap(
        kept,
        judged,
        used_for="the planner's calibration",
        fix="Cases of --calib have an image in common: keep one of these cases.",
        progress=lambda n, of: progress("comparing the planner's images", n, of),
    )
    rest = NetworkTensors(kept, request.graph.spec)
    searches = {p: _search(request, p, rest, judged, progress) for p in reduced}
    built = tuple(dict.fromkeys(_built(p, searches) for p in request.precisions))
    # A search for INT8 may end in half precision; its own search knows better.
    found = {s.result.precision: s.result.plan for s in searches.values()}
    found |= {p: s.result.plan for p, s in searches.items() if s.result.precision == p}
    plans = {p: plan for p, plan in found.items() if p in built and p != "fp32"}
    return PlanChoice(built, plans, rest if "int8" in built else None, searches, notes)


def _timed(request: Request, precisions: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """The precisions that are planned; half precision beside them is built without a plan.

    Raises:
        MissingComponentError: None can be timed here, or INT8 cannot, which needs a plan.
    """
    timed, notes = list[str](), list[str]()
    for precision in precisions:
        try:
            _planned_for(request, precision)
            timed.append(precision)
        except MissingComponentError as error:
            if precision == "int8" or len(precisions) == 1:
                raise
            notes.append(f"{precision}: built without a plan: {error}")
    if not timed:
        _planned_for(request, precisions[0])
    return timed, tuple(notes)


def _built(precision: str, searches: Mapping[str, Planned]) -> str:
    """What is built where a precision was asked for."""
    found = searches.get(precision)
    if found is None or found.result.precision == precision:
        return precision
    return _built(found.result.precision, searches)


def may_overrule(graph: GraphFile) -> bool:
    """Whether a measurement may bring to INT8 what the spec excludes.

    What a family of mahtrt excludes is a rule, made from other networks than this one. What the
    spec of a user's own network excludes is a wish.
    """
    return is_known(graph.source.model)


def _search(
    request: Request, precision: str, rest: NetworkTensors, judged: Dataset, progress: StageProgress
) -> Planned:
    """The planner's result of one precision, within a share of the gate's limits."""
    options, graph = request.options, request.graph
    target = _planned_for(request, precision)
    half = None if precision == "int8" else cast("HalfType", precision)
    asked = _attribution_options(request, target, half)
    attribution = attribute(graph, rest, asked, progress)
    result = make_plan(
        PlanOptions(
            limits=options.limits.scaled(SHARE_OF_LIMITS),
            minutes=options.plan_minutes,
            seed=options.seed,
            consider_excluded=may_overrule(graph),
            bench=BenchSettings(
                engine=options.engine,
                images=len(judged),
                int8_float=options.int8_float,
                half=half,
                others=_targets_of(request, precision),
            ),
        ),
        attribution.network,
        attribution.sensitivity,
        target,
        judged,
        tell=lambda what: progress(f"planning: {what}", 0, 0),
    )
    return Planned(result, attribution)


def _attribution_options(
    request: Request, target: str, half: HalfType | None
) -> AttributionOptions:
    """What to measure for a plan of INT8, or of half precision alone."""
    options, kind = request.options, find_target(target)
    bits, beside = kind.weight_bits(options.weight_bits), kind.float_type(options.int8_float)
    how = (options.calibration, bits, options.cache, options.cache_dir)
    if half is not None:
        return AttributionOptions(*how, half=half, int8=False)
    return AttributionOptions(
        *how,
        half=None if beside == "fp32" else beside,
        least_channels=least_channels(_targets_of(request, "int8")),
    )


def _targets_of(request: Request, precision: str) -> tuple[str, ...]:
    return tuple(t for t in request.targets if precision in find_target(t).precisions)


def _planned_for(request: Request, precision: str) -> str:
    return planning_target(_targets_of(request, precision), request.options.engine)


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
