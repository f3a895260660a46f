"""``mahtrt bench``: the engines of a bundle beside PyTorch."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mahtrt.verbs.choices import one_of, peers
from mahtrt.verbs.command import (
    DATA,
    ENGINES,
    MEASURING,
    OUTPUT,
    ResultFile,
    argument,
    as_command,
    option,
)
from mahtrt.verbs.console import StageDisplay, complain, hint, show, write_json, write_text
from mahtrt.verbs.options import (
    DATA_HELP,
    BudgetArguments,
    Explain,
    Json,
    Points,
    Ray,
    ReferenceArguments,
    RequiredDevice,
    SkipBad,
    SpacingMm,
    Threads,
    TrustArguments,
    counts_from_text,
    device_from_text,
    points_from_text,
)

if TYPE_CHECKING:
    from mahtrt.benchmarks.options import BenchOptions


@dataclass(frozen=True, kw_only=True)
class BenchArguments(TrustArguments, ReferenceArguments, BudgetArguments):
    """What ``mahtrt bench`` is given."""

    bundle: Annotated[Path, argument("Bundle: the .mahtrt folder.")]
    engine: Annotated[
        list[str] | None,
        option(ENGINES, "Engine or target to measure; all without it. May be repeated."),
    ] = None
    batch: Annotated[
        int | None, option(ENGINES, "Batch size of the engines to measure.", least=1)
    ] = None
    require: RequiredDevice = "any"
    data: Annotated[
        str | None,
        option(
            DATA,
            "DATA to measure on; without it, the few golden images of the bundle. " + DATA_HELP,
        ),
    ] = None
    images: Annotated[int, option(DATA, "Number of its images to use, evenly spread.", least=1)] = (
        64
    )
    points: Points = None
    skip_bad: SkipBad = False
    spacing_mm: SpacingMm = None
    rounds: Annotated[int, option(MEASURING, "Number of timed rounds.", least=1)] = 100
    settle: Annotated[
        float,
        option(
            MEASURING,
            "Share by which p50 of the last windows of rounds may differ; up to four times as many "
            "rounds follow until it does not. 0, or fewer than 40 rounds: --rounds alone.",
        ),
    ] = 0.05
    max_seconds: Annotated[float, option(MEASURING, "Time limit of the timed rounds.")] = 120.0
    latency_budget_ms: Annotated[
        float, option(MEASURING, "Largest p99 of the default engine's end-to-end time.")
    ] = 100.0
    baseline: Annotated[
        Path | None,
        option(
            MEASURING,
            "JSON of an earlier bench: each row says whether it is better or worse since. Exit "
            "code 4 where an engine is worse.",
        ),
    ] = None
    tolerance: Annotated[
        float, option(MEASURING, "Share by which two runs of one build may differ.")
    ] = 0.05
    threads: Threads = None
    ray: Ray = None
    peer: Annotated[
        list[str] | None,
        option(
            ENGINES,
            "What else to measure beside the engines. PyTorch: torch-fp32, torch-fp16, "
            "torch-channels-last, torch-bf16 (autocast), torch-compile, torch-compile-quick, "
            "torch-tensorrt. An export without mahtrt's rewrites: onnxruntime-plain, "
            "openvino-plain, openvino-plain-bf16. INT8 of that export by other tools: "
            "onnxruntime-static, nncf-ptq, nncf-accuracy (pip install nncf). all-cpu: all that "
            "compute on a CPU. May be repeated.",
            complete=peers,
        ),
    ] = None
    peer_device: Annotated[
        str,
        option(
            ENGINES,
            "Where peers run: auto (as the default engine), cpu or cuda.",
            complete=one_of("auto", "cpu", "cuda"),
        ),
    ] = "auto"
    cold_starts: Annotated[
        int,
        option(
            MEASURING,
            "Number of fresh processes that start with each engine: the time to the first result, "
            "and the memory. 0: none.",
        ),
    ] = 3
    streams: Annotated[
        str | None,
        option(
            MEASURING,
            "Numbers of callers at a time that throughput is measured with, e.g. 1,2,4: of the "
            "default engine, or of each --engine.",
        ),
    ] = None
    stream_seconds: Annotated[
        float, option(MEASURING, "How long throughput is measured with each number of callers.")
    ] = 3.0
    sweep: Annotated[
        list[Path] | None,
        option(
            MEASURING,
            "Bundle of the same network with another batch size (export --batch), whose "
            "throughput is measured too. May be repeated.",
        ),
    ] = None
    quantities: Annotated[
        str,
        option(
            DATA,
            "File (TOML) that defines clinical quantities, such as angles; auto: those that mahtrt "
            "ships and the landmarks allow; none.",
        ),
    ] = "auto"
    peer_calib: Annotated[
        str | None,
        option(
            DATA,
            "DATA that peers of INT8 calibrate with; without it, the images of --data beyond "
            "--images. None of them may be measured.",
        ),
    ] = None
    peer_minutes: Annotated[
        float, option(MEASURING, "Time limit of nncf-accuracy's search, which holds --budget-px.")
    ] = 10.0
    roofline: Annotated[
        bool,
        option(
            MEASURING,
            "Large convolutions and matrix products in FP32, BF16 and INT8 run between the "
            "engines: how far each engine is from what this machine reaches.",
            "--roofline",
        ),
    ] = False
    explain: Explain = False
    json: Json = None
    html: Annotated[
        str | None,
        option(OUTPUT, "File for a page for people, which needs no other file."),
        ResultFile(),
    ] = None

    def options(self) -> BenchOptions:
        """The verb's options."""
        from mahtrt.benchmarks.options import BenchOptions

        return BenchOptions(
            bundle=self.bundle,
            data=self.data,
            points=points_from_text(self.points),
            spacing_mm=self.spacing_mm,
            skip_bad=self.skip_bad,
            images=self.images,
            engines=tuple(self.engine) if self.engine else None,
            batch=self.batch,
            reference=self.reference,
            model=self.source(),
            limits=self.limits(),
            latency_budget_ms=self.latency_budget_ms,
            rounds=self.rounds,
            settle=self.settle,
            max_seconds=self.max_seconds,
            threads=self.threads,
            trust=self.trust(),
            peers=tuple(self.peer or ()),
            peer_device=self.peer_device,
            peer_calib=self.peer_calib,
            peer_minutes=self.peer_minutes,
            require=device_from_text(self.require),
            baseline=self.baseline,
            tolerance=self.tolerance,
            cold_starts=self.cold_starts,
            streams=counts_from_text(self.streams, "--streams"),
            stream_seconds=self.stream_seconds,
            sweep=tuple(self.sweep or ()),
            quantities=self.quantities,
            roofline=self.roofline,
            ray=self.ray,
        )


