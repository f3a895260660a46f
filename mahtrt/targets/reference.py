"""The target that runs the FP32 export where PyTorch is not at hand."""

from __future__ import annotations

from mahtrt.targets.targets import find_target


def reference_target() -> str:
    """What runs the FP32 export as a reference: ONNX Runtime, or OpenVINO where it is missing."""
    return "onnxruntime" if find_target("onnxruntime").installed else "openvino"
