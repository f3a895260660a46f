"""``mahtrt calibrate``: ranges, the calibration card, and what precision costs block by block."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from mahtrt.errors import UsageError
from mahtrt.progress import StageProgress, silent
from mahtrt.targets.graph_kinds import HALVES, HalfType
from mahtrt.verbs.choices import one_of
from mahtrt.verbs.command import DATA, MEASURING, OUTPUT, PLAN, argument, as_command, option
from mahtrt.verbs.console import StageDisplay, answer, hint, say, show, write_json
from mahtrt.verbs.documents import calibrate_document
from mahtrt.verbs.options import (
    DATA_HELP,
    Cache,
    CacheDir,
    CalibrationArguments,
    Explain,
    Json,
    Ray,
    SkipBad,
    Threads,
)

if TYPE_CHECKING:
    from mahtrt.build.calibrated import Calibrated
    from mahtrt.build.options import CalibrationOptions
    from mahtrt.build.planned import Attribution
    from mahtrt.bundle.origin import CardRecord
    from mahtrt.bundle.plan import Plan
    from mahtrt.calibration.ranges import Ranges
    from mahtrt.data.subset import NetworkTensors
    from mahtrt.graph.graph_file import GraphFile
    from mahtrt.planning.matrix import Sensitivity
    from mahtrt.verbs.tables import FittedTable

SHOWN_TENSORS = 3  # of those that saturate
CARD_LEGEND = (
    "scales within N% of the final ones: how far the scales after so many images were from those "
    "after all of them; large numbers say that more images would change the ranges.",
    "saturates: share of a tensor's values that its range does not hold.",
)
SENSITIVITY_LEGEND = (
    "moved: how far INT8 in this block alone moves the landmarks, or changes the other outputs, on "
    "average.",
    "shift, spread: the part of it that is the same in all images, and the part that is not.",
    "worst landmark, worst target: the one that is moved or changed most, and by how much.",
    "in bf16, in fp16: the same average with the block in half precision.",
    "by the rules: what the fixed rules make of the block where no plan is given.",
)


@dataclass(frozen=True, slots=True)
class CalibrateOptions:
    """What to calibrate, and where the results go.

    Attributes:
        onnx: The FP32 export.
        calib: DATA.
        out: A folder; files of these names in it are replaced.
        sensitivity: Also measure what INT8 and half precision cost block by block.
        half: Half precision of the sensitivity.
        images: How many images that is measured on.
        plan: A plan file instead of the rules' plan.
        method: How ranges are found, with ``percentile``; see :class:`mahtrt.BuildOptions`.
        weight_bits: 8, 7, or None: what is safe on this CPU.
        skip_bad: Leave unreadable images out.
        cache: Keep sensitivities between runs.
        cache_dir: Folder in which they are kept; None is the user's cache.
        threads: Threads of one inference.
        ray: Collect the ranges on Ray: ``local``, ``auto`` or HOST:PORT of a cluster
            (docs/scale.md); None collects them in this process.
    """

    onnx: Path
    calib: str
    out: Path = Path("calibration")
    sensitivity: bool = False
    half: str = "bf16"
    images: int = 8
    plan: Path | None = None
    method: str = "minmax"
    percentile: float | None = None
    weight_bits: int | None = None
    skip_bad: bool = False
    cache: bool = True
    cache_dir: Path | None = None
    threads: int | None = None
    ray: str | None = None

    @property
    def calibration(self) -> CalibrationOptions:
        """How ranges are found."""
        from mahtrt.build.options import CalibrationOptions

        return CalibrationOptions(self.method, self.percentile, self.threads)


@dataclass(frozen=True, slots=True)
class CalibrateResult:
    """The card, the sensitivity where it was asked for, and the names of the files written.

    Attributes:
        notes: What the user should know, one sentence each.
    """

    card: CardRecord
    sensitivity: Sensitivity | None
    written: tuple[str, ...]
    notes: tuple[str, ...] = ()


def calibrate(options: CalibrateOptions, progress: StageProgress = silent) -> CalibrateResult:
    """Calibrate, and write ``plan.json``, ``ranges.json``, ``card.json`` and, where asked for,
    ``sensitivity.json`` and ``sensitivity.png``.

    Raises:
        ModelError: The ONNX is not an export of mahtrt.
        DataError: Images that are missing, empty, random or constant.
        UsageError: A plan without INT8, or a method or place that cannot be.
    """
    from mahtrt.build.calibrated import calibrate
    from mahtrt.build.options import check_calibration
    from mahtrt.bundle.plan import load_plan
    from mahtrt.calibration.plan import default_plan
    from mahtrt.calibration.qdq import tensors_to_calibrate
    from mahtrt.data.datasets import open_dataset
    from mahtrt.data.screening import refuse_unreal_images
    from mahtrt.data.subset import NetworkTensors
    from mahtrt.graph.graph_file import read_graph
    from mahtrt.machine import describe_machine
    from mahtrt.targets.cpu import weight_bits_here

    check_calibration(options.calibration)
    _check_cluster(options)
    if options.half not in HALVES:
        raise UsageError("--half", got=repr(options.half), expected=" or ".join(HALVES))
    if options.out.exists() and not options.out.is_dir():
        raise UsageError(str(options.out), got="a file", expected="a folder, or a free name")
    graph = read_graph(options.onnx)
    calib = open_dataset(options.calib, skip_bad=options.skip_bad, inputs=graph.spec.input_names)
    refuse_unreal_images(calib)
    images = NetworkTensors(calib, graph.spec)
    bits = options.weight_bits or weight_bits_here(describe_machine())
    plan = load_plan(options.plan) if options.plan else default_plan(graph.proto, graph.spec)
    measured = _attribution(graph, images, options, bits, progress) if options.sensitivity else None
    ranges = measured.network.recipe.ranges if measured else None
    if options.ray is not None and tensors_to_calibrate(graph.proto, plan):
        ranges = _ranges_on_cluster(graph, plan, len(calib), options, progress)
    how = replace(options.calibration, trial_bits=bits)
    found = calibrate(graph, images, plan, how, progress, ranges)
    sensitivity = measured.sensitivity if measured else None
    written = _write(options.out, found, sensitivity)
    return CalibrateResult(found.card, sensitivity, written, measured.notes if measured else ())


def _check_cluster(options: CalibrateOptions) -> None:
    """Refuse what a cluster does not do.

    Raises:
        UsageError: Sensitivities, or images to leave out, are asked for.
    """
    for name, asked in (("--sensitivity", options.sensitivity), ("--skip-bad", options.skip_bad)):
        if options.ray is not None and asked:
            raise UsageError("--ray", got=name, expected="one of the two alone")


def _ranges_on_cluster(
    graph: GraphFile, plan: Plan, images: int, options: CalibrateOptions, progress: StageProgress
) -> Ranges:
    """The ranges of the plan's tensors, collected by many workers."""
    from mahtrt.calibration.methods import DEFAULT_PERCENTILE
    from mahtrt.calibration.on_cluster import RangeWork, collect_on_cluster
    from mahtrt.calibration.qdq import tensors_to_calibrate

    assert options.ray is not None
    tensors = tuple(tensors_to_calibrate(graph.proto, plan))
    work = RangeWork(
        options.onnx.absolute(),
        graph.sha256,
        options.calib,
        images,
        tensors,
        options.threads or 1,
    )
    percentile = DEFAULT_PERCENTILE if options.percentile is None else options.percentile
    return collect_on_cluster(
        options.ray,
        graph,
        work,
        percentile,
        lambda done, of: progress("calibrating", done, of),
    )