@as_command
def command(arguments: BenchArguments) -> None:
    """Compare every engine with PyTorch: accuracy and latency.

    Each budget holds one kind of output: landmarks, maps, labels, or what is visible; one of an
    output that the network does not have is refused. Exit code 3 says that an engine is over an
    accuracy budget, 4 that the latency is, or that an engine is worse than --baseline.
    """
    from mahtrt.atomic import together
    from mahtrt.benchmarks.bench import bench
    from mahtrt.errors import require
    from mahtrt.reporting.report import page_of_bench
    from mahtrt.verbs.report_text import report_table

    options = arguments.options()
    if arguments.html is not None:
        require("jinja2", extra="report", needed_for="the page of a bench")
    with together(), StageDisplay() as display:
        report = bench(options, display)
        if arguments.json is not None:
            write_json(report.to_dict(), arguments.json)
        if arguments.html is not None:
            write_text(page_of_bench(options, report), arguments.html)
    limits = arguments.limits() if arguments.explain else None
    show(report_table(report, explain=arguments.explain, limits=limits))
    for reason in report.reasons:
        complain(f"error: {reason}")
    if report.passed:
        hint(*_next(arguments))
    raise typer.Exit(report.exit_code)


def _next(arguments: BenchArguments) -> Iterator[str]:
    """What can be done with a bundle that passed."""
    bundle = shlex.quote(str(arguments.bundle))
    yield f"mahtrt predict {bundle} YOUR_IMAGES --csv -"
    if arguments.json not in (None, "-"):
        later = f"--baseline {shlex.quote(str(arguments.json))}"
        yield f"mahtrt bench {bundle} {later}  (says later what got better or worse)"
    elif not arguments.explain:
        yield "the same with --explain says what the columns mean"
