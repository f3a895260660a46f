"""Reading an ONNX file to look at it: any that parses, exported by mahtrt or not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mahtrt.bundle.contents import BundleFile
from mahtrt.errors import ModelError
from mahtrt.graph.graph_file import load_onnx

if TYPE_CHECKING:
    from mahtrt.graph.describe import GraphSummary


def describe_onnx(path: Path | BundleFile) -> GraphSummary:
    """Describe an ONNX file. Weights in other files are not read: their shapes are enough.

    Raises:
        ModelError: The file is no ONNX model, is cut short, or its graph contradicts itself.
        MissingComponentError: The onnx package is not installed.
    """
    model = load_onnx(path, external_data=False)
    from mahtrt.graph.describe import describe_graph

    if not model.graph.node or not model.ir_version:
        raise ModelError(
            str(path), got="a file without a graph", expected="an ONNX file with at least one node"
        )
    try:
        return describe_graph(model)
    except ModelError as error:
        raise ModelError(str(path), got=error.got, expected=error.expected) from error
    except (IndexError, AttributeError, TypeError) as error:
        raise ModelError(
            str(path),
            got="a node with too few inputs or outputs, or attributes of another type",
            expected="a valid graph",
        ) from error
