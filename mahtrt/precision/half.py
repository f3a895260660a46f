"""An FP32 graph into a strongly typed FP16 or BF16 one.

TensorRT takes precision from the graph: a tensor's element type is what it is computed in. So the
graph gets half-precision tensors with casts at the borders. An FP16 file runs in ONNX Runtime too;
how far half precision moves the results is :mod:`mahtrt.precision.emulation`'s to say, since
a CPU leaves out most of the rounding.

- Graph inputs and outputs stay FP32, for the callers' sake.
- Interior tensors and nodes keep their names, so ranges and plans made on the FP32 graph fit:
  ``quantize(to_half(model, "fp16"), ranges, plan)``. Where a tensor is needed in both types, the
  one that its node makes has the name (a graph output always has its own), and the other is
  ``<name>_fp16`` or ``<name>_fp32``, made by one Cast;
  :func:`~mahtrt.precision.types.fp32_name` leads back.
- A BF16 graph declares at least opset 22, the first in which convolutions take BF16.
- Constants are rounded once. What an FP32 island reads too is stored twice.
- Which nodes stay FP32 and why: :mod:`mahtrt.precision.islands`.

The same model gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict
from typing import Any

import onnx
from onnx import TensorProto, helper

from mahtrt.data.feed import Feed
from mahtrt.errors import GateError, ModelError, UsageError
from mahtrt.graph.finite import check_finite
from mahtrt.graph.graph_file import GraphFile
from mahtrt.graph.index import GraphIndex
from mahtrt.graph.rewrite import GraphRewriter
from mahtrt.precision.constants import half_from_float32
from mahtrt.precision.islands import Islands
from mahtrt.precision.opset import with_bf16_opset
from mahtrt.precision.types import ELEMENT_TYPE, Half

METADATA_KEY = "mahtrt.precision"
SCHEMA = "mahtrt.precision/1"

_HALF_TYPES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


def to_half(model: onnx.ModelProto, dtype: Half, keep: Collection[str] = ()) -> onnx.ModelProto:
    """A copy of an FP32 model that computes in half precision where that is safe.

    Args:
        model: An FP32 model with static shapes; its inputs and outputs stay FP32.
        dtype: ``"fp16"`` or ``"bf16"``.
        keep: Names of products that stay FP32 because a plan wants it.

    Returns:
        The model; ``metadata_props["mahtrt.precision"]`` says in JSON what it holds.

    Raises:
        UsageError: Another dtype.
        ModelError: A model that is quantised, half already or dynamic, that has control flow,
            whose weights the half type cannot hold, or (BF16) whose opset is too old.
    """
    if dtype not in ELEMENT_TYPE:
        raise UsageError("half precision", got=repr(dtype), expected="fp16 or bf16")
    graph = GraphIndex(with_bf16_opset(model) if dtype == "bf16" else model)
    _check(graph)
    islands = Islands(graph, dtype, keep)
    result = _HalfWriter(graph, islands, dtype).write()
    entry = result.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(_record(graph, islands, dtype))
    return result


def check_half(
    graph: GraphFile, images: Iterable[Feed], threads: int | None, keep: Collection[str] = ()
) -> None:
    """Refuse FP16 for a network whose numbers leave its range, before any engine exists.

    Args:
        images: Preprocessed (C, H, W), a few.
        keep: As for :func:`to_half`.

    Raises:
        GateError: Some node gives values that are not finite, or beyond FP16 (exit 3).
        MissingComponentError: ONNX Runtime is not installed.
    """
    found = check_finite(to_half(graph.proto, "fp16", keep), images, threads=threads)
    if found:
        first = found[0]
        raise GateError(
            "FP16",
            got=f"{len(found)} tensors beyond its range, first {first.tensor} of node "
            f"{first.node} ({first.what}, {first.largest:.3g})",
            expected="finite numbers of at most 65504 everywhere",
            fix="Build --bf16, which has the range of FP32, and --int8 with --int8-float bf16.",
        )


def _check(graph: GraphIndex) -> None:
    for node in graph.nodes:
        where = f"ONNX graph: node {node.name or node.output[0]!r}"
        if any(a.type in (a.GRAPH, a.GRAPHS) for a in node.attribute):
            raise ModelError(
                where,
                got=f"{node.op_type} with a body",
                expected="a graph without control flow",
                fix="Export the model with its branches decided.",
            )
        for name in filter(None, (*node.input, *node.output)):
            if graph.element_type(name) in _HALF_TYPES:
                raise ModelError(
                    where,
                    got=f"tensor {name!r} in half precision",
                    expected="an FP32 model",
                    fix="Give the model as it was exported.",
                )
        for name in filter(None, node.output):
            if graph.shape(name) is None and not graph.is_constant(name):
                raise ModelError(
                    where,
                    got=f"tensor {name!r} without a static shape",
                    expected="static shapes",
                    fix="Export the model with a fixed batch and input size.",
                )


def _record(graph: GraphIndex, islands: Islands, dtype: Half) -> dict[str, Any]:
    """What became half and what did not, for inspection."""
    by_reason: dict[str, list[str]] = {}
    for position in sorted(islands.reasons):
        by_reason.setdefault(islands.reasons[position], []).append(graph.keys[position])
    return {
        "schema": SCHEMA,
        "dtype": dtype,
        "half_nodes": [graph.keys[position] for position in sorted(islands.slots)],
        "fp32_islands": [{"reason": why, "nodes": nodes} for why, nodes in by_reason.items()],
        "lossy_constants": {name: asdict(loss) for name, loss in islands.losses.items()},
    }


class _HalfWriter:
    """Writes the casts, the constants and the types of a half-precision graph, each once."""

    def __init__(self, graph: GraphIndex, islands: Islands, dtype: Half) -> None:
        self.graph, self.slots, self.dtype = graph, islands.slots, dtype
        self.rewriter = GraphRewriter(graph)
        self.half_tensors = set(self._made_half())
        self.half_outputs = {
            name: self._free_name(f"{name}_{dtype}")
            for name in sorted(self.half_tensors & graph.outputs)
        }
        self.casts: dict[str, str] = {}
        self.constants: dict[str, str] = {}

    def _free_name(self, wanted: str) -> str:
        taken = (self.graph.producer, self.graph.initializers, self.graph.inputs)
        while any(wanted in names for names in taken):
            wanted += "_"
        return wanted

    def _made_half(self) -> Iterator[str]:
        for position, slots in self.slots.items():
            yield from (self.graph.nodes[position].output[slot] for slot in slots.outputs)

    def write(self) -> onnx.ModelProto:
        for position, node in enumerate(self.graph.nodes):
            wants_half = self.slots[position].inputs if position in self.slots else ()
            for slot, name in enumerate(node.input):
                source = self._source(position, name, half=slot in wants_half)
                if source != name:
                    self.rewriter.replace_input(position, slot, source)
        result = self.rewriter.finish()
        self._cast_outputs(result.graph)
        self._restore_constant_names(result.graph)
        self._set_types(result.graph)
        return result

    def _source(self, position: int, name: str, *, half: bool) -> str:
        """The tensor that a node reads instead of one of the FP32 graph."""
        if half and self.graph.is_constant(name):
            if name not in self.constants:
                value = half_from_float32(self.graph.constant(name), self.dtype)
                self.constants[name] = self.rewriter.store(f"{name}_{self.dtype}", value)
            return self.constants[name]
        if name in self.half_outputs:
            return self.half_outputs[name] if half else name
        if half == (name in self.half_tensors):
            return name
        if name not in self.casts:
            to = ELEMENT_TYPE[self.dtype] if half else TensorProto.FLOAT
            wanted = f"{name}_{self.dtype if half else 'fp32'}"
            self.casts[name] = self.rewriter.insert(position, "Cast", [name], wanted, to=to)
        return self.casts[name]

    def _cast_outputs(self, proto: onnx.GraphProto) -> None:
        """Let the graph outputs that half nodes make be casts of what those make."""
        nodes = []
        for node in proto.node:
            nodes.append(node)
            for slot, name in enumerate(node.output):
                if name in self.half_outputs:
                    half = node.output[slot] = self.half_outputs[name]
                    cast = helper.make_node("Cast", [half], [name], f"{name}_Cast", to=1)
                    cast.metadata_props.extend(node.metadata_props)
                    nodes.append(cast)
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del proto.node[:]
        proto.node.extend(copies)

    def _restore_constant_names(self, proto: onnx.GraphProto) -> None:
        """Give the constants that only half nodes read the names they had."""
        read = {name for node in proto.node for name in node.input} | self.graph.outputs
        names = {half: name for name, half in self.constants.items() if name not in read}
        for tensor in proto.initializer:
            tensor.name = names.get(tensor.name, tensor.name)
        for node in proto.node:
            for slot, name in enumerate(node.input):
                if name in names:
                    node.input[slot] = names[name]

    def _set_types(self, proto: onnx.GraphProto) -> None:
        """Let the declared types of interior tensors be those they have now."""
        made = {name for node in proto.node for name in node.output}
        for place in reversed(range(len(proto.value_info))):
            info = proto.value_info[place]
            if info.name in self.half_tensors:
                info.type.tensor_type.elem_type = ELEMENT_TYPE[self.dtype]
            elif info.name not in made:
                del proto.value_info[place]
