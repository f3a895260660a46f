"""Reading an ONNX file to look at it: any that parses, exported by mahtrt or not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mahtrt.errors import ModelError, require

if TYPE_CHECKING:
    from mahtrt.inspection.graph import GraphSummary


def describe_onnx(path: Path) -> GraphSummary:
    """Describe an ONNX file. Weights in other files are not read: their shapes are enough.

    Raises:
        ModelError: The file is no ONNX model, is cut short, or its graph contradicts itself.
        MissingComponentError: The onnx package is not installed.
    """
    onnx: Any = require("onnx", extra="export", needed_for="reading ONNX files")
    from mahtrt.inspection.graph import describe_graph

    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's DecodeError and onnx's own have no common base
        raise ModelError(
            str(path),
            got=f"a file that is not ONNX, or only a part of one ({error})",
            expected="an ONNX file",
        ) from error
    if not model.graph.node or not model.ir_version:
        raise ModelError(
            str(path), got="a file without a graph", expected="an ONNX file with at least one node"
        )
    try:
        return describe_graph(model)
    except onnx.shape_inference.InferenceError as error:
        raise ModelError(
            str(path),
            got=f"shapes that contradict each other ({str(error).strip().splitlines()[0]})",
            expected="a valid graph",
        ) from error
