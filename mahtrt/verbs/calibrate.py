"""``calibrate``: ranges, the calibration card, and what INT8 costs block by block, as files."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mahtrt.atomic import write_text_atomic
from mahtrt.build.options import CalibrationOptions, check_calibration
from mahtrt.data.datasets import open_dataset
from mahtrt.data.screening import refuse_unreal_images
from mahtrt.data.subset import NetworkTensors
from mahtrt.errors import UsageError
from mahtrt.graph.graph_file import read_graph
from mahtrt.machine import describe_machine
from mahtrt.progress import StageProgress
from mahtrt.targets.cpu import weight_bits_here

if TYPE_CHECKING:
    from rich.table import Table

    from mahtrt.calibration.card import CalibrationCard
    from mahtrt.planning.matrix import Sensitivity


@dataclass(frozen=True, slots=True)
class CalibrateOptions:
    """What to look at.

    Attributes:
        onnx: The FP32 export.
        calib: DATA.
        out: A folder; files of these names in it are replaced.
        sensitivity: Also measure what INT8 costs block by block.
        images: How many images that is measured on.
        plan: A plan file instead of the rules' plan.
        weight_bits: 8, 7, or None: what is safe on this CPU.
        skip_bad: Leave unreadable images out.
        cache: Folder that keeps sensitivities between runs, None for none.
    """

    onnx: Path
    calib: str
    out: Path
    sensitivity: bool = False
    images: int = 8
    plan: Path | None = None
    calibration: CalibrationOptions = field(default_factory=CalibrationOptions)
    weight_bits: int | None = None
    skip_bad: bool = False
    cache: Path | None = None


@dataclass(frozen=True, slots=True)
class CalibrateResult:
    """What was found, and the names of the files it is in."""

    card: CalibrationCard
    sensitivity: Sensitivity | None
    written: tuple[str, ...]

    def sensitivity_table(self) -> Table:
        """Blocks by what they cost, the most expensive first."""
        from rich.table import Table

        from mahtrt.planning.matrix import summary_rows

        assert self.sensitivity is not None
        table = Table(box=None, padding=(0, 2, 0, 0))
        table.add_column("block, INT8 alone", no_wrap=True)
        for name in ("moved px", "shift", "spread", "worst landmark"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("by the rules")
        for row in summary_rows(self.sensitivity):
            table.add_row(
                row["block"],
                *(f"{row[name]:.4f}" for name in ("mean_px", "bias_px", "spread_px")),
                f"{row['worst_landmark']} {row['worst_px']:.4f}",
                "float" if row["ruled_out"] else "int8",
            )
        return table


def calibrate_to_folder(options: CalibrateOptions, progress: StageProgress) -> CalibrateResult:
    """Calibrate, and write ``plan.json``, ``ranges.json``, ``card.json`` and, where asked for,
    ``sensitivity.json`` and ``sensitivity.png``.

    Raises:
        ModelError: The ONNX is not an export of mahtrt.
        DataError: Images that are missing, empty, random or constant.
        UsageError: A plan without INT8, or a method or place that cannot be.
    """
    from mahtrt.build.calibrated import calibrate
    from mahtrt.calibration.plan import default_plan, load_plan, save_plan

    check_calibration(options.calibration)
    if options.out.exists() and not options.out.is_dir():
        raise UsageError(str(options.out), got="a file", expected="a folder, or a free name")
    graph = read_graph(options.onnx)
    calib = open_dataset(options.calib, skip_bad=options.skip_bad)
    refuse_unreal_images(calib, source=options.calib)
    images = NetworkTensors(calib, graph.spec.input)
    bits = options.weight_bits or weight_bits_here(describe_machine())
    plan = load_plan(options.plan) if options.plan else default_plan(graph.proto, graph.spec)
    measured = None
    if options.sensitivity:
        from mahtrt.build.planned import AttributionOptions, attribute

        how = AttributionOptions(options.calibration, bits, options.cache, options.images)
        measured = attribute(graph, images, how, progress)
    found = calibrate(
        graph,
        images,
        plan,
        options.calibration,
        progress,
        ranges=measured.recipe.ranges if measured else None,
        weight_bits=bits,
    )
    sensitivity = measured.sensitivity if measured else None
    options.out.mkdir(parents=True, exist_ok=True)
    save_plan(plan, options.out / "plan.json")
    write_text_atomic(options.out / "ranges.json", found.ranges.to_json())
    write_text_atomic(options.out / "card.json", json.dumps(found.to_dict(), indent=1) + "\n")
    written = ["plan.json", "ranges.json", "card.json"]
    if sensitivity is not None:
        from mahtrt.planning.matrix import save_sensitivity
        from mahtrt.planning.picture import write_picture

        save_sensitivity(sensitivity, options.out / "sensitivity.json")
        write_picture(options.out / "sensitivity.png", sensitivity)
        written += ["sensitivity.json", "sensitivity.png"]
    return CalibrateResult(found.card, sensitivity, tuple(written))
