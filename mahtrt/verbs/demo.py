"""``mahtrt demo``: the whole path of a family, on synthetic images made on the spot.

MAHT-Net has a checkpoint that mahtrt ships; the ``nano`` of another family is trained for about a
minute first.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import mahtrt
from mahtrt.errors import UsageError, require
from mahtrt.progress import StageProgress, silent
from mahtrt.verbs.choices import families
from mahtrt.verbs.command import NETWORK, OUTPUT, as_command, option
from mahtrt.verbs.console import StageDisplay, say, show, write_json
from mahtrt.verbs.options import Explain, Json

if TYPE_CHECKING:
    from mahtrt.benchmarks.report import BenchReport
    from mahtrt.spec import ModelSpec

DEFAULT_FAMILY = "maht-net"
# Behind the name of the synthetic DATA: seeds that differ from each other and from training's.
PARITY, CALIBRATION, CHECK, BENCH = ":4@3", ":64@11", ":32@12", ":64@13"
SHOWN_CASES = 4
BENCH_SECONDS = 30.0
COLD_STARTS = 3
GROWTH_MM = 0.02  # of the MRE of the shipped checkpoint, at most
_LIMITS = mahtrt.Limits()  # of a checkpoint that is trained here
MARKER = ".mahtrt-demo"


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the demo shows, and where it writes.

    Attributes:
        out: A folder that is made, or that an earlier demo made.
        family: A family of networks, of which the variant ``nano`` is shown.
    """

    out: Path = Path("mahtrt-demo")
    family: str = DEFAULT_FAMILY


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo made and measured.

    Attributes:
        bundle: The bundle of FP32 and INT8 engines.
        images: Synthetic images as PNG, as ``mahtrt predict`` takes them.
        overlays: Folder of the images with the result drawn on them.
        report: The engines beside PyTorch.
        page: The report as a page of HTML.
        spec: The spec of the network.
    """

    bundle: Path
    images: tuple[Path, ...]
    overlays: Path
    report: BenchReport
    page: Path
    spec: ModelSpec


def demo(options: DemoOptions | None = None, progress: StageProgress = silent) -> DemoResult:
    """Train where there is no checkpoint, export, build INT8 and FP32 engines, bench, predict.

    Raises:
        UsageError: The folder holds something else.
        ModelError: No such family.
        MissingComponentError: PyTorch is not installed.
    """
    from mahtrt.atomic import write_text_atomic
    from mahtrt.data.datasets import open_dataset
    from mahtrt.models.families import build_model, example_data
    from mahtrt.verbs.demo_cases import write_cases

    require("torch", extra="export", needed_for="the demo")
    require("jinja2", extra="report", needed_for="the demo's page")
    options = options or DemoOptions()
    out, name = options.out, f"{options.family}/nano"
    data = example_data(name)
    spec = build_model(name).spec
    _claim(out)
    shown = open_dataset(data + BENCH, limit=SHOWN_CASES)
    images = write_cases(out / "images", shown, spec, progress)
    bundle, report, page = _engines(name, data, out, progress)
    write_text_atomic(out / "report.json", json.dumps(report.to_dict(), indent=2) + "\n")
    write_text_atomic(out / "report.html", page)
    overlays = out / "overlays"
    maps = out / "maps" if spec.output("map") else None
    asked = mahtrt.PredictOptions(bundle, images, overlay=overlays, maps=maps)
    write_text_atomic(out / "predictions.json", mahtrt.predict(asked, progress).to_json())
    return DemoResult(bundle, images, overlays, report, out / "report.html", spec)


def _engines(
    name: str, data: str, out: Path, progress: StageProgress
) -> tuple[Path, BenchReport, str]:
    """The network exported, built and measured: its bundle, the report and its page."""
    from mahtrt.reporting.report import page_of_bench

    checkpoint, limits = _checkpoint(name, data, out, progress)
    source = mahtrt.ModelSource(name, checkpoint)
    exported = mahtrt.export(
        mahtrt.ExportOptions(source, out=out / "model.onnx", data=data + PARITY), progress
    )
    bundle = out / "model.mahtrt"
    asked = mahtrt.BuildOptions(
        exported.path,
        bundle,
        ("fp32", "int8"),
        calib=data + CALIBRATION,
        eval=data + CHECK,
        limits=limits,
    )
    mahtrt.build(asked, progress)
    measured = mahtrt.BenchOptions(
        bundle,
        data=data + BENCH,
        max_seconds=BENCH_SECONDS,
        limits=limits,
        cold_starts=COLD_STARTS,
    )
    report = mahtrt.bench(measured, progress)
    return bundle, report, page_of_bench(measured, report)


def _checkpoint(
    name: str, data: str, out: Path, progress: StageProgress
) -> tuple[Path, mahtrt.Limits]:
    """The shipped checkpoint, or one that is trained here, and what its engines are held to."""
    from mahtrt.models.families import demo_recipe

    recipe = demo_recipe(name)
    if recipe is None:
        return Path("demo"), mahtrt.Limits(delta_mre_mm=GROWTH_MM)
    asked = mahtrt.TrainOptions(
        data,
        name,
        out / "model.safetensors",
        steps=recipe.steps,
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
    )
    mahtrt.train(asked, progress)
    return asked.out, _LIMITS


def _claim(out: Path) -> None:
    """Make the folder the demo's own, or refuse one that is somebody else's."""
    from mahtrt.atomic import write_text_atomic

    if out.exists() and not (out.is_dir() and ((out / MARKER).exists() or not any(out.iterdir()))):
        raise UsageError(
            str(out),
            got="something that is not a demo's folder",
            expected="a free name",
            fix="Choose another --out.",
        )
    write_text_atomic(out / MARKER, "Made by mahtrt demo; safe to delete.\n")


@dataclass(frozen=True, kw_only=True)
class DemoArguments:
    """What ``mahtrt demo`` is given."""

    out: Annotated[Path, option(OUTPUT, "Folder for everything the demo makes.")] = Path(
        "mahtrt-demo"
    )
    family: Annotated[
        str,
        option(
            NETWORK,
            "Family of networks (mahtrt models lists them). All but maht-net, whose weights "
            "mahtrt ships, are trained for about a minute first.",
            complete=families,
        ),
    ] = DEFAULT_FAMILY
    explain: Explain = False
    json: Json = None


@as_command
def command(arguments: DemoArguments) -> None:
    """Run the whole path on a small network.

    Synthetic images (phantoms) are made on the spot; the network is exported, built in FP32 and
    INT8, and compared with PyTorch, and what it finds is drawn on images.
    """
    from mahtrt.verbs.report_text import report_table

    with StageDisplay() as display:
        result = demo(DemoOptions(arguments.out, arguments.family), display)
    report = result.report
    show(report_table(report, explain=arguments.explain))
    if arguments.json is not None:
        write_json(report.to_dict(), arguments.json)
    say(*_farewell(result))
    # A busy machine is slow, which is not a defect of what the demo shows: the verdict says it.
    raise typer.Exit(0 if report.accuracy_pass else report.exit_code)


def _farewell(result: DemoResult) -> tuple[str, ...]:
    report, bundle, family = result.report, result.bundle, result.spec.family
    inputs = result.spec.input_names
    verdict = "passed" if report.passed else "FAILED: " + "; ".join(report.reasons)
    images = str(result.images[0])
    several = len(inputs) > 1
    data = "YOUR_CASES" if several else "YOUR_IMAGES"
    return (
        "",
        f"Verdict: {verdict}",
        f"Report as a page: {result.page}",
        f"Results drawn on images: {result.overlays}",
        "",
        "Next, for example:",
        f"  mahtrt predict {bundle} {images if several else result.images[0].parent / '*.png'} "
        + ("--csv -" if result.spec.landmarks or result.spec.output("logits") else "--json -"),
        f"  mahtrt bench {bundle} --data {_example(family)}:16@99",
        f"  mahtrt verify {bundle}",
        f"  mahtrt export {family} --checkpoint YOURS.safetensors --out yours.onnx",
        f"  mahtrt build yours.onnx --int8 --calib {data} --out yours.mahtrt",
        *(_cases_in_words(inputs) if several else ()),
    )


def _cases_in_words(inputs: tuple[str, ...]) -> tuple[str, ...]:
    """What DATA of a network of several inputs are."""
    folders = " and ".join(f"{name}/" for name in inputs)
    return (
        f"YOUR_CASES is a folder with {folders}, with images of the same names in each,",
        f"or a CSV whose header has the columns {', '.join(inputs)}.",
    )


def _example(family: str) -> str:
    from mahtrt.models.families import example_data

    return example_data(f"{family}/nano")
