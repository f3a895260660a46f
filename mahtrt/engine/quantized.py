"""The graphs that engines are compiled from: the export, BF16 rounded, INT8 quantised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mahtrt.benchmarks.machine import Machine, describe_machine
from mahtrt.data.datasets import dataset_digest
from mahtrt.data.preprocess import PREPROCESS_VERSION
from mahtrt.data.sample import Dataset
from mahtrt.data.subset import NetworkTensors
from mahtrt.engine.bundle import BundleWriter
from mahtrt.engine.graph_file import GraphFile
from mahtrt.engine.options import BuildOptions
from mahtrt.errors import UsageError

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Graphs:
    """What has been written into a bundle, for its manifest.

    Attributes:
        models: Precision to the relative path of its ONNX.
        plan: The precision plan, as plain data.
        calibration: The calibration card, as plain data.
    """

    models: dict[str, str] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)


def write_graphs(
    options: BuildOptions,
    graph: GraphFile,
    calib: Dataset | None,
    writer: BundleWriter,
    progress: Progress,
) -> Graphs:
    """Write the ONNX of every precision into the bundle.

    Args:
        calib: The images to calibrate on, None unless INT8 is built.
        progress: Told of calibration images.
    """
    graphs = Graphs()
    place = writer.place("model.onnx")
    place.write_bytes(graph.path.read_bytes())
    graphs.models["fp32"] = "model.onnx"
    if "bf16" in options.precisions:
        from mahtrt.calibration.bf16 import round_to_bf16

        _write(writer, graphs, "bf16", round_to_bf16(graph.proto))
    if "int8" in options.precisions:
        assert calib is not None
        _write(writer, graphs, "int8", _quantized(options, graph, calib, writer, graphs, progress))
    return graphs


def weight_bits_here(machine: Machine) -> int:
    """How many bits of INT8 weights this CPU multiplies without saturating.

    Without VNNI, x86 adds two products of 8-bit numbers in 16 bits, which overflow for full-range
    weights (Intel's oneDNN documentation, "Nuances of int8 computations").
    """
    if machine.architecture.lower() not in ("x86_64", "amd64", "i686", "x86"):
        return 8
    return 8 if {"vnni", "amx-int8"} & set(machine.isa) else 7


def _quantized(
    options: BuildOptions,
    graph: GraphFile,
    calib: Dataset,
    writer: BundleWriter,
    graphs: Graphs,
    progress: Progress,
) -> Any:
    from mahtrt.calibration.methods import DEFAULT_PERCENTILE
    from mahtrt.calibration.plan import default_plan, load_plan
    from mahtrt.calibration.qdq import quantize, tensors_to_calibrate
    from mahtrt.calibration.ranges import collect_ranges

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
    bits = options.weight_bits or weight_bits_here(describe_machine())
    writer.place("ranges.json").write_text(ranges.to_json(), encoding="utf-8")
    writer.place("plan.json").write_text(plan.to_json(), encoding="utf-8")
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
    }
    return quantize(graph.proto, ranges, plan, method=options.method, weight_bits=bits)  # type: ignore[arg-type]


def _write(writer: BundleWriter, graphs: Graphs, precision: str, proto: Any) -> None:
    relative = f"model.{precision}.onnx"
    writer.place(relative).write_bytes(proto.SerializeToString(deterministic=True))
    graphs.models[precision] = relative
