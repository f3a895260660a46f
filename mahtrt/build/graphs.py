"""Fourth stage of a build: the graphs that engines are compiled from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mahtrt.data.preprocess import PREPROCESS_VERSION
from mahtrt.data.subset import NetworkTensors, spread_out
from mahtrt.graph.graph_file import GraphFile
from mahtrt.machine import describe_machine
from mahtrt.progress import StageProgress
from mahtrt.targets.cpu import weight_bits_here
from mahtrt.targets.table import find_target

if TYPE_CHECKING:
    import onnx

    from mahtrt.build.calibrated import Calibrated
    from mahtrt.build.images import ImageSets
    from mahtrt.build.planned import PlanChoice, Planned
    from mahtrt.build.request import Request
    from mahtrt.build.workspace import Workspace

FLOAT32 = "fp32"
# What the rest of a quantised graph is.
_FLOAT_PART = {
    "int8": FLOAT32,
    "int8-fp32": FLOAT32,
    "int8-fp16": "fp16",
    "int8-bf16": "bf16-typed",
}
# FP16 overflows in one image or in none: its range is the network's more than the image's.
FINITE_IMAGES = 2


@dataclass(frozen=True, slots=True)
class Graphs:
    """Graphs that were made, and what else a bundle keeps of their making.

    Attributes:
        models: Name of the graph (see :func:`graph_for`) to its ONNX.
        documents: Files about calibration and plan that a bundle keeps.
        plan: The precision plan, as plain data.
        calibration: What it was calibrated on and how, with the calibration card, as plain data.
        notes: What the user should know, one sentence each.
        stand_ins: ONNX that ONNX Runtime does not run, to one that it does.
    """

    models: Mapping[str, Path]
    documents: tuple[Path, ...] = ()
    plan: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    stand_ins: Mapping[Path, Path] = field(default_factory=dict)

    def stand_in(self, onnx: Path) -> Path:
        """The ONNX that is judged in place of an engine that cannot run here."""
        return self.stand_ins.get(onnx, onnx)


def graph_for(precision: str, target: str, int8_float: str) -> str:
    """The name of the ONNX that an engine is compiled from.

    ``fp32``, ``fp16`` and ``int8`` are what they say; ``bf16`` rounds to BF16 in an FP32 graph and
    ``bf16-typed`` declares it; ``int8-fp16`` is INT8 where planned and FP16 elsewhere. A runtime
    with BF16 of its own needs no rounding in the graph.

    Args:
        int8_float: What the rest of a typed INT8 engine computes in.
    """
    return find_target(target).graph_kind(precision, int8_float).name  # type: ignore[arg-type]


def make_graphs(
    request: Request,
    images: ImageSets,
    choice: PlanChoice,
    work: Workspace,
    progress: StageProgress,
) -> Graphs:
    """Make every graph that the engines need; always the export itself.

    Args:
        work: Gets the ONNX files, and the documents of calibration and plan.

    Raises:
        GateError: Planned INT8 is not in its graph, or FP16 cannot hold the network's numbers.
        UsageError: A plan without INT8.
    """
    options, folder = request.options, work.bundle
    jobs = request.jobs
    names = list(dict.fromkeys(graph_for(j.precision, j.target, options.int8_float) for j in jobs))
    if any("fp16" in name for name in names):
        _check_fp16(request, images, progress)
    graph = request.graph
    models = {FLOAT32: folder / "model.onnx"}
    shutil.copyfile(graph.path, models[FLOAT32])
    float_names = [name for name in names if name != FLOAT32 and not name.startswith("int8")]
    for name in float_names:
        models[name] = _write(folder, name, _float_graph(graph, name))
    documents = list(_planning_documents(folder, choice.planned)) if choice.planned else []
    notes = [f"plan: {choice.planned.result.conclusion}"] if choice.planned else []
    if choice.plan is None:
        plan = choice.planned.result.plan.to_dict() if choice.planned else {}
        return Graphs(models, tuple(documents), plan, notes=tuple(notes))
    int8_names = [name for name in names if name.startswith("int8")]
    found, bits = _calibrated(request, choice, int8_names, work.scratch, progress)
    stand_ins = {}
    for name, proto, stand_in in _quantized(found, bits, int8_names):
        models[name] = _write(folder, name, proto)
        if stand_in is not None:
            stand_ins[models[name]] = work.scratch / f"{name}.onnx"
            stand_ins[models[name]].write_bytes(stand_in.SerializeToString())
    documents += _calibration_documents(folder, found)
    return Graphs(
        models,
        tuple(dict.fromkeys(documents)),
        choice.plan.to_dict(),
        _described(choice, found, bits),
        (*notes, *(f"calibration: {warning}" for warning in found.card.warnings)),
        stand_ins,
    )


def weight_bits_for(name: str, asked: int | None) -> int:
    """Bits of a quantised graph's weights: as asked, else what is safe where it runs.

    GPUs add INT8 products in 32 bits; what a CPU does depends on the CPU.
    """
    return asked or (weight_bits_here(describe_machine()) if name == "int8" else 8)


def _check_fp16(request: Request, images: ImageSets, progress: StageProgress) -> None:
    from mahtrt.precision.check import check_half

    progress("checking FP16", 0, 0)
    few = spread_out(images.evaluation, FINITE_IMAGES)
    check_half(
        request.graph, NetworkTensors(few, request.graph.spec.input), request.options.threads
    )


def _float_graph(graph: GraphFile, name: str) -> onnx.ModelProto:
    if name == FLOAT32:
        return graph.proto
    if name == "bf16":
        from mahtrt.precision.emulation import round_to_bf16

        return round_to_bf16(graph.proto)
    from mahtrt.precision.half import to_half

    return to_half(graph.proto, "bf16" if name == "bf16-typed" else "fp16")


def _calibrated(
    request: Request,
    choice: PlanChoice,
    names: Sequence[str],
    scratch: Path,
    progress: StageProgress,
) -> tuple[Calibrated, dict[str, int]]:
    """Calibrate once for all INT8 graphs; also each graph's bits of weights."""
    from mahtrt.build.calibrated import calibrate

    options = request.options
    assert choice.plan is not None
    assert choice.calib is not None
    bits = {name: weight_bits_for(name, options.weight_bits) for name in names}
    found = calibrate(
        request.graph,
        choice.calib,
        choice.plan,
        options.calibration,
        scratch,
        progress,
        ranges=choice.planned.attribution.recipe.ranges if choice.planned else None,
        weight_bits=min(bits.values()),
    )
    if options.bias_correction:
        for each in sorted(set(bits.values())):
            found.measure_bias(choice.calib, each, options.threads, progress)
    return found, bits


