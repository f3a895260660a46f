"""Whether an ONNX file is a graph that can be worked with: checked once, before it is looked at.

The format lets a file of a few bytes claim any size, any type and any depth, and its reader passes
such claims on. What is refused here would otherwise be an error somewhere in a library, or a loop
or an allocation without an end.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import onnx
from onnx import TensorProto

from mahtrt.errors import ModelError

MOST_ELEMENTS = 2**28  # of an input, an output or a constant
MOST_ACTIVATION_ELEMENTS = 2**31  # of a tensor in between
_DEEPEST = 16  # graphs in nodes of graphs, and functions that call functions

_TYPES = frozenset(TensorProto.DataType.values())
# Types of less than a byte, by name: which there are depends on the version of the onnx package.
_BITS = {
    **dict.fromkeys(("INT4", "UINT4", "FLOAT4E2M1"), 4),
    **dict.fromkeys(("INT2", "UINT2"), 2),
    **dict.fromkeys(("FLOAT6E2M3", "FLOAT6E3M2"), 6),
}
_VALUES = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")


def check_model(model: onnx.ModelProto, subject: str) -> None:
    """Refuse a graph that contradicts itself or claims what no network has.

    Raises:
        ModelError: Text that is not UTF-8, an unknown type, a size without reason, data that are
            not of their tensor's size, graphs nested too deep, or nodes out of order.
    """
    try:
        _check_functions(model)
        for message, depth in _messages(model):
            if depth > _DEEPEST:
                raise _MalformedError(f"more than {_DEEPEST} graphs within each other", "fewer")
            if isinstance(message, TensorProto):
                _check_tensor(message)
            elif isinstance(message, onnx.TypeProto.Tensor):
                _check_type(message.elem_type)
                _check_size(_static(message), MOST_ACTIVATION_ELEMENTS)
        for info in (*model.graph.input, *model.graph.output):
            _check_size(_static(info.type.tensor_type), MOST_ELEMENTS)
        _check_order(model.graph)
    except _MalformedError as error:
        raise ModelError(subject, got=error.got, expected=error.expected) from error


def check_activations(graph: onnx.GraphProto) -> None:
    """Refuse sizes that follow from the inputs and that no tensor has.

    Raises:
        ModelError: As it says.
    """
    try:
        for info in graph.value_info:
            _check_size(_static(info.type.tensor_type), MOST_ACTIVATION_ELEMENTS)
        for info in graph.output:
            _check_size(_static(info.type.tensor_type), MOST_ELEMENTS)
    except _MalformedError as error:
        raise ModelError("ONNX graph", got=error.got, expected=error.expected) from error


def all_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor that a model holds, also in attributes and in graphs of nodes."""
    return (message for message, _ in _messages(model) if isinstance(message, TensorProto))


def bytes_of_tensor(tensor: onnx.TensorProto) -> int:
    """Size of a tensor's raw data."""
    count: int = prod(tensor.dims)
    bits = _BITS.get(TensorProto.DataType.Name(tensor.data_type))
    if bits is not None:
        return (count * bits + 7) // 8
    return count * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


class _MalformedError(Exception):
    """What is wrong with a graph."""

    def __init__(self, got: str, expected: str) -> None:
        super().__init__(got)
        self.got, self.expected = got, expected


def _messages(model: onnx.ModelProto) -> Iterator[tuple[Any, int]]:
    """Every message in a model, and how many graphs it lies within; refuses text that is none."""
    pending: list[tuple[Any, int]] = [(model, 0)]
    while pending:
        message, depth = pending.pop()
        depth += isinstance(message, onnx.GraphProto)
        yield message, depth
        for field, value in message.ListFields():
            if field.message_type is not None:
                inner = (value,) if hasattr(value, "ListFields") else value
                pending.extend((each, depth) for each in inner)
            elif field.type == field.TYPE_STRING:
                texts = (value,) if isinstance(value, (str, bytes)) else value
                if not all(isinstance(text, str) for text in texts):  # bytes, where it is not UTF-8
                    raise _MalformedError(f"a {field.name} that is not UTF-8", "text")


def _check_tensor(tensor: onnx.TensorProto) -> None:
    _check_type(tensor.data_type)
    dims = tuple(tensor.dims)
    _check_size(dims, MOST_ELEMENTS)
    name = repr(tensor.name[:80])
    if tensor.data_type == TensorProto.UNDEFINED:
        raise _MalformedError(f"tensor {name} without a type", "one")
    if tensor.data_location == TensorProto.EXTERNAL:
        if tensor.data_type == TensorProto.STRING:
            raise _MalformedError(f"tensor {name} of text in another file", "numbers")
        return
    count, got = prod(dims), len(tensor.raw_data)
    if tensor.HasField("raw_data"):
        wanted = 0 if tensor.data_type == TensorProto.STRING else bytes_of_tensor(tensor)
    else:
        got = sum(len(getattr(tensor, field)) for field in _VALUES)
        packed = _BITS.get(TensorProto.DataType.Name(tensor.data_type)) in (2, 4)
        wanted = bytes_of_tensor(tensor) if packed else count
        if tensor.data_type in (TensorProto.COMPLEX64, TensorProto.COMPLEX128):
            wanted *= 2
    if got != wanted:
        raise _MalformedError(
            f"tensor {name} of shape {dims} with {got} values or bytes", f"{wanted}"
        )


def _check_type(element_type: int) -> None:
    if element_type not in _TYPES:
        raise _MalformedError(f"element type {element_type}", "one that ONNX has")


def _check_size(dims: tuple[int, ...], most: int) -> None:
    if any(size < 0 for size in dims) or prod(size or 1 for size in dims) > most:
        raise _MalformedError(f"a tensor of shape {dims}"[:200], f"at most {most} elements")


def _static(tensor: onnx.TypeProto.Tensor) -> tuple[int, ...]:
    """The sizes that are told."""
    return tuple(d.dim_value for d in tensor.shape.dim if d.HasField("dim_value"))


def _check_functions(model: onnx.ModelProto) -> None:
    """Functions of the file that call each other in a circle have no end."""
    calls = {(f.domain, f.name): {(n.domain, n.op_type) for n in f.node} for f in model.functions}
    waiting = {name: called & calls.keys() for name, called in calls.items()}
    for _ in range(_DEEPEST):
        left = waiting.keys()
        waiting = {name: called & left for name, called in waiting.items() if called}
    if waiting:
        raise _MalformedError("functions that call each other without an end", "none, or fewer")


def _check_order(graph: onnx.GraphProto) -> None:
    """Refuse a tensor that is read before it is made, or made twice: walking back could not end."""
    known = {""} | {v.name for v in graph.input} | {v.name for v in graph.initializer}
    known |= {v.values.name for v in graph.sparse_initializer}
    for node in graph.node:
        unmade = next((name for name in node.input if name not in known), None)
        if unmade is not None:
            what = f"node {node.name or node.op_type!r} that reads {unmade!r} before it is made"
            raise _MalformedError(what, "nodes in the order of their computation")
        again = next((name for name in node.output if name and name in known), None)
        if again is not None:
            raise _MalformedError(f"tensor {again!r} that is made twice", "every tensor made once")
        known.update(node.output)
