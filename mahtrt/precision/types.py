"""What ONNX's own operator definitions say about half precision, node by node.

A definition names a type variable for each input and output, and the types each variable may take.
The variables that the first output shares with inputs carry the data; they become half together.
Everything else a node reads (Resize's scales and roi, shapes, indices) stays as it is. So no list
of operators is needed, and an operator of a newer opset is treated by its newer definition.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import onnx
from onnx import TensorProto, defs

from mahtrt.graph.index import GraphIndex, opset_of

Half = Literal["fp16", "bf16"]

ELEMENT_TYPE: dict[Half, int] = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
_TYPE_NAME: dict[Half, str] = {"fp16": "tensor(float16)", "bf16": "tensor(bfloat16)"}

# Where TensorRT takes less than ONNX does, as its parser and builder say (TensorRT-RTX 1.7.1).
_NOT_IN_TENSORRT: dict[Half, tuple[str, ...]] = {
    "fp16": ("GridSample",),  # wants the grid in the data's type; half is too coarse for places
    "bf16": ("GridSample", "ConvTranspose", "HardSwish", "Mish"),
}

# A base and an exponent of different types make TensorRT compute in FP32 and say so to nobody.
_ONE_TYPE_IN_TENSORRT = ("Pow",)


@dataclass(frozen=True, slots=True)
class HalfSlots:
    """Which inputs and outputs of a node become half; both are empty where ``reason`` says why not.

    Attributes:
        inputs, outputs: Slots, in their order.
        reason: Why the node cannot be half, None where it can.
    """

    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    reason: str | None = None


def float_slots(graph: GraphIndex, names: Sequence[str]) -> list[int]:
    """The slots that hold an FP32 tensor."""
    return [i for i, name in enumerate(names) if name and _is_float(graph, name)]


def half_slots(graph: GraphIndex, position: int, dtype: Half) -> HalfSlots:
    """What the operator's definition lets become half.

    Args:
        graph: An FP32 graph.
        position: Place of a node that reads or makes FP32 tensors.
        dtype: The half type.
    """
    node, opset = graph.nodes[position], opset_of(graph.model)
    if node.op_type in _NOT_IN_TENSORRT[dtype]:
        return HalfSlots(reason=f"TensorRT has no {node.op_type} in {dtype}")
    try:
        schema = defs.get_schema(node.op_type, opset, node.domain)
    except defs.SchemaError:
        return HalfSlots(reason=f"{node.op_type} is not an operator of ONNX")
    reads = dict(_variables(schema.inputs, float_slots(graph, node.input)))
    makes = dict(_variables(schema.outputs, float_slots(graph, node.output)))
    if 0 not in makes:
        return HalfSlots(reason=f"{node.op_type} judges values")
    if makes[0] not in reads.values():
        return HalfSlots(reason=f"{node.op_type} is told its type by an attribute")
    allowed = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}
    data = set(reads.values()) if node.op_type in _ONE_TYPE_IN_TENSORRT else {makes[0]}
    if any(_TYPE_NAME[dtype] not in allowed.get(variable, ()) for variable in data):
        return HalfSlots(reason=f"{node.op_type} does not take {dtype} at opset {opset}")
    return HalfSlots(
        tuple(slot for slot, variable in reads.items() if variable in data),
        tuple(slot for slot, variable in makes.items() if variable in data),
    )


def fp32_name(graph: GraphIndex, tensor: str) -> str:
    """The name that a tensor of a half-precision graph has in the FP32 graph it was made of.

    Args:
        graph: The graph that :func:`to_half` made, or any other.
        tensor: One of its tensors; itself where no Cast stands beside it.
    """
    if tensor in graph.outputs:
        return tensor
    maker = graph.maker(tensor)
    if maker is not None and _changes_precision(graph, maker):
        return str(maker.input[0])
    for reader in graph.consumers.get(tensor, ()):
        node = graph.nodes[reader]
        if _changes_precision(graph, node) and node.output[0] in graph.outputs:
            return str(node.output[0])
    return tensor


def _changes_precision(graph: GraphIndex, node: onnx.NodeProto) -> bool:
    """Whether a node casts between FP32 and a half type."""
    if node.op_type != "Cast":
        return False
    types = {graph.element_type(node.input[0]), graph.element_type(node.output[0])}
    return TensorProto.FLOAT in types and bool(types & set(ELEMENT_TYPE.values()))


def _variables(
    parameters: Sequence[defs.OpSchema.FormalParameter], slots: Sequence[int]
) -> Iterator[tuple[int, str]]:
    """Each slot with its type variable; the last parameter stands for all that follow it."""
    for slot in slots:
        yield slot, parameters[min(slot, len(parameters) - 1)].type_str


def _is_float(graph: GraphIndex, name: str) -> bool:
    return graph.element_type(name) == onnx.TensorProto.FLOAT
