"""ONNX to ONNX Runtime: the engine is the ONNX file, opened once to see that it runs here."""

from __future__ import annotations

from pathlib import Path

from mahtrt.bundle.records import DeviceRecord
from mahtrt.errors import BuildError, ModelError, require
from mahtrt.machine import describe_machine
from mahtrt.targets.artifact import EngineArtifact
from mahtrt.targets.onnxruntime.run import CPU_PROVIDER, batch_of, open_onnx
from mahtrt.targets.target import DEFAULT_OPTIONS, EngineOptions

_NOTES = {
    "bf16": ("ONNX Runtime rounds to BF16 by arithmetic: the speed is not BF16's.",),
    "fp16": ("ONNX Runtime computes FP16 in FP32 on a CPU: the size is FP16's, the speed is not.",),
}


def build_engine(
    onnx_path: Path, precision: str, out_dir: Path, options: EngineOptions = DEFAULT_OPTIONS
) -> EngineArtifact:
    """Open an ONNX with ONNX Runtime on the CPU.

    Args:
        onnx_path: Static shapes. The graph holds its precision: Q/DQ, FP16 types, or rounding to
            BF16.
        precision: ``fp32``, ``fp16``, ``int8`` or ``bf16``.
        out_dir: Not used: the engine is the ONNX itself, optimised when it is opened.

    Raises:
        BuildError: ONNX Runtime refuses the graph, or its shapes are not static.
        MissingComponentError: ONNX Runtime is not installed.
    """
    ort = require("onnxruntime", extra="cpu", needed_for="target onnxruntime")
    try:
        session = open_onnx(onnx_path, str(onnx_path), threads=options.threads)
    except ModelError as error:
        raise BuildError(error.subject, got=error.got, expected=error.expected) from error
    return EngineArtifact(
        files={"onnx": onnx_path},
        batch=batch_of(session, str(onnx_path)),
        device=DeviceRecord(
            name=describe_machine().cpu,
            inference_precision="f32",
            settings={"provider": CPU_PROVIDER},
        ),
        versions={"onnxruntime": ort.__version__},
        notes=_NOTES.get(precision, ()),
    )
