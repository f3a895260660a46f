"""The graphs that engines are compiled from: the export, in half precision, quantised."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.benchmarks.machine import Machine, describe_machine
from mahtrt.data.datasets import dataset_digest
from mahtrt.data.preprocess import PREPROCESS_VERSION
from mahtrt.data.sample import Dataset
from mahtrt.data.subset import NetworkTensors
from mahtrt.engine.bundle import BundleWriter
from mahtrt.engine.graph_file import GraphFile
from mahtrt.engine.options import BuildOptions
from mahtrt.engine.targets import find_target
from mahtrt.errors import GateError, UsageError

if TYPE_CHECKING:
    import onnx

Progress = Callable[[int, int], None]


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
        calibration: The calibration card, as plain data.
        notes: What the user should know, one sentence each.
    """

    models: dict[str, str] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


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
        from mahtrt.engine.openvino import has_native_bf16

        return FLOAT32 if has_native_bf16() else "bf16"
    return precision


def write_graphs(
    options: BuildOptions,
    graph: GraphFile,
    calib: Dataset | None,
    writer: BundleWriter,
    names: Sequence[str],
    progress: Progress,
) -> Graphs:
    """Write ONNX files into the bundle; always the export itself.

    Args:
        calib: The images to calibrate on, None unless INT8 is built.
        names: Which, as :func:`graph_for` calls them.
        progress: Told of calibration images.

    Raises:
        GateError: FP16 numbers overflow in this network, or planned INT8 is not in its graph.
        UsageError: A plan without INT8.
    """
    graphs = Graphs()
    place = writer.place("model.onnx")
    place.write_bytes(graph.path.read_bytes())
    graphs.models[FLOAT32] = "model.onnx"
    wanted = [name for name in dict.fromkeys(names) if name != FLOAT32]
    floats = {name: _float_graph(graph, name) for name in wanted if not name.startswith("int8")}
    for name, proto in floats.items():
        _write(writer, graphs, name, proto)
    quantised = [name for name in wanted if name not in floats]
    if quantised:
        assert calib is not None
        for name, proto in _quantized(options, graph, calib, writer, graphs, quantised, progress):
            _write(writer, graphs, name, proto)
    return graphs


def check_half(
    graph: GraphFile, images: Iterable[NDArray[np.float32]], threads: int | None
) -> None:
    """Refuse FP16 for a network whose numbers leave its range, before any engine exists.

    Args:
        images: Preprocessed (C, H, W), a few.

    Raises:
        GateError: Some node gives values that are not finite, or beyond FP16 (exit 3).
        MissingComponentError: ONNX Runtime is not installed.
    """
    from mahtrt.calibration.finite import check_finite
    from mahtrt.calibration.half import to_half

    found = check_finite(to_half(graph.proto, "fp16"), images, threads=threads)
    if found:
        first = found[0]
        raise GateError(
            "FP16",
            got=f"{len(found)} tensors beyond its range, first {first.tensor} of node "
            f"{first.node} ({first.what}, {first.largest:.3g})",
            expected="finite numbers of at most 65504 everywhere",
            fix="Build --bf16, which has the range of FP32, and --int8 with --int8-float bf16.",
        )


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
        from mahtrt.calibration.bf16 import round_to_bf16

        return round_to_bf16(graph.proto)
    if name == FLOAT32:
        return graph.proto
    from mahtrt.calibration.half import to_half

    return to_half(graph.proto, "bf16" if name == "bf16-typed" else "fp16")


def _quantized(
    options: BuildOptions,
    graph: GraphFile,
    calib: Dataset,
    writer: BundleWriter,
    graphs: Graphs,
    names: Sequence[str],
    progress: Progress,
) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Calibrate once, then quantise the export in each of its float types."""
    from mahtrt.calibration.card import make_card
    from mahtrt.calibration.methods import DEFAULT_PERCENTILE
    from mahtrt.calibration.plan import default_plan, load_plan
    from mahtrt.calibration.qdq import quantize, tensors_to_calibrate
    from mahtrt.calibration.ranges import collect_ranges
    from mahtrt.inspection.graph import describe_graph
    from mahtrt.inspection.int8_check import check_int8

    plan = load_plan(options.plan) if options.plan else default_plan(graph.proto, graph.spec)
    tensors = tensors_to_calibrate(graph.proto, plan)
    if not tensors:
        raise UsageError(
            "--int8",
            got="a plan without any INT8 block",
            expected="at least one",
            fix="Build --fp32, or give a plan of your own with --plan.",
        )
    ranges = collect_ranges(
        graph.path,
        tensors,
        NetworkTensors(calib, graph.spec.input),
        percentile=DEFAULT_PERCENTILE if options.percentile is None else options.percentile,
        progress=progress,
        threads=options.threads,
    )
    bits = {name: _weight_bits(options, name) for name in names}
    writer.place("ranges.json").write_text(ranges.to_json(), encoding="utf-8")
    writer.place("plan.json").write_text(plan.to_json(), encoding="utf-8")
    card = make_card(ranges, options.method)  # type: ignore[arg-type]
    graphs.notes += card.warnings
    graphs.plan = plan.to_dict()
    graphs.calibration = {
        "data": calib.source.rstrip("/").rpartition("/")[2],
        "images": ranges.images,
        "skipped": list(getattr(calib, "skipped", ())),
        "digest": ranges.digest,
        "images_digest": dataset_digest(calib),
        "method": options.method,
        "percentile": ranges.percentile if options.method == "percentile" else None,
        "weight_bits": bits,
        "preprocess_version": PREPROCESS_VERSION,
        "card": card.to_dict(),
    }
    for name in names:
        of = _float_graph(graph, _FLOAT_PART[name])
        made = quantize(of, ranges, plan, method=options.method, weight_bits=bits[name])  # type: ignore[arg-type]
        check_int8(describe_graph(made), plan)
        yield name, made


def _weight_bits(options: BuildOptions, name: str) -> int:
    """GPUs add INT8 products in 32 bits; what a CPU does depends on the CPU."""
    here = weight_bits_here(describe_machine()) if name == "int8" else 8
    return options.weight_bits or here


def _write(writer: BundleWriter, graphs: Graphs, precision: str, proto: Any) -> None:
    relative = f"model.{precision}.onnx"
    writer.place(relative).write_bytes(proto.SerializeToString(deterministic=True))
    graphs.models[precision] = relative
