"""``mahtrt demo``: the whole path on the shipped checkpoint and phantoms made on the spot."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import mahtrt
from mahtrt.errors import UsageError, require
from mahtrt.progress import StageProgress, silent
from mahtrt.verbs.command import OUTPUT, as_command, option
from mahtrt.verbs.console import StageDisplay, say, show, write_json
from mahtrt.verbs.options import Json

if TYPE_CHECKING:
    from mahtrt.benchmarks.report import BenchReport

# Seeds that differ from each other and from those of training.
PARITY, CALIBRATION, CHECK, BENCH = "phantom:4@3", "phantom:64@11", "phantom:32@12", "phantom:64@13"
SHOWN_IMAGES = 4
BENCH_SECONDS = 60.0
GROWTH_MM = 0.02  # of the MRE, at most
MARKER = ".mahtrt-demo"


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Where the demo writes: a folder that is made, or that an earlier demo made."""

    out: Path = Path("mahtrt-demo")


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo made and measured.

    Attributes:
        bundle: The bundle of FP32 and INT8 engines.
        images: Phantoms as PNG.
        overlays: Folder of the phantoms with landmarks drawn on them.
        report: The engines beside PyTorch.
    """

    bundle: Path
    images: tuple[Path, ...]
    overlays: Path
    report: BenchReport


def demo(options: DemoOptions | None = None, progress: StageProgress = silent) -> DemoResult:
    """Export, build INT8 and FP32 engines, bench them against PyTorch, draw an overlay.

    Raises:
        UsageError: The folder holds something else.
        MissingComponentError: PyTorch is not installed.
    """
    from mahtrt.atomic import write_text_atomic

    require("torch", extra="export", needed_for="the demo")
    out = (options or DemoOptions()).out
    _claim(out)
    images = _write_images(out / "images", progress)
    source = mahtrt.ModelSource("maht-net/nano", Path("demo"))
    exported = mahtrt.export(
        mahtrt.ExportOptions(source, out=out / "model.onnx", data=PARITY), progress
    )
    bundle, limits = out / "model.mahtrt", mahtrt.Limits(delta_mre_mm=GROWTH_MM)
    precisions = ("fp32", "int8")
    mahtrt.build(
        mahtrt.BuildOptions(
            exported.path, bundle, precisions, calib=CALIBRATION, eval=CHECK, limits=limits
        ),
        progress,
    )
    report = mahtrt.bench(
        mahtrt.BenchOptions(bundle, data=BENCH, max_seconds=BENCH_SECONDS, limits=limits), progress
    )
    write_text_atomic(out / "report.json", json.dumps(report.to_dict(), indent=2) + "\n")
    overlays = out / "overlays"
    predicted = mahtrt.predict(mahtrt.PredictOptions(bundle, images, overlay=overlays), progress)
    write_text_atomic(out / "landmarks.json", predicted.to_json())
    return DemoResult(bundle, images, overlays, report)


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


def _write_images(folder: Path, progress: StageProgress) -> tuple[Path, ...]:
    """A few phantoms as PNG with their pixel spacing, to try commands on."""
    from PIL import Image

    from mahtrt.atomic import write_bytes_atomic, write_text_atomic
    from mahtrt.data.datasets import open_dataset

    dataset = open_dataset(BENCH, limit=SHOWN_IMAGES)
    places, spacing = [], {}
    for index, sample in enumerate(dataset):
        progress("making phantoms", index, len(dataset))
        place = folder / f"phantom-{index}.png"
        content = io.BytesIO()
        Image.fromarray(sample.image).save(content, "png")
        write_bytes_atomic(place, content.getbuffer())
        places.append(place)
        assert sample.spacing_mm is not None
        spacing[place.name] = list(sample.spacing_mm)
    write_text_atomic(folder / "spacing.json", json.dumps({"images": spacing}, indent=2) + "\n")
    return tuple(places)


@dataclass(frozen=True, kw_only=True)
class DemoArguments:
    """What ``mahtrt demo`` is given."""

    out: Annotated[Path, option(OUTPUT, "Folder for everything the demo makes.")] = Path(
        "mahtrt-demo"
    )
    json: Json = None


@as_command
def command(arguments: DemoArguments) -> None:
    """Run the whole path on the shipped checkpoint.

    Synthetic cephalograms (phantoms) are made on the spot; the network is exported, built in FP32
    and INT8, and compared with PyTorch, and landmarks are drawn on images.
    """
    from mahtrt.verbs.report_text import report_table

    with StageDisplay() as display:
        result = demo(DemoOptions(arguments.out), display)
    report = result.report
    show(report_table(report), to_stderr=arguments.json == "-")
    if arguments.json is not None:
        write_json(report.to_dict(), arguments.json)
    say(*_farewell(result))
    # A busy machine is slow, which is not a defect of what the demo shows: the verdict says it.
    raise typer.Exit(0 if report.accuracy_pass else report.exit_code)


def _farewell(result: DemoResult) -> tuple[str, ...]:
    report, bundle = result.report, result.bundle
    verdict = "passed" if report.passed else "FAILED: " + "; ".join(report.reasons)
    return (
        "",
        f"Verdict: {verdict}",
        f"Landmarks drawn on phantoms: {result.overlays}",
        "",
        "Next, for example:",
        f"  mahtrt predict {bundle} {result.images[0].parent}/*.png --csv -",
        f"  mahtrt bench {bundle} --data phantom:16@99",
        f"  mahtrt verify {bundle}",
        "  mahtrt export maht-net/base --checkpoint YOURS.safetensors --out yours.onnx",
        "  mahtrt build yours.onnx --int8 --calib YOUR_IMAGES --out yours.mahtrt",
    )
