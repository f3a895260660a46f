"""Ends a graph at the heatmaps, and says what the nodes behind them computed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

import onnx
from onnx import helper

from mahtrt.errors import ModelError
from mahtrt.spec import ModelSpec, is_decoding
from mahtrt.targets.kernel_decode.fuse import OP_TYPE, SCOPE_KEY, fuse_soft_argmax
from mahtrt.targets.kernel_decode.record import KernelDecode

_FIX = "Build without --fuse-soft-argmax."
_DTYPES: dict[int, Literal["float32", "float16"]] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.FLOAT16: "float16",
}


def cut_decoding(
    model: onnx.ModelProto, spec: ModelSpec | None
) -> tuple[onnx.ModelProto, KernelDecode]:
    """A model that ends at the heatmaps, and what its nodes behind them computed as a record.

    Args:
        model: As :func:`cut_soft_argmax` takes it.
        spec: The model's; it says whether the decoding is DARK.

    Raises:
        ModelError: It has no decoding that a kernel stands for.
    """
    if spec is not None and spec.decode.method == "dark":
        return cut_dark(model, spec)
    return cut_soft_argmax(model)


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
            fix=_FIX,
        )
    (node,) = nodes
    graph.node.remove(node)
    heatmaps = _end_at(cut, node.input[0], wanted)
    del cut.opset_import[:]
    cut.opset_import.extend(each for each in model.opset_import)
    attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    height, width = attributes["input_size"]
    size = (int(height), int(width))
    names = (node.output[0], node.output[1], node.output[2])
    record = _record(heatmaps, "soft_argmax", size, names)
    return cut, replace(record, temperature=attributes["temperature"])


def cut_dark(model: onnx.ModelProto, spec: ModelSpec) -> tuple[onnx.ModelProto, KernelDecode]:
    """A model without its DARK, and DARK as a record.

    The nodes of DARK are those of the module that decodes (:func:`mahtrt.spec.is_decoding`).

    Args:
        model: As :func:`cut_soft_argmax` takes it.

    Raises:
        ModelError: There are no such nodes, they read more than one tensor, or other outputs than
            landmarks, confidence and spread in network pixels come of them.
    """
    cut = onnx.shape_inference.infer_shapes(model)  # a copy, with the types of all tensors
    graph = cut.graph
    decoding = [node for node in graph.node if is_decoding(_scope(node))]
    computed = {name for node in decoding for name in node.output}
    constants = {tensor.name for tensor in graph.initializer}
    read = {name for node in decoding for name in node.input if name} - computed - constants
    names = _dark_outputs(spec)
    rest = [node for node in graph.node if not is_decoding(_scope(node))]
    elsewhere = {name for node in rest for name in node.input}
    others = {output.name for output in graph.output} - set(names)
    if len(read) != 1 or not set(names) <= computed or computed & (elsewhere | others):
        raise ModelError(
            "--fuse-soft-argmax",
            got=f"a graph whose decoding reads {', '.join(sorted(read)) or 'nothing'}",
            expected="DARK over one tensor, of which nothing but the landmarks comes",
            fix=_FIX,
        )
    (source,) = read
    for node in decoding:
        graph.node.remove(node)
    heatmaps = _end_at(cut, _before_cast(graph, source), names)
    record = _record(heatmaps, "dark", spec.input.size, names)
    return cut, replace(record, sigma=spec.decode.sigma)


def _scope(node: onnx.NodeProto) -> str:
    return next((p.value for p in node.metadata_props if p.key == SCOPE_KEY), node.name)


def _dark_outputs(spec: ModelSpec) -> tuple[str, str, str]:
    """Names of landmarks, confidence and spread.

    Raises:
        ModelError: One is missing, or not in network pixels.
    """
    found = [spec.output(kind) for kind in ("landmarks", "confidence", "spread")]
    frames = [each.frame for each in found if each is not None and each.kind != "confidence"]
    if None in found or frames != ["network", "network"]:
        raise ModelError(
            "--fuse-soft-argmax",
            got=f"outputs {', '.join(f'{each.name} ({each.frame})' for each in spec.outputs)}",
            expected="landmarks, confidence and spread in network pixels",
            fix=_FIX,
        )
    landmarks, confidence, spread = (each.name for each in found if each is not None)
    return landmarks, confidence, spread


def _before_cast(graph: onnx.GraphProto, name: str) -> str:
    """The FP16 tensor that a tensor is a copy of in FP32; itself where it is none."""
    producer = next((node for node in graph.node if name in node.output), None)
    if producer is None or producer.op_type != "Cast":
        return name
    types = {each.name: each.type.tensor_type.elem_type for each in graph.value_info}
    is_half = types.get(producer.input[0]) == onnx.TensorProto.FLOAT16
    return producer.input[0] if is_half else name


def _end_at(model: onnx.ModelProto, name: str, without: Sequence[str]) -> onnx.ValueInfoProto:
    """Make a tensor an output in place of others, and drop what nothing reads any more."""
    graph = model.graph
    heatmaps = _declared(model, name)
    kept = [output for output in graph.output if output.name not in without]
    if heatmaps.name not in {output.name for output in kept}:
        kept.append(heatmaps)
    del graph.output[:]
    graph.output.extend(kept)
    read = {each for node in graph.node for each in node.input}
    unread = [tensor for tensor in graph.initializer if tensor.name not in read]
    for tensor in unread:
        graph.initializer.remove(tensor)
    return heatmaps


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
            fix=_FIX,
        )
    copy = onnx.ValueInfoProto()
    copy.CopyFrom(found)
    return copy


def _record(
    heatmaps: onnx.ValueInfoProto,
    kernel: Literal["soft_argmax", "dark"],
    input_size: tuple[int, int],
    names: tuple[str, str, str],
) -> KernelDecode:
    images, maps, rows, columns = (d.dim_value for d in heatmaps.type.tensor_type.shape.dim)
    landmarks, confidence, spread = names
    return KernelDecode(
        kernel=kernel,
        heatmaps=heatmaps.name,
        dtype=_DTYPES[heatmaps.type.tensor_type.elem_type],
        shape=(images, maps, rows, columns),
        input_size=input_size,
        landmarks=landmarks,
        confidence=confidence,
        spread=spread,
    )