def _attribution(
    graph: GraphFile,
    images: NetworkTensors,
    options: CalibrateOptions,
    weight_bits: int,
    progress: StageProgress,
) -> Attribution:
    """Scales for all blocks, and what INT8 and half precision cost in each."""
    from mahtrt.build.planned import AttributionOptions, attribute

    how = AttributionOptions(
        options.calibration,
        weight_bits,
        options.cache,
        options.cache_dir,
        options.images,
        cast(HalfType, options.half),
    )
    return attribute(graph, images, how, progress)


def _write(out: Path, found: Calibrated, sensitivity: Sensitivity | None) -> tuple[str, ...]:
    from mahtrt.atomic import together, write_text_atomic
    from mahtrt.bundle.plan import save_plan
    from mahtrt.planning.matrix import save_sensitivity
    from mahtrt.planning.picture import write_picture

    with together():
        save_plan(found.plan, out / "plan.json")
        write_text_atomic(out / "ranges.json", found.ranges.to_json())
        write_text_atomic(out / "card.json", json.dumps(found.to_dict(), indent=1) + "\n")
        if sensitivity is None:
            return "plan.json", "ranges.json", "card.json"
        save_sensitivity(sensitivity, out / "sensitivity.json")
        write_picture(out / "sensitivity.png", sensitivity)
    return "plan.json", "ranges.json", "card.json", "sensitivity.json", "sensitivity.png"


