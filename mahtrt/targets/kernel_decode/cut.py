"""Ends a graph at the heatmaps, and says what the nodes behind them computed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import onnx
from onnx import helper

from mahtrt.errors import ModelError
from mahtrt.targets.kernel_decode.fuse import OP_TYPE, fuse_soft_argmax
from mahtrt.targets.kernel_decode.record import KernelDecode

_DTYPES: dict[int, Literal["float32", "float16"]] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.FLOAT16: "float16",
}


def cut_soft_argmax(model: onnx.ModelProto) -> tuple[onnx.ModelProto, KernelDecode]:
    """A model without its soft-argmax, and the soft-argmax as a record.

    The heatmaps that the soft-argmax read become an output, in FP16 where the graph computed them
    in FP16; the other outputs keep their names and order.

    Args:
        model: FP32, FP16 or with Q/DQ, of static shapes. It is left as it is.

    Raises:
        ModelError: It has no soft-argmax as mahtrt exports it, or landmarks are not its outputs as
            the soft-argmax gives them.
    """
    cut = fuse_soft_argmax(model)
    graph = cut.graph
    nodes = [node for node in graph.node if node.op_type == OP_TYPE]
    outputs = [output.name for output in graph.output]
    wanted = [name for node in nodes for name in node.output]
    if len(nodes) != 1 or not set(wanted) <= set(outputs) or _is_read(graph, wanted):
        raise ModelError(
            "--fuse-soft-argmax",
            got=f"a graph with outputs {', '.join(outputs)}",
            expected="one soft-argmax, whose landmarks, confidence and spread are outputs",
            fix="Build without --fuse-soft-argmax.",
        )
    (node,) = nodes
    graph.node.remove(node)
    heatmaps = _declared(cut, node.input[0])
    kept = [output for output in graph.output if output.name not in wanted]
    if heatmaps.name not in outputs:
        kept.append(heatmaps)
    del graph.output[:]
    graph.output.extend(kept)
    del cut.opset_import[:]
    cut.opset_import.extend(each for each in model.opset_import)
    return cut, _record(node, heatmaps)


def _is_read(graph: onnx.GraphProto, names: Iterable[str]) -> bool:
    read = {name for node in graph.node for name in node.input}
    return bool(read & set(names))


def _declared(model: onnx.ModelProto, name: str) -> onnx.ValueInfoProto:
    """A tensor of the graph with its type and static shape."""
    graph = model.graph
    known = (*graph.value_info, *graph.output, *graph.input)
    found = next((each for each in known if each.name == name), None)
    shape = [] if found is None else [d.dim_value for d in found.type.tensor_type.shape.dim]
    if found is None or len(shape) != 4 or not all(shape):
        raise ModelError(
            f"heatmaps {name}",
            got=f"shape {shape or 'unknown'}",
            expected="a static shape (B, K, h, w)",
            fix="Export the model again with mahtrt export.",
        )
    if found.type.tensor_type.elem_type not in _DTYPES:
        raise ModelError(
            f"heatmaps {name}",
            got=onnx.TensorProto.DataType.Name(found.type.tensor_type.elem_type),
            expected="FLOAT or FLOAT16",
            fix="Build without --fuse-soft-argmax.",
        )
    copy = onnx.ValueInfoProto()
    copy.CopyFrom(found)
    return copy


def _record(node: onnx.NodeProto, heatmaps: onnx.ValueInfoProto) -> KernelDecode:
    attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    images, maps, rows, columns = (d.dim_value for d in heatmaps.type.tensor_type.shape.dim)
    height, width = attributes["input_size"]
    landmarks, confidence, spread = node.output
    return KernelDecode(
        heatmaps=heatmaps.name,
        dtype=_DTYPES[heatmaps.type.tensor_type.elem_type],
        shape=(images, maps, rows, columns),
        temperature=attributes["temperature"],
        input_size=(int(height), int(width)),
        landmarks=landmarks,
        confidence=confidence,
        spread=spread,
    )
