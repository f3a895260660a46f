"""Bundles whose engines are one matrix product, to bench and to verify."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from bench_fakes import make_spec
from onnx import TensorProto, helper, numpy_helper

from mahtrt.build.records import gate_record
from mahtrt.bundle.bundle import write_bundle
from mahtrt.bundle.golden import GoldenVector, write_golden
from mahtrt.bundle.manifest import EngineRecord, GraphRecord, Manifest
from mahtrt.bundle.records import AccuracyRecord, VerdictRecord
from mahtrt.data.preprocess_version import PREPROCESS_VERSION
from mahtrt.measure.limits import Limits

SPEC = make_spec()
GOLDEN = tuple(
    GoldenVector(f"{i}", np.full((50, 40), 100 + i, np.uint8), np.zeros((3, 2), np.float32))
    for i in range(2)
)


def write_onnx(path: Path, off_px: float, batch: int = 1) -> None:
    """Landmarks that follow the image's mean, all off by the same network pixels in x."""
    weight = np.full((32 * 32, 6), 1e-3, np.float32)
    bias = np.array([5, 10, 15, 20, 25, 30], np.float32) + np.array([off_px, 0] * 3, np.float32)
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["points"]),
        helper.make_node("Reshape", ["points", "shape"], ["landmarks"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, (batch, 1, 32, 32))],
        [helper.make_tensor_value_info("landmarks", TensorProto.FLOAT, (batch, 3, 2))],
        [
            numpy_helper.from_array(weight, "weight"),
            numpy_helper.from_array(bias, "bias"),
            numpy_helper.from_array(np.array([batch, 3, 2], np.int64), "shape"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


def write_tiny(
    path: Path,
    *,
    off_px: float = 0.1,
    batch: int = 1,
    fp32: bool = True,
    golden: Sequence[GoldenVector] = GOLDEN,
    budgets: Mapping[str, Any] | None = None,
    recorded: AccuracyRecord | None = None,
    passed: bool = True,
) -> Path:
    """A bundle of small engines; INT8's landmarks are off, FP32's are not.

    Args:
        recorded: What INT8 gave for the golden images.
        passed: Its verdict.
    """
    models = {"int8": "model.int8.onnx"} | ({"fp32": "model.onnx"} if fp32 else {})
    engines = tuple(
        EngineRecord(
            *(f"{target}-{precision}", target, precision, {"onnx": name}, batch),  # type: ignore[arg-type]
            verdict=VerdictRecord(passed),
            golden=recorded if precision == "int8" else None,
        )
        for target in ("openvino", "onnxruntime")
        for precision, name in models.items()
    )
    with write_bundle(path) as writer:
        write_onnx(writer.place("model.int8.onnx"), off_px, batch)
        if fp32:
            write_onnx(writer.place("model.onnx"), 0.0, batch)
        writer.finish(
            Manifest(
                spec=SPEC,
                precision="int8",
                graphs=tuple(GraphRecord(p, name, p, batch) for p, name in models.items()),  # type: ignore[arg-type]
                engines=engines,
                default_engine="openvino-int8",
                preprocess_version=PREPROCESS_VERSION,
                golden=write_golden(writer, "torch", golden) if golden else None,
                gate=gate_record("torch", Limits(**(budgets or {}))),
            )
        )
    return path
