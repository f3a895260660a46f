"""The demo: the whole path on the shipped checkpoint and phantoms made on the spot."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from mahtrt.atomic import atomic_path, write_text_atomic
from mahtrt.benchmarks.bench import bench
from mahtrt.benchmarks.report import BenchReport
from mahtrt.build.build import build
from mahtrt.build.options import BuildOptions
from mahtrt.data.datasets import open_dataset
from mahtrt.data.subset import NetworkTensors
from mahtrt.errors import UsageError, require
from mahtrt.measure.limits import Limits
from mahtrt.progress import StageProgress
from mahtrt.verbs.predict import PredictOptions, predict_files, write_results

# Seeds that differ from each other and from those of training.
PARITY, CALIBRATION, CHECK, BENCH = "phantom:4@3", "phantom:64@11", "phantom:32@12", "phantom:64@13"
SHOWN_IMAGES = 4
BENCH_SECONDS = 60.0
LIMITS = Limits(delta_mre_mm=0.02)
MARKER = ".mahtrt-demo"


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo measured, and what it tells the user at the end."""

    report: BenchReport
    farewell: str


def run_demo(out: Path, progress: StageProgress) -> DemoResult:
    """Export, build INT8 and FP32 engines, bench them against PyTorch, draw an overlay.

    Args:
        out: A folder for everything; made, or one that an earlier demo made.

    Raises:
        UsageError: The folder holds something else.
        MissingComponentError: PyTorch is not installed.
    """
    require("torch", extra="export", needed_for="the demo")
    from mahtrt.export.onnx import export_onnx
    from mahtrt.models.reference import ModelSource, demo_checkpoint, find_reference, load_model

    _claim(out)
    images = _write_images(out / "images", progress)
    progress("exporting", 0, 0)
    source = ModelSource("maht-net/nano", demo_checkpoint())
    module, spec = load_model(source)
    exported = export_onnx(
        module,
        spec,
        out / "model.onnx",
        images=list(NetworkTensors(open_dataset(PARITY), spec.input)),
        source=source.to_dict(),
        progress=lambda done, of: progress("exporting", done, of),
    )
    bundle = out / "model.mahtrt"
    build(
        BuildOptions(
            exported.path, bundle, ("fp32", "int8"), calib=CALIBRATION, eval=CHECK, limits=LIMITS
        ),
        progress,
    )
    found = find_reference(spec, source.to_dict())
    assert found is not None, "the shipped checkpoint is its own reference"
    report = bench(
        bundle,
        reference=found[0],
        reference_description=found[1],
        dataset=open_dataset(BENCH),
        max_seconds=BENCH_SECONDS,
        limits=LIMITS,
        progress=lambda done, of: progress("measuring", done, of),
    )
    write_text_atomic(out / "report.json", json.dumps(report.to_dict(), indent=2) + "\n")
    progress("drawing", 0, 0)
    predicted = predict_files(bundle, images, PredictOptions(overlay=out / "overlays"))
    write_results(predicted, json=str(out / "landmarks.json"), csv=None)
    return DemoResult(report, _farewell(out, report))


def _claim(out: Path) -> None:
    """Make the folder the demo's own, or refuse one that is somebody else's."""
    if out.exists() and not (out.is_dir() and ((out / MARKER).exists() or not any(out.iterdir()))):
        raise UsageError(
            str(out),
            got="something that is not a demo's folder",
            expected="a free name",
            fix="Choose another --out.",
        )
    write_text_atomic(out / MARKER, "Made by mahtrt demo; safe to delete.\n")


def _write_images(folder: Path, progress: StageProgress) -> list[Path]:
    """A few phantoms as PNG with their pixel spacing, to try commands on."""
    dataset = open_dataset(BENCH, limit=SHOWN_IMAGES)
    places, spacing = [], {}
    for index in range(len(dataset)):
        progress("making phantoms", index, len(dataset))
        sample = dataset[index]
        place = folder / f"phantom-{index}.png"
        with atomic_path(place) as sibling:
            Image.fromarray(sample.image).save(sibling)
        places.append(place)
        assert sample.spacing_mm is not None
        spacing[place.name] = list(sample.spacing_mm)
    write_text_atomic(folder / "spacing.json", json.dumps({"images": spacing}, indent=2) + "\n")
    return places


def _farewell(out: Path, report: BenchReport) -> str:
    verdict = "passed" if report.passed else "FAILED: " + "; ".join(report.reasons)
    return "\n".join(
        (
            "",
            f"Verdict: {verdict}",
            f"Landmarks drawn on phantoms: {out / 'overlays'}",
            "",
            "Next, for example:",
            f"  mahtrt predict {out / 'model.mahtrt'} {out / 'images'}/*.png --csv -",
            f"  mahtrt bench {out / 'model.mahtrt'} --data phantom:16@99",
            f"  mahtrt verify {out / 'model.mahtrt'}",
            "  mahtrt export maht-net/base --checkpoint YOURS.safetensors --out yours.onnx",
            "  mahtrt build yours.onnx --int8 --calib YOUR_IMAGES --out yours.mahtrt",
        )
    )
