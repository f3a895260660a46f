"""A read-only index over an ONNX graph: who makes a tensor, who reads it, what is constant.

Calibration, the plan and the Q/DQ placement all ask the same few questions of a graph; they ask
them here. Only the top level is looked at: tensors inside If and Loop bodies are never quantised.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper, shape_inference

from mahtrt.errors import ModelError
from mahtrt.graph.checks import check_activations

SCOPE_KEY = "mahtrt.scope"

# Initializers up to this many elements keep their data for shape inference (Reshape targets,
# Slice bounds); larger ones are weights, of which only the shape matters.
_SHAPE_DATA_ELEMENTS = 1024
# Attributes that give a Constant its numbers, and their type; a tensor has its own.
_CONSTANT_FORMS: dict[str, type[np.generic] | None] = {
    "value": None,
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}
_QUANTIZERS = ("QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul")

# Initializers of one tensor: the weights, scales and zero points, and the shapes of Reshapes.
_MOST_WEIGHTS_BEHIND = 64

# Nodes that only rearrange values.
PASS_THROUGH = ("Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten")
_HOLDS_WEIGHTS = (*PASS_THROUGH, "Cast", "DequantizeLinear")


class GraphIndex:
    """Lookups over the top-level graph of a model, which must not change meanwhile.

    Args:
        model: A model with static shapes.
        allow_quantized: Also take a model that is quantised, to look at it.

    Raises:
        ModelError: The model is quantised already.
    """

    def __init__(self, model: onnx.ModelProto, *, allow_quantized: bool = False) -> None:
        self.model = model
        self.nodes: list[onnx.NodeProto] = list(model.graph.node)
        quantizer = next((n.op_type for n in self.nodes if n.op_type in _QUANTIZERS), None)
        if quantizer and not allow_quantized:
            raise ModelError(
                "ONNX graph",
                got=f"a {quantizer} node",
                expected="a floating-point model",
                fix="Give the model as it was before it was quantised.",
            )
        self.initializers = {t.name: t for t in model.graph.initializer}
        self.outputs = {o.name for o in model.graph.output}
        self.inputs = [i.name for i in model.graph.input if i.name not in self.initializers]
        self.producer: dict[str, int] = {}
        self.consumers: dict[str, list[int]] = {}
        for position, node in enumerate(self.nodes):
            for name in node.output:
                self.producer[name] = position
            for name in dict.fromkeys(filter(None, node.input)):
                self.consumers.setdefault(name, []).append(position)

    @cached_property
    def keys(self) -> list[str]:
        """A unique name per node: its own, or its first output where that is missing or taken."""
        names = Counter(node.name for node in self.nodes)
        return [n.name if n.name and names[n.name] == 1 else n.output[0] for n in self.nodes]

    @cached_property
    def position_of(self) -> dict[str, int]:
        """Place of each node in the graph, by its key."""
        return {key: position for position, key in enumerate(self.keys)}

    @cached_property
    def weights_behind(self) -> dict[str, list[str]]:
        """Tensors made of initializers alone, by rearranging or dequantising -> the initializers.

        In one pass: asked node by node, a chain of them costs its length each time, or more.

        Raises:
            ModelError: A tensor is made of more initializers than any network needs.
        """
        found: dict[str, list[str]] = {}
        for node in self.nodes:
            if node.op_type in _HOLDS_WEIGHTS:
                sources = [
                    [name] if name in self.initializers else found.get(name, [])
                    for name in node.input
                    if name
                ]
                held = [*dict.fromkeys(name for names in sources for name in names)]
                if sources and sources[0]:
                    if len(held) > _MOST_WEIGHTS_BEHIND:
                        raise _too_many_weights(node, len(held))
                    found.update(dict.fromkeys(node.output, held))
        return found

    @cached_property
    def _types(self) -> dict[str, onnx.TypeProto.Tensor]:
        inferred = inferred_shapes(_without_weights(self.model), data_prop=True)
        infos = (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output)
        return {info.name: info.type.tensor_type for info in infos}

    def shape(self, tensor: str) -> tuple[int, ...] | None:
        """The static shape of a tensor, None where it is unknown or dynamic."""
        if tensor in self.initializers:
            return tuple(self.initializers[tensor].dims)
        found = self._types.get(tensor)
        if found is None or not found.HasField("shape"):
            return None
        dims = found.shape.dim
        return tuple(d.dim_value for d in dims) if all(d.dim_value > 0 for d in dims) else None

    def element_type(self, tensor: str) -> int:
        """The ONNX element type of a tensor, FLOAT where it is unknown."""
        if tensor in self.initializers:
            return int(self.initializers[tensor].data_type)
        found = self._types.get(tensor)
        return int(found.elem_type) if found and found.elem_type else onnx.TensorProto.FLOAT

    def has_type(self, tensor: str) -> bool:
        """Whether the element type of a tensor is known."""
        found = self._types.get(tensor)
        return tensor in self.initializers or bool(found is not None and found.elem_type)

    def is_constant(self, tensor: str) -> bool:
        """Whether a tensor is an initializer or made of one by Identity, Transpose, Constant."""
        while tensor not in self.initializers:
            maker = self.maker(tensor)
            if maker is None or maker.op_type not in ("Constant", "Identity", "Transpose"):
                return False
            if maker.op_type == "Constant":
                return any(a.name in _CONSTANT_FORMS for a in maker.attribute)
            tensor = maker.input[0]
        return True

    def constant(self, tensor: str) -> NDArray[np.generic]:
        """The value of a tensor for which :meth:`is_constant` holds."""
        turns = []  # from the last to the first; a chain may be longer than Python's stack
        maker = self.maker(tensor)
        while tensor not in self.initializers and maker is not None and maker.op_type != "Constant":
            if maker.op_type == "Transpose":
                turns.append(attribute(maker, "perm"))
            tensor = maker.input[0]
            maker = self.maker(tensor)
        if tensor in self.initializers:
            value = numpy_helper.to_array(self.initializers[tensor])
        else:
            assert maker is not None
            value = _value_of(maker)
        for turn in reversed(turns):
            value = value.transpose(turn)
        return value

    def maker(self, tensor: str) -> onnx.NodeProto | None:
        """The node that makes a tensor, None for inputs and initializers."""
        position = self.producer.get(tensor)
        return None if position is None else self.nodes[position]

    def makers(self, position: int) -> list[int]:
        """Positions of the nodes whose outputs a node reads."""
        return self.producers(self.nodes[position].input)

    def readers(self, position: int) -> list[int]:
        """Positions of the nodes that read the outputs of a node."""
        names = self.nodes[position].output
        return [reader for name in names for reader in self.consumers.get(name, ())]

    def producers(self, tensors: Iterable[str]) -> list[int]:
        """Positions of the nodes that make tensors; inputs and initializers have none."""
        return [self.producer[name] for name in tensors if name in self.producer]


def inferred_shapes(model: onnx.ModelProto, *, data_prop: bool = False) -> onnx.ModelProto:
    """A copy of a model with the types and shapes that follow from its inputs.

    Raises:
        ModelError: They contradict each other, or a tensor is too large to be one.
    """
    try:
        inferred = shape_inference.infer_shapes(model, data_prop=data_prop)
    except (shape_inference.InferenceError, ValueError, TypeError) as error:
        reason = str(error).strip().partition("\n")[0][:300]
        raise ModelError(
            "ONNX graph",
            got=f"shapes that contradict each other ({reason})",
            expected="a valid graph",
        ) from error
    check_activations(inferred.graph)
    return inferred


def _too_many_weights(node: onnx.NodeProto, count: int) -> ModelError:
    return ModelError(
        "ONNX graph",
        got=f"node {node.name or node.op_type!r} whose output is made of {count} initializers",
        expected=f"at most {_MOST_WEIGHTS_BEHIND}",
        fix="Fold the constants of the graph.",
    )


def reached(starts: Iterable[int], following: Callable[[int], Iterable[int]]) -> set[int]:
    """All positions that a walk comes to, where ``following`` says where to go from each."""
    stack, seen = list(starts), set[int]()
    while stack:
        position = stack.pop()
        if position not in seen:
            seen.add(position)
            stack.extend(following(position))
    return seen


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """The value of a node's attribute, or a default."""
    found = next((a for a in node.attribute if a.name == name), None)
    return default if found is None else onnx.helper.get_attribute_value(found)


