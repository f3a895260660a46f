"""The command line: one thin command per verb.

Heavy packages are imported inside the commands, so that ``mahtrt --help`` is quick and a machine
without PyTorch can run bundles.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mahtrt import __version__
from mahtrt.errors import GateError, UsageError
from mahtrt.verbs.console import StageDisplay, ends_well, say, show, write_json

app = typer.Typer(
    name="mahtrt",
    help="Takes landmark networks from PyTorch to measured engines.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)

DATA_HELP = (
    "A folder of images, a CSV, an ISBI-2015 tree, COCO keypoints JSON, or phantom[:N[@SEED]]."
)
Points = Annotated[
    str | None, typer.Option("--points", help="Which annotated points to use, e.g. 36,39,42.")
]
Kwargs = Annotated[
    list[str] | None,
    typer.Option("--kwarg", help="key=value for the factory or the family's config."),
]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads of one inference.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out images that cannot be read.")]
SpecFile = Annotated[
    Path | None, typer.Option("--spec", help="Spec (TOML) of a network that mahtrt does not know.")
]
ModelCode = Annotated[
    str | None, typer.Option("--model", help="Code of a foreign network, as given to export.")
]
Method = Annotated[
    str,
    typer.Option(
        help="minmax, percentile, entropy, mse, or auto: per class of tensors, by landmark error."
    ),
]
Percentile = Annotated[float | None, typer.Option(help="What percentile keeps, in %.")]
WeightBits = Annotated[
    int | None, typer.Option(min=7, max=8, help="INT8 weight range; else by what runs it.")
]
CacheDir = Annotated[
    Path | None, typer.Option(help="Where results are kept; else MAHTRT_CACHE_DIR.")
]
BudgetPx = Annotated[
    float, typer.Option(help="Mean displacement an engine may cause, network pixels.")
]
BudgetMm = Annotated[float | None, typer.Option(help="The same in mm; replaces --budget-px.")]
BudgetMreMm = Annotated[
    float | None, typer.Option(help="How much the MRE may grow, mm; needs annotations.")
]
BudgetP99Px = Annotated[
    float | None, typer.Option(help="99th percentile of the displacement, network pixels.")
]
BudgetMaxPx = Annotated[
    float | None,
    typer.Option(help="Largest displacement; points whose map has two peaks are counted apart."),
]
BudgetLandmarkMre = Annotated[
    float | None, typer.Option(help="How much any landmark's MRE may grow, in percent.")
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
@ends_well
def demo(
    out: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("mahtrt-demo"),
    json: Annotated[str | None, typer.Option(help="Write the bench report there too.")] = None,
) -> None:
    """The whole path on the shipped checkpoint and phantoms: export, INT8 build, bench, report."""
    from mahtrt.verbs.demo import run_demo
    from mahtrt.verbs.report_text import report_table

    with StageDisplay() as display:
        result = run_demo(out, display)
    show(report_table(result.report), to_stderr=json == "-")
    if json is not None:
        write_json(result.report.to_dict(), json)
    say(result.farewell)
    # A busy machine is slow, which is no defect of what the demo shows: the verdict says it.
    raise typer.Exit(0 if result.report.accuracy_pass else result.report.exit_code)


@app.command()
@ends_well
def models(
    json: Annotated[str | None, typer.Option(help="Write the table as JSON; - for stdout.")] = None,
) -> None:
    """List families and variants with parameters and GFLOPs."""
    from mahtrt.models.summary import summaries, summary_table

    with StageDisplay() as display:
        rows = summaries(display.of("counting"))
    if json is not None:
        write_json({"models": [row.to_dict() for row in rows]}, json)
    else:
        show(summary_table(rows))


@app.command()
@ends_well
def export(
    model: Annotated[
        str,
        typer.Argument(help="maht-net[/variant], package.module:factory or path/file.py:factory."),
    ],
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Weights; random ones without it. demo: those that mahtrt ships."),
    ] = None,
    input_size: Annotated[str | None, typer.Option(help="N or HxW, in pixels.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images per inference, static.")] = 1,
    opset: Annotated[int, typer.Option(help="ONNX opset.")] = 20,
    out: Annotated[Path, typer.Option(help="The ONNX file to write.")] = Path("model.onnx"),
    kwarg: Kwargs = None,
    spec: SpecFile = None,
    data: Annotated[
        str, typer.Option(help=f"Images for parity, 8 at most. {DATA_HELP}")
    ] = "phantom:4@3",
    no_pass: Annotated[
        list[str] | None,
        typer.Option(help="Leave a graph rewrite out, by name. May be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of random weights.")] = 0,
) -> None:
    """Export a network to ONNX with static shapes, and prove parity with PyTorch."""
    from mahtrt.data.datasets import open_dataset
    from mahtrt.data.subset import NetworkTensors
    from mahtrt.errors import require

    require("torch", extra="export", needed_for="export")
    from mahtrt.export.onnx import export_onnx
    from mahtrt.export.parity import ParityError
    from mahtrt.models.reference import load_model

    source = _source(model, checkpoint, kwarg, spec, input_size, seed)
    if checkpoint is None:
        say(f"note: no --checkpoint, so {model} gets random weights (seed {seed})")
    with StageDisplay() as display:
        display("building the network", 0, 0)
        module, model_spec = load_model(source)
        images = list(NetworkTensors(open_dataset(data, limit=8), model_spec.input))
        try:
            result = export_onnx(
                module,
                model_spec,
                out,
                opset=opset,
                batch=batch,
                images=images,
                source=source.to_dict(),
                skip_passes=no_pass or (),
                progress=display.of("exporting"),
            )
        except ParityError as error:
            say(error.table.to_text())
            raise
    print(result.parity.to_text())
    print(f"{result.path}  {result.path.stat().st_size / 2**20:.1f} MiB  sha256 {result.sha256}")


@app.command()
@ends_well
def calibrate(
    onnx: Annotated[Path, typer.Argument(help="What mahtrt export wrote.")],
    calib: Annotated[str, typer.Option(help=f"Images to calibrate on. {DATA_HELP}")],
    sensitivity: Annotated[
        bool,
        typer.Option("--sensitivity", help="Measure how far INT8 in each block moves landmarks."),
    ] = False,
    images: Annotated[int, typer.Option(min=1, help="Images of the sensitivity.")] = 8,
    plan: Annotated[Path | None, typer.Option(help="A plan.json; else the rules' plan.")] = None,
    method: Method = "minmax",
    percentile: Percentile = None,
    weight_bits: WeightBits = None,
    skip_bad: SkipBad = False,
    cache: Annotated[bool, typer.Option(help="Reuse sensitivities, and keep this one.")] = True,
    cache_dir: CacheDir = None,
    threads: Threads = None,
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("calibration"),
) -> None:
    """Look at ranges on images: a calibration card, and what INT8 costs block by block."""
    from mahtrt.build.options import CalibrationOptions
    from mahtrt.targets.tensorrt.cache import cache_folder
    from mahtrt.verbs.calibrate import CalibrateOptions, calibrate_to_folder

    options = CalibrateOptions(
        onnx=onnx,
        calib=calib,
        out=out,
        sensitivity=sensitivity,
        images=images,
        plan=plan,
        calibration=CalibrationOptions(method, percentile, threads),
        weight_bits=weight_bits,
        skip_bad=skip_bad,
        cache=cache_folder(cache_dir) if cache else None,
    )
    with StageDisplay() as display:
        result = calibrate_to_folder(options, display)
    print(result.card.to_text())
    if result.sensitivity is not None:
        show(result.sensitivity_table())
    print(f"{out}: {', '.join(result.written)}")


@app.command()
@ends_well
def build(
    onnx: Annotated[Path, typer.Argument(help="What mahtrt export wrote.")],
    fp32: Annotated[
        bool,
        typer.Option("--fp32", help="Build FP32 engines (what is built without any of these)."),
    ] = False,
    fp16: Annotated[
        bool,
        typer.Option("--fp16", help="Build FP16 engines: TensorRT, and ONNX Runtime for checking."),
    ] = False,
    bf16: Annotated[bool, typer.Option("--bf16", help="Build BF16 engines.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Build INT8 engines.")] = False,
    calib: Annotated[str | None, typer.Option(help=f"Images to calibrate on. {DATA_HELP}")] = None,
    eval: Annotated[
        str | None,
        typer.Option(
            help="DATA to check engines on; else a part of --calib, or phantoms without it."
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="auto (all that run here), openvino, onnxruntime, tensorrt, tensorrt-rtx. "
            "May be repeated."
        ),
    ] = None,
    plan: Annotated[
        str | None,
        typer.Option(help="A plan.json to follow, or auto: search for the fastest in the budget."),
    ] = None,
    plan_minutes: Annotated[
        float, typer.Option(help="With --plan auto: how long to search, after the sensitivity.")
    ] = 10.0,
    seed: Annotated[int, typer.Option(help="Of the search.")] = 0,
    method: Method = "minmax",
    percentile: Percentile = None,
    bias_correction: Annotated[
        bool, typer.Option(help="Take the mean error of INT8 products out through their biases.")
    ] = True,
    weight_bits: WeightBits = None,
    int8_float: Annotated[
        str, typer.Option(help="What TensorRT computes in beside INT8: fp16, bf16 or fp32.")
    ] = "fp16",
    budget_px: BudgetPx = 0.25,
    budget_mm: BudgetMm = None,
    budget_mre_mm: BudgetMreMm = None,
    budget_p99_px: BudgetP99Px = None,
    budget_max_px: BudgetMaxPx = None,
    budget_landmark_mre_percent: BudgetLandmarkMre = None,
    check_images: Annotated[
        int, typer.Option(min=1, help="Images to check engines on; at most a quarter of --calib.")
    ] = 32,
    points: Points = None,
    skip_bad: SkipBad = False,
    reference: Annotated[Path | None, typer.Option(help="The exported checkpoint.")] = None,
    model: ModelCode = None,
    kwarg: Kwargs = None,
    spec: SpecFile = None,
    golden: Annotated[
        bool,
        typer.Option(help="Keep 3 of the checked images in the bundle, for mahtrt verify."),
    ] = True,
    keep_failed: Annotated[
        bool, typer.Option("--keep-failed", help="Write the bundle although the gate failed.")
    ] = False,
    threads: Threads = None,
    workspace_mib: Annotated[
        int | None, typer.Option(help="TensorRT: most scratch memory of a kernel, MiB.")
    ] = None,
    optimization_level: Annotated[
        int | None, typer.Option(help="TensorRT: 0 (quick build) to 5 (fast engine).")
    ] = None,
    hardware_compatibility: Annotated[
        str, typer.Option(help="TensorRT: none, ampere_plus or same_compute_capability.")
    ] = "none",
    compute_capability: Annotated[
        list[str] | None,
        typer.Option(help="TensorRT-RTX: such as SM89, else the GPU's here. May be repeated."),
    ] = None,
    fuse_soft_argmax: Annotated[
        bool,
        typer.Option("--fuse-soft-argmax", help="TensorRT: a plugin for it; experimental."),
    ] = False,
    cache: Annotated[
        bool, typer.Option(help="Reuse TensorRT engines and sensitivities, and keep these.")
    ] = True,
    cache_dir: CacheDir = None,
    timeout: Annotated[
        float | None, typer.Option(help="TensorRT: give up on an engine after so many seconds.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The bundle to write.")] = Path("model.mahtrt"),
) -> None:
    """Calibrate, compile, check every engine against PyTorch, and write a bundle."""
    from mahtrt.build.build import build as build_bundle
    from mahtrt.build.judge import AccuracyError
    from mahtrt.build.options import AUTO, BuildOptions
    from mahtrt.measure.limits import Limits
    from mahtrt.targets.tensorrt.options import TensorRtOptions
    from mahtrt.verbs.report_text import report_table

    asked = {"fp32": fp32, "fp16": fp16, "bf16": bf16, "int8": int8}
    options = BuildOptions(
        onnx=onnx,
        out=out,
        precisions=tuple(p for p, wanted in asked.items() if wanted) or ("fp32",),
        targets=tuple(target or [AUTO]),
        calib=calib,
        eval=eval,
        points=_points(points),
        method=method,
        percentile=percentile,
        bias_correction=bias_correction,
        plan=plan,
        plan_minutes=plan_minutes,
        seed=seed,
        weight_bits=weight_bits,
        int8_float=int8_float,  # type: ignore[arg-type]
        check_images=check_images,
        skip_bad=skip_bad,
        reference=reference,
        model=_source(model, reference, kwarg, spec) if model else None,
        limits=Limits(
            budget_px=budget_px,
            budget_mm=budget_mm,
            delta_mre_mm=budget_mre_mm,
            p99_px=budget_p99_px,
            max_px=budget_max_px,
            landmark_mre_percent=budget_landmark_mre_percent,
        ),
        golden=golden,
        keep_failed=keep_failed,
        threads=threads,
        tensorrt=TensorRtOptions(
            workspace_mib=workspace_mib,
            optimization_level=optimization_level,
            hardware_compatibility=hardware_compatibility,  # type: ignore[arg-type]
            compute_capabilities=tuple(compute_capability or ()),
            cache=cache,
            cache_dir=cache_dir,
            fuse_soft_argmax=fuse_soft_argmax,
            timeout_s=timeout,
        ),
    )
    with StageDisplay() as display:
        try:
            result = build_bundle(options, display)
        except AccuracyError as error:
            show(report_table(error.report), to_stderr=True)
            raise
    show(report_table(result.report))
    _say_skipped(result)
    for line in result.notes:
        say(f"note: {line}")
    failed = [name for name, verdict in result.verdicts.items() if not verdict.passed]
    print(f"{result.path}  default engine {result.manifest.default_engine}")
    if failed:
        say(f"warning: kept although over budget: {', '.join(failed)}")
        raise typer.Exit(GateError.exit_code)


@app.command()
@ends_well
def bench(
    bundle: Annotated[Path, typer.Argument(help="The .mahtrt folder.")],
    reference: Annotated[Path | None, typer.Option(help="The exported checkpoint.")] = None,
    data: Annotated[str | None, typer.Option(help=f"Images to measure on. {DATA_HELP}")] = None,
    images: Annotated[int, typer.Option(min=1, help="How many of them.")] = 64,
    engine: Annotated[list[str] | None, typer.Option(help="Only these engines.")] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Only engines of this batch size.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Timed rounds.")] = 100,
    max_seconds: Annotated[float, typer.Option(help="Time limit of the timed rounds.")] = 120.0,
    latency_budget_ms: Annotated[
        float, typer.Option(help="For the default engine's end-to-end p99.")
    ] = 100.0,
    budget_px: BudgetPx = 0.25,
    budget_mm: BudgetMm = None,
    budget_mre_mm: BudgetMreMm = None,
    budget_p99_px: BudgetP99Px = None,
    budget_max_px: BudgetMaxPx = None,
    budget_landmark_mre_percent: BudgetLandmarkMre = None,
    points: Points = None,
    skip_bad: SkipBad = False,
    spacing_mm: Annotated[
        float | None, typer.Option(help="Millimetres per image pixel of --data.")
    ] = None,
    model: ModelCode = None,
    kwarg: Kwargs = None,
    spec: SpecFile = None,
    threads: Threads = None,
    json: Annotated[
        str | None, typer.Option(help="Write the report as JSON; - for stdout.")
    ] = None,
) -> None:
    """Compare every engine with PyTorch: landmark error in px and mm, and latency."""
    from mahtrt.benchmarks.bench import bench as run_bench
    from mahtrt.data.datasets import open_dataset
    from mahtrt.measure.limits import Limits
    from mahtrt.verbs.report_text import report_table

    dataset = None
    if data is not None:
        dataset = open_dataset(
            data, points=_points(points), spacing_mm=spacing_mm, skip_bad=skip_bad
        )
        _say_skipped(dataset)
    source = _source(model, reference, kwarg, spec) if model else None
    found = _torch_reference(bundle, reference, source, batch or 1, threads)
    with StageDisplay() as display:
        report = run_bench(
            bundle,
            reference=found[0] if found else None,
            reference_description=found[1] if found else "",
            dataset=dataset,
            images=images,
            engines=engine,
            batch=batch,
            threads=threads,
            latency_budget_ms=latency_budget_ms,
            limits=Limits(
                budget_px=budget_px,
                budget_mm=budget_mm,
                delta_mre_mm=budget_mre_mm,
                p99_px=budget_p99_px,
                max_px=budget_max_px,
                landmark_mre_percent=budget_landmark_mre_percent,
            ),
            rounds=rounds,
            max_seconds=max_seconds,
            progress=display.of("measuring"),
        )
    show(report_table(report), to_stderr=json == "-")
    if json is not None:
        write_json(report.to_dict(), json)
    for reason in report.reasons:
        say(f"error: {reason}")
    raise typer.Exit(report.exit_code)


@app.command()
@ends_well
def predict(
    bundle: Annotated[Path, typer.Argument(help="The .mahtrt folder.")],
    images: Annotated[list[Path], typer.Argument(help="Images, DICOM included.")],
    engine: Annotated[str | None, typer.Option(help="An engine of the bundle.")] = None,
    json: Annotated[str | None, typer.Option(help="Write JSON; - for stdout.")] = None,
    csv: Annotated[str | None, typer.Option(help="Write CSV; - for stdout.")] = None,
    overlay: Annotated[
        Path | None, typer.Option(help="Folder for pictures with landmarks.")
    ] = None,
    spacing_mm: Annotated[float | None, typer.Option(help="Millimetres per image pixel.")] = None,
    skip_bad: SkipBad = False,
    threads: Threads = None,
) -> None:
    """Find landmarks in images."""
    from mahtrt.verbs.predict import PredictOptions, predict_files, results_table, write_results

    if json == "-" and csv == "-":
        raise UsageError("--json - --csv -", got="two results for stdout", expected="one")
    options = PredictOptions(engine, overlay, spacing_mm, skip_bad, threads)
    result = predict_files(bundle, images, options)
    for note in result.notes:
        say(f"note: {note}")
    write_results(result, json=json, csv=csv)
    if json is None and csv is None:
        show(results_table(result))


@app.command()
@ends_well
def inspect(
    file: Annotated[Path, typer.Argument(help="An ONNX file, a .mahtrt folder or a plan.")],
    top: Annotated[int, typer.Option(min=1, help="How many of the largest layers.")] = 10,
    graphs: Annotated[
        bool, typer.Option("--graphs", help="Of a bundle, look into the ONNX of each precision.")
    ] = False,
    json: Annotated[str | None, typer.Option(help="Write JSON; - for stdout.")] = None,
) -> None:
    """Show precisions, weights, largest layers, inputs and outputs, plan and provenance."""
    from mahtrt.verbs import inspect as inspection

    found = inspection.inspect_file(file, top=top, graphs=graphs)
    if json is not None:
        write_json(inspection.to_dict(found), json)
    else:
        show(inspection.to_table(found))


@app.command()
@ends_well
def verify(bundle: Annotated[Path, typer.Argument(help="The .mahtrt folder.")]) -> None:
    """Hash every file of a bundle and replay its golden images."""
    from mahtrt.verbs.verify import verify_and_replay

    with StageDisplay() as display:
        lines = verify_and_replay(bundle, display)
    print("\n".join(lines))


@app.command()
@ends_well
def doctor(
    json: Annotated[str | None, typer.Option(help="Write JSON; - for stdout.")] = None,
) -> None:
    """Say what this machine can do, and what to install for the rest."""
    from mahtrt.verbs import doctor as checks

    found = checks.diagnose()
    if json is not None:
        write_json(checks.to_dict(found), json)
    else:
        show(checks.to_table(found))
    raise typer.Exit(checks.exit_code(found))


@app.command()
@ends_well
def train(
    data: Annotated[str, typer.Option(help=f"Annotated images. {DATA_HELP}")],
    model: Annotated[str, typer.Option(help="family/variant.")] = "maht-net/nano",
    steps: Annotated[int, typer.Option(min=0, help="Optimiser steps.")] = 1000,
    out: Annotated[Path, typer.Option(help="The checkpoint to write.")] = Path("model.safetensors"),
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-3,
    seed: int = 0,
    input_size: Annotated[str | None, typer.Option(help="N or HxW, in pixels.")] = None,
    points: Points = None,
    landmarks: Annotated[str | None, typer.Option(help="Names of the landmarks: a,b,c.")] = None,
    init: Annotated[Path | None, typer.Option(help="Checkpoint to start from.")] = None,
    settle: Annotated[
        int, typer.Option(min=0, help="Batches to settle batch-norm statistics on first.")
    ] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted run.")
    ] = False,
    half: Annotated[bool, typer.Option("--half", help="Write FP16 weights.")] = False,
    eval: Annotated[str | None, typer.Option(help="DATA to report the error on.")] = None,
    kwarg: Kwargs = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare images.")] = 1,
) -> None:
    """Train a small network; made for the demo and for trying the toolchain on your images."""
    from mahtrt.errors import require

    require("torch", extra="export", needed_for="training")
    from mahtrt.training.command import train_and_report
    from mahtrt.training.trainer import TrainOptions

    overrides = _settings(kwarg, input_size)
    if landmarks is not None:
        overrides["landmarks"] = tuple(name.strip() for name in landmarks.split(","))
    options = TrainOptions(
        model=model,
        data=data,
        out=out,
        steps=steps,
        batch_size=batch_size,
        learning_rate=lr,
        seed=seed,
        workers=workers,
        settle=settle,
        init=init,
        resume=resume,
        half=half,
        points=_points(points),
        overrides=overrides,
    )
    with StageDisplay() as display:
        lines = train_and_report(options, eval, display)
    print("\n".join(lines))


def main() -> None:
    """The console script."""
    app()


def _points(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError("--points", got=repr(text), expected="indices like 36,39,42") from error


def _say_skipped(skipper: Any) -> None:
    for name in getattr(skipper, "skipped", ()):
        say(f"note: left out {name}, which cannot be read")


def _settings(kwarg: list[str] | None, input_size: str | None = None) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if kwarg:
        from mahtrt.errors import require

        require("torch", extra="export", needed_for="--kwarg")
        from mahtrt.models.foreign import parse_kwargs

        values = parse_kwargs(kwarg)
    if input_size is not None:
        values["input_size"] = _size(input_size)
    return values


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    try:
        return int(height), int(width or height)
    except ValueError as error:
        raise UsageError("--input-size", got=repr(text), expected="N or HxW, e.g. 512") from error


def _source(
    model: str,
    checkpoint: Path | None,
    kwarg: list[str] | None,
    spec: Path | None,
    input_size: str | None = None,
    seed: int = 0,
) -> Any:
    from mahtrt.models.families import is_known
    from mahtrt.models.reference import ModelSource, demo_checkpoint

    if input_size is not None and not is_known(model):
        raise UsageError(
            "--input-size",
            got=f"a size for {model}",
            expected="none: the spec of a foreign network says it",
            fix="Change input.size in the spec.",
        )
    if checkpoint == Path("demo") and not checkpoint.exists():
        checkpoint = demo_checkpoint()
    return ModelSource(model, checkpoint, _settings(kwarg, input_size), spec, seed)


def _torch_reference(
    bundle: Path, checkpoint: Path | None, source: Any, batch: int, threads: int | None
) -> Any:
    """PyTorch for bench where it can be had; says so where it cannot."""
    from mahtrt.bundle.bundle import read_bundle
    from mahtrt.errors import MissingComponentError
    from mahtrt.models.reference import find_reference

    opened = read_bundle(bundle, verify=False)
    try:
        found = find_reference(
            opened.spec,
            opened.manifest.provenance,
            checkpoint=checkpoint,
            model=source,
            folders=(bundle.resolve().parent, Path.cwd()),
            batch=batch,
        )
    except MissingComponentError:
        if checkpoint or source:
            raise
        found = None
    if found is None:
        say("note: no PyTorch reference at hand (--reference CHECKPOINT); comparing with FP32 ONNX")
    elif threads is not None:
        import torch

        torch.set_num_threads(threads)
    return found


if __name__ == "__main__":
    main()
