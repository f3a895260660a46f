"""Fourth stage of a build: the graphs that engines are compiled from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mahtrt import files
from mahtrt.build.stand_in import StandInGraph
from mahtrt.bundle.origin import CalibrationRecord
from mahtrt.bundle.plan import Plan, plan_name
from mahtrt.data.subset import NetworkTensors, spread_out
from mahtrt.digest import sha256_of_file
from mahtrt.errors import ModelError
from mahtrt.precision.float_graph import float_graph
from mahtrt.progress import StageProgress
from mahtrt.schema import dataclass_from, plain
from mahtrt.targets.graph_kinds import Fp32, GraphKind, Int8, follows_plan

if TYPE_CHECKING:
    import onnx

    from mahtrt.build.calibrated import Calibrated
    from mahtrt.build.images import ImageSets
    from mahtrt.build.planned import PlanChoice, Planned
    from mahtrt.build.request import Request
    from mahtrt.build.workspace import Workspace
    from mahtrt.calibration.tuned import Tuned
    from mahtrt.graph.graph_file import GraphFile

# FP16 overflows in one image or in none: its range is the network's more than the image's.
FINITE_IMAGES = 2


@dataclass(frozen=True, slots=True)
class Graphs:
    """Graphs that were made, and what else a bundle keeps of their making.

    Attributes:
        models: Kind of graph to its ONNX.
        documents: Files about calibration and plan that a bundle keeps.
        calibration: What INT8 graphs were calibrated on and how; None without any.
        notes: What the user should know, one sentence each.
        plans: Precision to the plan that its engines follow.
        stand_ins: ONNX that ONNX Runtime does not run, to one that it does.
    """

    models: Mapping[GraphKind, Path]
    documents: tuple[Path, ...] = ()
    calibration: CalibrationRecord | None = None
    notes: tuple[str, ...] = ()
    plans: Mapping[str, Plan] = field(default_factory=dict)
    stand_ins: Mapping[Path, Path] = field(default_factory=dict)

    def stand_in(self, precision: str, onnx: Path) -> StandInGraph:
        """What is judged in place of an engine that cannot run here."""
        plan = self.plans.get(precision)
        return StandInGraph(self.stand_ins.get(onnx, onnx), plan.fp32_nodes if plan else ())


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
        ModelError: The export changed since it was read.
        GateError: Planned INT8 is not in its graph, or FP16 cannot hold the network's numbers.
        UsageError: A plan without INT8.
    """
    kinds = dict.fromkeys(map(request.graph_kind, request.jobs))
    _check_fp16(request, images, choice, progress)
    export = work.bundle / Fp32().file_name
    _copy_export(request.graph, export)
    models: dict[GraphKind, Path] = {Fp32(): export}
    for kind in kinds:
        if not isinstance(kind, Fp32 | Int8):
            keep = _kept(choice, kind)
            models[kind] = _write(work.bundle, kind, float_graph(request.graph.proto, kind, keep))
    documents, notes = _told(work.bundle, choice)
    calibration = None
    stand_ins = {}
    int8_kinds = [kind for kind in kinds if isinstance(kind, Int8)]
    if int8_kinds and (choice.calib is not None or request.tuned is not None):
        found = _calibrated(request, choice, int8_kinds, progress)
        for kind in int8_kinds:
            models[kind] = _write(work.bundle, kind, _quantized(found, kind))
            if kind.beside == "bf16":  # ONNX Runtime has no kernels for it
                stand_ins[models[kind]] = _write(
                    work.scratch,
                    kind,
                    found.quantized(found.graph.proto, kind.weight_bits, kind.declares),
                )
        calibration = _record(choice.calib, found, request.tuned)
        documents += _calibration_documents(work.bundle, found)
        notes += [f"calibration: {warning}" for warning in found.card.warnings]
        notes += _notes_on_bits(int8_kinds, request.tuned)
    files_kept, said = tuple(dict.fromkeys(documents)), tuple(dict.fromkeys(notes))
    return Graphs(models, files_kept, calibration, said, choice.plans, stand_ins)


def _kept(choice: PlanChoice, kind: GraphKind) -> tuple[str, ...]:
    """The products that stay FP32 in a graph of half precision."""
    precision = kind.name.partition("-")[0]
    plan = choice.plans.get(precision) if follows_plan(kind.name) else None
    return plan.fp32_nodes if plan else ()


def _told(folder: Path, choice: PlanChoice) -> tuple[list[Path], list[str]]:
    """What a bundle keeps of plans, but for INT8's, and what the user is told of them."""
    documents: list[Path] = []
    notes = [*choice.notes]
    for precision, planned in choice.searches.items():
        documents += _planning_documents(folder, precision, planned)
        of = "" if precision == "int8" else f" of {precision}"
        notes.append(f"plan{of}: {planned.result.conclusion}")
        notes += planned.attribution.notes
    for precision, plan in choice.plans.items():
        place = folder / plan_name(precision)
        files.write_text(place, plan.to_json())
        documents.append(place)
    return documents, notes