def _value_of(node: onnx.NodeProto) -> NDArray[np.generic]:
    """The value of a Constant node, in whichever of its forms it is written."""
    form = next(a.name for a in node.attribute if a.name in _CONSTANT_FORMS)
    value, dtype = attribute(node, form), _CONSTANT_FORMS[form]
    return numpy_helper.to_array(value) if dtype is None else np.array(value, dtype)


def scope_of(node: onnx.NodeProto) -> str:
    """The dotted module path that made a node, "" where the exporter left none."""
    return next((p.value for p in node.metadata_props if p.key == SCOPE_KEY), "")


def opset_of(model: onnx.ModelProto) -> int:
    """The version of the standard operator set that a model uses."""
    return next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy for shape inference in which weights are inputs: a few kilobytes, not the model."""
    graph = model.graph
    light = onnx.ModelProto(ir_version=model.ir_version)
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    light.graph.name = graph.name
    light.graph.node.extend(graph.node)
    light.graph.input.extend(graph.input)
    light.graph.output.extend(graph.output)
    light.graph.value_info.extend(graph.value_info)
    named = {i.name for i in graph.input}
    for tensor in graph.initializer:
        if int(np.prod(tensor.dims)) <= _SHAPE_DATA_ELEMENTS:
            light.graph.initializer.append(tensor)
        elif tensor.name not in named:
            light.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    return light
