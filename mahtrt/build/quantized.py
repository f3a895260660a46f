"""The graphs that engines are compiled from: the export, in half precision, quantised."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mahtrt.build.options import BuildOptions, Tell
from mahtrt.bundle.bundle import BundleWriter
from mahtrt.data.datasets import dataset_digest
from mahtrt.data.preprocess import PREPROCESS_VERSION
from mahtrt.data.sample import Dataset
from mahtrt.graph.graph_file import GraphFile
from mahtrt.machine import Machine, describe_machine
from mahtrt.targets.targets import find_target

if TYPE_CHECKING:
    import onnx

    from mahtrt.build.planned import Planned


FLOAT32 = "fp32"
# What the rest of a quantised graph is.
_FLOAT_PART = {
    "int8": FLOAT32,
    "int8-fp32": FLOAT32,
    "int8-fp16": "fp16",
    "int8-bf16": "bf16-typed",
}
INT8_FLOATS = ("fp16", "bf16", "fp32")


@dataclass(slots=True)
class Graphs:
    """What has been written into a bundle, for its manifest.

    Attributes:
        models: Name of the graph (see :func:`graph_for`) to the relative path of its ONNX.
        plan: The precision plan, as plain data.
        calibration: What it was calibrated on and how, with the calibration card, as plain data.
        notes: What the user should know, one sentence each.
        stand_ins: Name of a graph that ONNX Runtime does not run, to one outside of the bundle
            that it does.
    """

    models: dict[str, str] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    stand_ins: dict[str, Path] = field(default_factory=dict)


def graph_for(precision: str, target: str, int8_float: str) -> str:
    """The name of the ONNX that an engine is compiled from.

    ``fp32``, ``fp16`` and ``int8`` are what they say; ``bf16`` rounds to BF16 in an FP32 graph and
    ``bf16-typed`` declares it; ``int8-fp16`` is INT8 where planned and FP16 elsewhere. A runtime
    with BF16 of its own needs no rounding in the graph.

    Args:
        int8_float: What the rest of a typed INT8 engine computes in.
    """
    if find_target(target).typed:
        return {"bf16": "bf16-typed", "int8": f"int8-{int8_float}"}.get(precision, precision)
    if precision == "bf16" and target == "openvino":
        from mahtrt.targets.openvino.build import has_native_bf16

        return FLOAT32 if has_native_bf16() else "bf16"
    return precision


def write_graphs(
    options: BuildOptions,
    graph: GraphFile,
    calib: Dataset | None,
    writer: BundleWriter,
    names: Sequence[str],
    scratch: Path,
    tell: Tell,
    planned: Planned | None = None,
) -> Graphs:
    """Write ONNX files into the bundle; always the export itself.

    Args:
        calib: The images to calibrate on, None unless INT8 is built.
        names: Which, as :func:`graph_for` calls them.
        scratch: A folder for what is made on the way.
        tell: Told of images.
        planned: The plan to follow, where it was made here.

    Raises:
        GateError: Planned INT8 is not in its graph.
        UsageError: A plan without INT8.
    """
    graphs = Graphs()
    place = writer.place("model.onnx")
    place.write_bytes(graph.path.read_bytes())
    graphs.models[FLOAT32] = "model.onnx"
    if planned is not None:
        _write_planning(writer, planned, graphs)
    wanted = [name for name in dict.fromkeys(names) if name != FLOAT32]
    quantised = [name for name in wanted if name.startswith("int8")]
    for name in wanted:
        if name not in quantised:
            _write(writer, graphs, name, _float_graph(graph, name))
    if quantised:
        calib = planned.calib if planned is not None else calib
        assert calib is not None
        made = _quantized(options, graph, calib, writer, graphs, quantised, scratch, tell, planned)
        for name, proto in made:
            _write(writer, graphs, name, proto)
    return graphs


def weight_bits_here(machine: Machine) -> int:
    """How many bits of INT8 weights this CPU multiplies without saturating.

    Without VNNI, x86 adds two products of 8-bit numbers in 16 bits, which overflow for full-range
    weights (Intel's oneDNN documentation, "Nuances of int8 computations").
    """
    if machine.architecture.lower() not in ("x86_64", "amd64", "i686", "x86"):
        return 8
    return 8 if {"vnni", "amx-int8"} & set(machine.isa) else 7


def _float_graph(graph: GraphFile, name: str) -> onnx.ModelProto:
    if name == "bf16":
        from mahtrt.precision.emulation import round_to_bf16

        return round_to_bf16(graph.proto)
    if name == FLOAT32:
        return graph.proto
    from mahtrt.precision.half import to_half

    return to_half(graph.proto, "bf16" if name == "bf16-typed" else "fp16")


def _quantized(
    options: BuildOptions,
    graph: GraphFile,
    calib: Dataset,
    writer: BundleWriter,
    graphs: Graphs,
    names: Sequence[str],
    scratch: Path,
    tell: Tell,
    planned: Planned | None,
) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Calibrate once, then quantise the export in each of its float types."""
    from mahtrt.build.calibrated import calibrate
    from mahtrt.calibration.int8_check import check_int8
    from mahtrt.calibration.plan import default_plan, load_plan
    from mahtrt.graph.describe import describe_graph

    if planned is not None:
        plan = planned.result.plan
    elif options.plan is not None:
        plan = load_plan(Path(options.plan))
    else:
        plan = default_plan(graph.proto, graph.spec)
    bits = {name: weight_bits_for(name, options.weight_bits) for name in names}
    found = calibrate(
        graph,
        calib,
        plan,
        options.calibration,
        scratch,
        tell,
        ranges=planned.attribution.recipe.ranges if planned else None,
        weight_bits=min(bits.values()),
    )
    if options.bias_correction:
        for each in sorted(set(bits.values())):
            found.measure_bias(calib, each, options.threads, tell)
    writer.place("ranges.json").write_text(found.ranges.to_json(), encoding="utf-8")
    writer.place("plan.json").write_text(plan.to_json(), encoding="utf-8")
    graphs.notes += [f"calibration: {warning}" for warning in found.card.warnings]
    graphs.plan = plan.to_dict()
    graphs.calibration = {
        "data": calib.source.rstrip("/").rpartition("/")[2],
        "skipped": list(getattr(calib, "skipped", ())),
        "images_digest": dataset_digest(calib),
        "weight_bits": bits,
        "preprocess_version": PREPROCESS_VERSION,
        **found.to_dict(),
    }
    for name in names:
        made = found.quantized(_float_graph(found.graph, _FLOAT_PART[name]), bits[name])
        check_int8(describe_graph(made), plan)
        if name == "int8-bf16":
            graphs.stand_ins[name] = scratch / "int8-stand-in.onnx"
            beside_fp32 = found.quantized(found.graph.proto, bits[name])
            graphs.stand_ins[name].write_bytes(beside_fp32.SerializeToString())
        yield name, made


def _write_planning(writer: BundleWriter, planned: Planned, graphs: Graphs) -> None:
    from mahtrt.planning.matrix import save_sensitivity
    from mahtrt.planning.picture import write_picture

    sensitivity = planned.attribution.sensitivity
    save_sensitivity(sensitivity, writer.place("sensitivity.json"))
    write_picture(writer.place("sensitivity.png"), sensitivity)
    text = json.dumps(planned.result.to_dict(), indent=1)
    writer.place("planning.json").write_text(text + "\n", encoding="utf-8")
    writer.place("plan.json").write_text(planned.result.plan.to_json(), encoding="utf-8")
    graphs.plan = planned.result.plan.to_dict()
    graphs.notes.append(f"plan: {planned.result.conclusion}")


def weight_bits_for(name: str, asked: int | None) -> int:
    """Bits of a quantised graph's weights: as asked, else what is safe where it runs.

    GPUs add INT8 products in 32 bits; what a CPU does depends on the CPU.
    """
    return asked or (weight_bits_here(describe_machine()) if name == "int8" else 8)


def _write(writer: BundleWriter, graphs: Graphs, precision: str, proto: Any) -> None:
    relative = f"model.{precision}.onnx"
    writer.place(relative).write_bytes(proto.SerializeToString(deterministic=True))
    graphs.models[precision] = relative