def _quantized(
    found: Calibrated, bits: Mapping[str, int], names: Sequence[str]
) -> Iterator[tuple[str, onnx.ModelProto, onnx.ModelProto | None]]:
    """Each INT8 graph, and the graph that stands in for it where ONNX Runtime does not run it."""
    from mahtrt.calibration.int8_check import check_int8
    from mahtrt.graph.describe import describe_graph

    for name in names:
        made = found.quantized(_float_graph(found.graph, _FLOAT_PART[name]), bits[name])
        check_int8(describe_graph(made), found.plan)
        beside_bf16 = name == "int8-bf16"
        yield name, made, found.quantized(found.graph.proto, bits[name]) if beside_bf16 else None


def _described(choice: PlanChoice, found: Calibrated, bits: Mapping[str, int]) -> dict[str, Any]:
    """What a manifest says of the calibration."""
    calib = choice.calib
    assert calib is not None
    return {
        "data": calib.source.rstrip("/").rpartition("/")[2],
        "skipped": list(calib.skipped),
        "images_digest": calib.images_digest,
        "weight_bits": dict(bits),
        "preprocess_version": PREPROCESS_VERSION,
        **found.to_dict(),
    }


def _calibration_documents(folder: Path, found: Calibrated) -> Iterator[Path]:
    texts = {"ranges.json": found.ranges.to_json(), "plan.json": found.plan.to_json()}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
        yield folder / name


def _planning_documents(folder: Path, planned: Planned) -> Iterator[Path]:
    from mahtrt.planning.matrix import save_sensitivity
    from mahtrt.planning.picture import write_picture

    sensitivity = planned.attribution.sensitivity
    save_sensitivity(sensitivity, folder / "sensitivity.json")
    write_picture(folder / "sensitivity.png", sensitivity)
    text = json.dumps(planned.result.to_dict(), indent=1)
    (folder / "planning.json").write_text(text + "\n", encoding="utf-8")
    (folder / "plan.json").write_text(planned.result.plan.to_json(), encoding="utf-8")
    for name in ("sensitivity.json", "sensitivity.png", "planning.json", "plan.json"):
        yield folder / name


def _write(folder: Path, name: str, proto: onnx.ModelProto) -> Path:
    place = folder / f"model.{name}.onnx"
    place.write_bytes(proto.SerializeToString(deterministic=True))
    return place
