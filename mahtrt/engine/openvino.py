"""ONNX to OpenVINO: an IR (model.xml and model.bin) that is known to compile here.

The IR and not the compiled blob is kept. For a 55 M parameter network (218 MB of weights, two
cores) opening and first inference took 1.7-2.2 s from ONNX (peak 602 MB), 1.6-1.9 s from the blob
(peak 793 MB), and 1.3-1.7 s from the IR (peak 328 MB), with bitwise equal outputs. The blob holds
no machine code, is tied to one OpenVINO version and CPU, and is no smaller.
"""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

from mahtrt.atomic import naming_full_disk
from mahtrt.engine.artifact import EngineArtifact
from mahtrt.errors import BuildError, require
from mahtrt.runtime.openvino import (
    batch_of,
    compile_model,
    cpu_device,
    has_native_bf16,
    openvino_version,
    read_model,
    reason_of,
)

__all__ = ["build_engine", "has_native_bf16"]


def build_engine(
    onnx_path: Path, precision: str, out_dir: Path, *, threads: int | None = None
) -> EngineArtifact:
    """Convert an ONNX to OpenVINO's IR and compile that once for this CPU.

    Args:
        onnx_path: Static shapes; for ``bf16`` on a CPU without native BF16, already rounded.
        precision: ``fp32``, ``int8`` (the graph holds Q/DQ), or ``bf16``.
        out_dir: Gets model.xml and model.bin; made if missing.
        threads: Of the trial compilation; None leaves it to OpenVINO.

    Raises:
        BuildError: OpenVINO refuses the graph, or its shapes are not static.
        MissingComponentError: OpenVINO is not installed.
    """
    native_bf16 = has_native_bf16()
    # What an INT8 graph leaves in floating point is BF16 where the CPU multiplies that natively.
    inference_precision = "bf16" if precision != "fp32" and native_bf16 else "f32"
    notes = []
    if precision == "bf16" and not native_bf16:
        notes.append(
            "This CPU has no native BF16: values are rounded as BF16 rounds them, "
            "the speed is that of FP32."
        )
    ir = out_dir / "model.xml"
    try:
        model = read_model(onnx_path)
        with naming_full_disk(ir):
            out_dir.mkdir(parents=True, exist_ok=True)
            _save_ir(model, ir)
        # From the file, so that what was written is what was compiled.
        compiled = compile_model(ir, inference_precision=inference_precision, threads=threads)
    except RuntimeError as error:
        raise BuildError(
            str(onnx_path), got=reason_of(error), expected="a graph that OpenVINO compiles"
        ) from error
    return EngineArtifact(
        files={"onnx": onnx_path, "ir": ir, "weights": ir.with_suffix(".bin")},
        batch=batch_of(compiled, str(onnx_path)),
        device={**cpu_device(), "inference_precision": inference_precision},
        versions={"openvino": openvino_version()},
        notes=tuple(notes),
    )


def _save_ir(model: Any, ir: Path) -> None:
    """Write model.xml and model.bin; a full disk is an OSError as from any other writer."""
    ov: Any = require("openvino", extra="", needed_for="target openvino")
    try:
        ov.save_model(model, ir, compress_to_fp16=False)
    except RuntimeError as error:
        # OpenVINO only says "iostream error"; it stops short of the last block.
        if shutil.disk_usage(ir.parent).free < 2**20:
            raise OSError(errno.ENOSPC, "No space left on device", str(ir)) from error
        raise
