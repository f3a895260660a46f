"""ONNX to an engine for ONNX Runtime on a GPU: the ONNX itself, opened once to see that it runs.

Where there is a GPU, the graph is opened as it will be run. Where there is none, the CPU opens it:
that shows that the graph is whole, and its engine is judged on a stand-in.
"""

from __future__ import annotations

from pathlib import Path

from mahtrt.bundle.records import DeviceRecord
from mahtrt.errors import BuildError, ModelError, require
from mahtrt.targets.artifact import EngineArtifact
from mahtrt.targets.onnxruntime.run import batch_of, open_onnx
from mahtrt.targets.onnxruntime_cuda.findings import gpu_here
from mahtrt.targets.onnxruntime_cuda.provider import (
    CONV_SEARCH,
    CUDA_PROVIDER,
    ProviderOptions,
    open_on_gpu,
)

NAME = "onnxruntime-cuda"
_NOTES = {
    "bf16": ("ONNX Runtime rounds to BF16 by arithmetic: the speed is not BF16's.",),
    "int8": ("ONNX Runtime computes Q/DQ literally on a GPU: the speed is not INT8's.",),
}
_UNSEEN = "Opened on a CPU: whether the CUDA provider takes every node shows where it runs."


def build_engine(onnx_path: Path, precision: str) -> EngineArtifact:
    """Open an ONNX with the CUDA provider, or with the CPU's where there is no GPU.

    Args:
        onnx_path: Static shapes. The graph holds its precision.
        precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``.

    Raises:
        BuildError: ONNX Runtime refuses the graph.
        ModelError: Its shapes are not static.
        MissingComponentError: ONNX Runtime is not installed.
    """
    ort = require("onnxruntime", extra="gpu", needed_for=f"target {NAME}")
    probe = gpu_here()
    notes, where = _NOTES.get(precision, ()), str(onnx_path)
    if probe is None:
        try:
            session = open_onnx(onnx_path, where)
        except ModelError as error:
            raise BuildError(error.subject, got=error.got, expected=error.expected) from error
        notes = (*notes, _UNSEEN)
    else:
        opened = open_on_gpu(ort, onnx_path, where, ProviderOptions())
        session, notes = opened.session, (*notes, *opened.notes)
    return EngineArtifact(
        files={"onnx": onnx_path},
        batch=batch_of(session, where),
        device=DeviceRecord(
            name=probe.names[0] if probe else "",
            capabilities=probe.capabilities[:1] if probe else (),
            settings={
                "provider": CUDA_PROVIDER,
                "tf32": "off",
                "cudnn_conv_algo_search": CONV_SEARCH,
            },
        ),
        versions={NAME: ort.__version__},
        notes=notes,
    )
