"""ONNX to OpenVINO: how the graph runs fastest on this CPU, and what OpenVINO compiled it to.

The compiled blob holds the network after OpenVINO's graph rewrites, no machine code. It is tied to
one OpenVINO version and CPU, so it is opened where both are the same; elsewhere the IR
(:mod:`mahtrt.targets.openvino.ir`) is compiled again. Opening plus first inference, seconds, and
peak memory of the process (OpenVINO 2026.4, two Zen 4 cores shared with other work, with much of it
for base; medians of 5 interleaved runs, 3 of base; equal outputs):

    =================  =====================  =====================  =====================
    network            ONNX                   OpenVINO's IR          blob
    =================  =====================  =====================  =====================
    nano, FP32         1.4 s, 211 MB          1.2 s, 208 MB          0.8 s, 206 MB
    nano, INT8         2.3 s, 201 MB          2.3 s, 197 MB          0.9 s, 192 MB
    base, FP32         10.5 s, 763 MB         11.1 s, 760 MB         not kept
    base, INT8         8.7 s, 484 MB          9.8 s, 480 MB          6.0 s, 454 MB
    =================  =====================  =====================  =====================

An IR opens no faster than the ONNX that is there anyway, and keeps every weight twice: a bundle of
FP32 and INT8 for OpenVINO grows from 78 to 118 MiB with nano, from 400 to 712 MiB with base. It is
written for programs without Python, which cannot edit an ONNX as OpenVINO needs it: without an IR,
these could open an engine only on the CPU and with the OpenVINO that built it. The blob spares one
to three seconds. Where weights decide (base in FP32) it only takes space, so a blob is kept up to a
size. Blobs without weights (``CACHE_MODE`` ``OPTIMIZE_SIZE`` with ``WEIGHTS_PATH``) would be small,
but importing one ended the process.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from mahtrt import files
from mahtrt.atomic import naming_place
from mahtrt.bundle.records import DeviceRecord
from mahtrt.errors import BuildError
from mahtrt.machine import thread_counts, usable_cores
from mahtrt.targets.artifact import EngineArtifact
from mahtrt.targets.openvino.ir import write_ir
from mahtrt.targets.openvino.run import (
    BLOB,
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
    time_configurations,
    tune,
)
from mahtrt.targets.target import DEFAULT_OPTIONS, EngineOptions

# Larger blobs are not kept: reading them takes what they spare.
MAX_BLOB_BYTES = 128 * 2**20
NO_NATIVE_BF16 = (
    "This CPU has no native BF16: values are rounded as BF16 rounds them, "
    "the speed is that of FP32."
)


def build_engine(
    onnx_path: Path,
    precision: str,
    out_dir: Path,
    options: EngineOptions = DEFAULT_OPTIONS,
    *,
    measure: Measure = time_configurations,
) -> EngineArtifact:
    """Compile an ONNX with OpenVINO, and find out how it runs fastest on this CPU.

    The choice is in the artefact's device: ``inference_precision``, ``threads`` where it is not
    OpenVINO's own, and as ``tried_ms`` the p50 in ms of each configuration measured.

    Args:
        onnx_path: Static shapes; for ``bf16`` on a CPU without native BF16, already rounded.
        precision: ``fp32``, ``int8`` (the graph holds Q/DQ), or ``bf16``.
        out_dir: Gets model.xml and model.bin, and model.blob unless that is too large to pay; made
            if missing.
        options: Without ``threads``, what is best is measured; a ``trial`` keeps OpenVINO's own
            configuration and writes no file.
        measure: Times configurations.

    Raises:
        BuildError: OpenVINO refuses the graph, or its shapes are not static.
        MissingComponentError: OpenVINO is not installed.
    """
    # What an INT8 graph leaves in floating point is BF16 where the CPU multiplies that natively.
    bf16 = precision != "fp32" and has_native_bf16()
    default = Configuration("bf16" if bf16 else "f32", options.threads)
    try:
        compiled = _compile(onnx_path, default)
        batch = batch_of(compiled, str(onnx_path))
        tuned = Tuned(default, {})
        if not options.trial:
            own_threads = int(compiled.get_property("INFERENCE_NUM_THREADS"))
            free = _left_open(default, precision, own_threads)
            tuned = tune(onnx_path, default, free, measure)
        if tuned.choice != default:
            compiled = _compile(onnx_path, tuned.choice)
        made = {} if options.trial else _save(compiled, onnx_path, out_dir)
    except (RuntimeError, UnicodeDecodeError) as error:  # names that are not UTF-8
        raise BuildError(
            str(onnx_path), got=reason_of(error), expected="a graph that OpenVINO compiles"
        ) from error
    return EngineArtifact(
        files={"onnx": onnx_path, **made},
        batch=batch,
        device=_device(tuned, default),
        versions={"openvino": openvino_version()},
        notes=(NO_NATIVE_BF16,) if precision == "bf16" and not bf16 else (),
    )


def _compile(onnx: Path, config: Configuration) -> Any:
    return compile_model(
        onnx, inference_precision=config.inference_precision, threads=config.threads
    )


def _left_open(default: Configuration, precision: str, own_threads: int) -> list[Configuration]:
    """Configurations that the user left open, beside the default."""
    # BF16 and FP32 are what the user asked for; of an INT8 graph, the float part is free.
    free = precision == "int8" and default.inference_precision == "bf16"
    counts = thread_counts(own_threads) if default.threads is None else ()
    return candidates_for(default, precisions=("f32",) if free else (), threads=counts)


def _device(tuned: Tuned, default: Configuration) -> DeviceRecord:
    chosen = tuned.choice
    return replace(
        cpu_device(),
        inference_precision=chosen.inference_precision,
        threads=chosen.threads if chosen.threads != default.threads else None,
        cores=usable_cores() if tuned.tried_ms else None,
        tried_ms=tuned.tried_ms,
    )


def _save(compiled: Any, onnx: Path, folder: Path) -> dict[str, Path]:
    """Write the IR, and what OpenVINO compiled unless that is too large to pay; role to place."""
    places = write_ir(read_model(onnx), folder)
    if onnx.stat().st_size > MAX_BLOB_BYTES:  # the blob is about as large
        return places
    blob = folder / "model.blob"
    with naming_place(blob):
        files.write_bytes(blob, compiled.export_model().getbuffer())
    return {**places, BLOB: blob}