_OPTIONS = {field.name for field in fields(CalibrateOptions)}


@dataclass(frozen=True, kw_only=True)
class CalibrateArguments(CalibrationArguments):
    """What ``mahtrt calibrate`` is given."""

    onnx: Annotated[Path, argument("ONNX file that mahtrt export wrote.")]
    calib: Annotated[str, option(DATA, f"DATA to calibrate on. {DATA_HELP}")]
    skip_bad: SkipBad = False
    sensitivity: Annotated[
        bool,
        option(
            MEASURING,
            "Sensitivity: how far INT8, or half precision, in each block alone moves the "
            "landmarks, or changes other outputs.",
            "--sensitivity",
        ),
    ] = False
    half: Annotated[
        str,
        option(
            MEASURING,
            "Half precision of the sensitivity: bf16 or fp16.",
            complete=one_of("bf16", "fp16"),
        ),
    ] = "bf16"
    images: Annotated[
        int, option(MEASURING, "Number of images that the sensitivity is measured on.", least=1)
    ] = 8
    plan: Annotated[
        Path | None,
        option(PLAN, "File plan.json that says which block is INT8; fixed rules without it."),
    ] = None
    cache: Cache = True
    cache_dir: CacheDir = None
    threads: Threads = None
    ray: Ray = None
    out: Annotated[Path, option(OUTPUT, "Folder to write.")] = Path("calibration")
    explain: Explain = False
    json: Json = None


@as_command
def command(arguments: CalibrateArguments) -> None:
    """Measure the ranges of INT8 on images.

    The calibration card says how well the images determine the ranges; the sensitivity says what
    INT8 and half precision cost block by block.
    """
    given = {name: value for name, value in vars(arguments).items() if name in _OPTIONS}
    options = CalibrateOptions(**given)
    with StageDisplay() as display:
        result = calibrate(options, display)
    if arguments.json is not None:
        write_json(calibrate_document(result, options.out), arguments.json)
    for note in result.notes:
        say(f"note: {note}")
    answer(*text_of(result.card).splitlines())
    if result.sensitivity is not None:
        show(table_of(result.sensitivity))
    if arguments.explain:
        from mahtrt.verbs.rendering import paragraphs

        show(paragraphs(CARD_LEGEND + (SENSITIVITY_LEGEND if result.sensitivity else ())))
    answer(f"{options.out}: {', '.join(result.written)}")
    onnx, plan = (shlex.quote(str(path)) for path in (options.onnx, options.out / "plan.json"))
    hint(f"mahtrt build {onnx} --fp32 --int8 --calib {shlex.quote(options.calib)} --plan {plan}")


def text_of(card: CardRecord) -> str:
    """The card in a few lines."""
    methods = ", ".join(f"{name} ({count} tensors)" for name, count in card.methods.items())
    lines = [f"calibrated on {card.images} images ({card.digest[:12]}), {methods}"]
    lines += [
        f"after {seen.images} images: scales within {seen.median_percent:.1f}% of the final ones "
        f"in the median, {seen.largest_percent:.1f}% at most"
        for seen in card.snapshots
    ]
    saturated = [row for row in card.most_saturated if row.saturation > 0][:SHOWN_TENSORS]
    lines += [f"saturates {row.saturation:.4%}: {row.tensor}" for row in saturated]
    return "\n".join([*lines, *(f"warning: {text}" for text in card.warnings)])


def table_of(sensitivity: Sensitivity) -> FittedTable:
    """Blocks by what they cost, the most expensive first."""
    from mahtrt.planning.matrix import summary_rows
    from mahtrt.verbs.tables import Column, FittedTable, numbers

    worst = "worst landmark" if sensitivity.unit == "px" else "worst target"
    columns = (
        *(Column("block, INT8 alone"), *numbers(f"moved {sensitivity.unit}")),
        *(*numbers("shift", "spread", is_lesser=True), *numbers(worst)),
        *(*numbers(f"in {sensitivity.half}", is_lesser=True), Column("by the rules")),
    )
    rows = [
        (
            row["block"],
            *(f"{row[name]:.4f}" for name in ("mean_px", "bias_px", "spread_px")),
            f"{row['worst_landmark']} {row['worst_px']:.4f}",
            f"{row['half_px']:.4f}",
            "float" if row["ruled_out"] else "int8",
        )
        for row in summary_rows(sensitivity)
    ]
    return FittedTable(columns, rows)
