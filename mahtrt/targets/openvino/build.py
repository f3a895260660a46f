"""ONNX to OpenVINO: an IR (model.xml and model.bin), and what OpenVINO compiled it to here.

The compiled blob holds the network after OpenVINO's graph rewrites, no machine code. It is tied to
one OpenVINO version and CPU, so it is opened where both are the same; else the IR is (another CPU)
or the ONNX (another version). Opening plus first inference, seconds, from a warm file cache, and
peak memory of the process (OpenVINO 2026.4, two Zen 3 cores, 2 or 3 runs each, equal outputs):

    =================  =======================  ====================  ==================
    network            IR                       blob                  blob's size
    =================  =======================  ====================  ==================
    nano, FP32         0.91-0.96, 181 MB        0.36-0.60, 182 MB     22 MB
    nano, INT8         0.81-0.95, 189 MB        0.39-0.41, 178 MB     17 MB
    base, FP32         1.9-2.1, 793 MB          2.1-2.2, 790 MB       220 MB
    base, INT8         2.9-3.3, 493 MB          2.3-2.5, 471 MB       89 MB
    =================  =======================  ====================  ==================

It spares a constant half second. Where weights decide (base in FP32) it only takes space, so a blob
is kept up to a size. Blobs without weights (``CACHE_MODE`` ``OPTIMIZE_SIZE`` with ``WEIGHTS_PATH``)
would be small, but importing one ended the process.
"""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

from mahtrt.atomic import naming_full_disk
from mahtrt.errors import BuildError, require
from mahtrt.machine import usable_cores
from mahtrt.targets.artifact import EngineArtifact
from mahtrt.targets.openvino.run import (
    batch_of,
    compile_model,
    cpu_device,
    has_native_bf16,
    openvino_version,
    read_model,
    reason_of,
)
from mahtrt.targets.openvino.tune import (
    Configuration,
    Measure,
    Tuned,
    candidates_for,
    thread_counts,
    time_configurations,
    tune,
)
from mahtrt.targets.target import DEFAULT_OPTIONS, EngineOptions

__all__ = ["build_engine", "has_native_bf16"]

# Larger blobs are not kept: reading them takes what they spare.
MAX_BLOB_BYTES = 128 * 2**20


def build_engine(
    onnx_path: Path,
    precision: str,
    out_dir: Path,
    options: EngineOptions = DEFAULT_OPTIONS,
    *,
    measure: Measure = time_configurations,
) -> EngineArtifact:
    """Convert an ONNX to OpenVINO's IR, and find out how that runs fastest on this CPU.

    The choice is in the artefact's device: ``inference_precision``, ``threads`` where it is not
    OpenVINO's own, and as ``tried`` the p50 in ms of each configuration measured.

    Args:
        onnx_path: Static shapes; for ``bf16`` on a CPU without native BF16, already rounded.
        precision: ``fp32``, ``int8`` (the graph holds Q/DQ), or ``bf16``.
        out_dir: Gets model.xml, model.bin and model.blob; made if missing.
        options: Without ``threads``, what is best is measured; a ``trial`` keeps OpenVINO's own
            configuration and writes no blob.
        measure: Times configurations.

    Raises:
        BuildError: OpenVINO refuses the graph, or its shapes are not static.
        MissingComponentError: OpenVINO is not installed.
    """
    threads, trial = options.threads, options.trial
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
        batch = batch_of(compiled, str(onnx_path))
        own = int(compiled.get_property("INFERENCE_NUM_THREADS"))
        default = Configuration(inference_precision, threads)
        tuned = _tune(ir, default, own, precision, None if trial else measure)
        if tuned.choice != default:
            compiled = compile_model(
                ir,
                inference_precision=tuned.choice.inference_precision,
                threads=tuned.choice.threads,
            )
        blob = {} if trial else _save_blob(compiled, ir)
    except RuntimeError as error:
        raise BuildError(
            str(onnx_path), got=reason_of(error), expected="a graph that OpenVINO compiles"
        ) from error
    return EngineArtifact(
        files={"onnx": onnx_path, "ir": ir, "weights": ir.with_suffix(".bin"), **blob},
        batch=batch,
        device=_device(tuned, default),
        versions={"openvino": openvino_version()},
        notes=tuple(notes),
    )


def _tune(
    ir: Path, default: Configuration, own_threads: int, precision: str, measure: Measure | None
) -> Tuned:
    """Choose among what the user left open."""
    if measure is None:
        return Tuned(default, {})
    # BF16 and FP32 are what the user asked for; of an INT8 graph, the float part is free.
    free = precision == "int8" and default.inference_precision == "bf16"
    precisions = ("f32",) if free else ()
    counts = thread_counts(own_threads) if default.threads is None else ()
    return tune(
        ir, default, candidates_for(default, precisions=precisions, threads=counts), measure
    )


def _device(tuned: Tuned, default: Configuration) -> dict[str, Any]:
    device = {**cpu_device(), "inference_precision": tuned.choice.inference_precision}
    if tuned.tried_ms:
        device |= {"cores": usable_cores(), "tried": dict(tuned.tried_ms)}
    if tuned.choice.threads != default.threads:
        device["threads"] = tuned.choice.threads
    return device


def _save_blob(compiled: Any, ir: Path) -> dict[str, Path]:
    """Write model.blob beside the IR, unless it is too large to pay; its role and place."""
    if ir.with_suffix(".bin").stat().st_size > MAX_BLOB_BYTES:  # about as large
        return {}
    blob = ir.with_suffix(".blob")
    with naming_full_disk(blob):
        blob.write_bytes(compiled.export_model().getbuffer())
    return {"blob": blob}


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