def _copy_export(graph: GraphFile, place: Path) -> None:
    """Copy the export, which has to be what was read: planning took minutes since.

    Raises:
        ModelError: It was changed.
    """
    files.copy(graph.path, place)
    if sha256_of_file(place) != graph.sha256:
        raise ModelError(
            str(graph.path),
            got="a file that changed during the build",
            expected=f"SHA-256 {graph.sha256[:16]}…, which was read at the beginning",
            fix="Build again.",
        )


def _check_fp16(
    request: Request, images: ImageSets, choice: PlanChoice, progress: StageProgress
) -> None:
    """Check every FP16 graph, each with what its plan keeps in FP32."""
    kinds = dict.fromkeys(map(request.graph_kind, request.jobs))
    for keep in dict.fromkeys(_kept(choice, kind) for kind in kinds if kind.declares == "fp16"):
        from mahtrt.precision.half import check_half

        progress("checking FP16", 0, 0)
        few = NetworkTensors(spread_out(images.evaluation, FINITE_IMAGES), request.graph.spec)
        check_half(request.graph, few, request.options.threads, keep)


def _calibrated(
    request: Request,
    choice: PlanChoice,
    kinds: Sequence[Int8],
    progress: StageProgress,
) -> Calibrated:
    """Calibrate once for all INT8 graphs, or take what was learned."""
    from mahtrt.build.calibrated import calibrate, fine_tuned

    if request.tuned is not None:
        return fine_tuned(request.graph, request.tuned)
    options, searched = request.options, choice.searches.get("int8")
    assert choice.calib is not None
    wanted = sorted({(kind.weight_bits, str(kind.declares)) for kind in kinds})
    found = calibrate(
        request.graph,
        choice.calib,
        choice.plans["int8"],
        replace(options.calibration, trial_bits=wanted[0][0]),
        progress,
        searched.attribution.network.recipe.ranges if searched else None,
    )
    if options.bias_correction:
        for bits, declares in wanted:
            if not found.is_corrected(bits, declares):
                found.measure_bias(choice.calib, bits, options.threads, progress, declares)
    return found


def _quantized(found: Calibrated, kind: Int8) -> onnx.ModelProto:
    """The INT8 graph of a kind, which has the INT8 that was planned."""
    from mahtrt.calibration.int8_check import check_int8
    from mahtrt.graph.describe import describe_graph

    of = float_graph(found.graph.proto, kind, found.plan.fp32_nodes)
    made = found.quantized(of, kind.weight_bits, kind.declares)
    check_int8(describe_graph(made), found.plan)
    return made


def _record(
    calib: NetworkTensors | None, found: Calibrated, tuned: Tuned | None
) -> CalibrationRecord:
    """What a manifest says of the calibration."""
    if tuned is not None:
        images = {k: getattr(tuned.record, k) for k in ("data", "skipped", "images_digest")}
    else:
        assert calib is not None
        images = {
            "data": calib.source.rstrip("/").rpartition("/")[2],
            "skipped": calib.skipped,
            "images_digest": calib.images_digest,
        }
    facts = {**images, **found.to_dict()}
    return dataclass_from(CalibrationRecord, plain(facts), "calibration")


def _notes_on_bits(kinds: Sequence[Int8], tuned: Tuned | None) -> list[str]:
    """Whether weights were learned for other bits than they get."""
    if tuned is None:
        return []
    learned = tuned.record.weight_bits
    others = sorted({kind.weight_bits for kind in kinds} - {learned})
    return [f"weights fine-tuned for {learned} bits are rounded to {bits}" for bits in others]


def _calibration_documents(folder: Path, found: Calibrated) -> Iterator[Path]:
    files.write_text(folder / "ranges.json", found.ranges.to_json())
    yield folder / "ranges.json"


def _planning_documents(folder: Path, precision: str, planned: Planned) -> Iterator[Path]:
    """What a search measured, and its plan, in files that have its precision in their names."""
    from mahtrt.planning.matrix import save_sensitivity
    from mahtrt.planning.picture import write_picture

    of = "" if precision == "int8" else f".{precision}"
    sensitivity = planned.attribution.sensitivity
    save_sensitivity(sensitivity, folder / f"sensitivity{of}.json")
    write_picture(folder / f"sensitivity{of}.png", sensitivity)
    text = json.dumps(planned.result.to_dict(), indent=1)
    files.write_text(folder / f"planning{of}.json", text + "\n")
    files.write_text(folder / plan_name(precision), planned.result.plan.to_json())
    names = (f"sensitivity{of}.json", f"sensitivity{of}.png", f"planning{of}.json")
    for name in (*names, plan_name(precision)):
        yield folder / name


def _write(folder: Path, kind: GraphKind, proto: onnx.ModelProto) -> Path:
    place = folder / kind.file_name
    files.write_bytes(place, proto.SerializeToString(deterministic=True))
    return place
