"""ONNX Runtime as a user runs it without mahtrt."""

from __future__ import annotations

from mahtrt.spec import ModelSpec
from mahtrt.targets.onnxruntime.run import OnnxRuntimeBackend, open_onnx


def open_fp32(data: bytes, spec: ModelSpec, threads: int | None) -> OnnxRuntimeBackend:
    """An ONNX file's content in FP32.

    Args:
        threads: Threads of one inference; None leaves their number to the runtime.

    Raises:
        ModelError: ONNX Runtime refuses it.
    """
    session = open_onnx(data, "the plain export", threads=threads)
    return OnnxRuntimeBackend(session, spec, "onnxruntime")
