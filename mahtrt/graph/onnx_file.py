"""Reading an ONNX file to look at it: any that parses, exported by mahtrt or not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mahtrt.errors import ModelError
from mahtrt.graph.graph_file import load_onnx

if TYPE_CHECKING:
    from mahtrt.graph.describe import GraphSummary


def describe_onnx(path: Path) -> GraphSummary:
    """Describe an ONNX file. Weights in other files are not read: their shapes are enough.

    Raises:
        ModelError: The file is no ONNX model, is cut short, or its graph contradicts itself.
        MissingComponentError: The onnx package is not installed.
    """
    model = load_onnx(path, external_data=False)
    from onnx.shape_inference import InferenceError

    from mahtrt.graph.describe import describe_graph

    if not model.graph.node or not model.ir_version:
        raise ModelError(
            str(path), got="a file without a graph", expected="an ONNX file with at least one node"
        )
    _check_order(model.graph, str(path))
    try:
        return describe_graph(model)
    except IndexError as error:
        raise ModelError(
            str(path), got="a node with too few inputs or outputs", expected="a valid graph"
        ) from error
    except InferenceError as error:
        raise ModelError(
            str(path),
            got=f"shapes that contradict each other ({str(error).strip().splitlines()[0]})",
            expected="a valid graph",
        ) from error


def _check_order(graph: Any, subject: str) -> None:
    """Refuse a graph in which a tensor is read before it is made: walking back could not end."""
    known = {""} | {v.name for v in graph.input} | {v.name for v in graph.initializer}
    known |= {v.values.name for v in graph.sparse_initializer}
    for node in graph.node:
        unmade = next((name for name in node.input if name not in known), None)
        if unmade is not None:
            raise ModelError(
                subject,
                got=f"node {node.name or node.op_type!r} that reads {unmade!r} before it is made",
                expected="nodes in the order of their computation",
            )
        known.update(node.output)
