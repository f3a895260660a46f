"""Small outputs that tell the range of a tensor without letting the tensor leave the graph.

A tap of tensor ``t`` is one vector: minimum, maximum and sum of magnitudes of all its values
(exact), then every ``step``-th of them, at most ``SAMPLE_LIMIT``. The step shares no factor with
the number of values, so the sample walks through every column, row and channel alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd, prod

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mahtrt.errors import ModelError
from mahtrt.graph.index import GraphIndex, reached

SAMPLE_LIMIT = 65_536
TAP_PREFIX = "mahtrt_tap_"
STATISTICS = 3  # minimum, maximum, sum of magnitudes

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)


def sample_step(values: int) -> int:
    """The smallest step that samples at most SAMPLE_LIMIT of the values and is coprime to them."""
    step = -(-values // SAMPLE_LIMIT)
    while step > 1 and gcd(step, values) != 1:
        step += 1
    return step


def tap(model: onnx.ModelProto, tensors: Sequence[str]) -> tuple[onnx.ModelProto, dict[str, int]]:
    """A copy of a model whose only outputs are the taps of some tensors, in their order.

    What the tensors do not depend on is left out.

    Args:
        model: A floating-point model with static shapes.
        tensors: Names of tensors of its top-level graph.

    Returns:
        The tapped model, and for each tensor how many values it has.

    Raises:
        ModelError: A tensor that the graph lacks, has no static shape for, or is not of floats.
    """
    graph = GraphIndex(model)
    values = {name: prod(_shape(graph, name)) for name in tensors}
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    needed = needed_nodes(model, tensors)
    del tapped.graph.node[:]
    tapped.graph.node.extend(needed)
    del tapped.graph.output[:]
    tapped.graph.initializer.append(_int64(f"{TAP_PREFIX}flat", -1))
    tapped.graph.initializer.append(_int64(f"{TAP_PREFIX}zero", 0))
    tapped.graph.initializer.append(_int64(f"{TAP_PREFIX}end", np.iinfo(np.int64).max))
    for number, total in enumerate(values.values()):
        count = STATISTICS + -(-total // sample_step(total))
        tapped.graph.output.append(
            helper.make_tensor_value_info(f"{TAP_PREFIX}{number}", TensorProto.FLOAT, [count])
        )
    # ONNX Runtime orders nodes by going back from the last one that nothing reads. So the tap of
    # the first tensor comes last: each tensor is looked at and freed before the next is made.
    for number, (name, total) in reversed(list(enumerate(values.items()))):
        _add_tap(tapped.graph, f"{TAP_PREFIX}{number}", name, sample_step(total))
    return tapped, values


def _add_tap(graph: onnx.GraphProto, output: str, tensor: str, step: int) -> None:
    flat, as_float = f"{output}_flat", f"{output}_float"
    graph.initializer.append(_int64(f"{output}_step", step))
    graph.node.append(helper.make_node("Reshape", [tensor, f"{TAP_PREFIX}flat"], [flat]))
    graph.node.append(helper.make_node("Cast", [flat], [as_float], to=TensorProto.FLOAT))
    parts = []
    for op in ("ReduceMin", "ReduceMax", "ReduceL1"):
        parts.append(f"{output}_{op}")
        graph.node.append(helper.make_node(op, [as_float], [parts[-1]], keepdims=1))
    bounds = [f"{TAP_PREFIX}zero", f"{TAP_PREFIX}end", f"{TAP_PREFIX}zero", f"{output}_step"]
    parts.append(f"{output}_sample")
    graph.node.append(helper.make_node("Slice", [as_float, *bounds], [parts[-1]]))
    graph.node.append(helper.make_node("Concat", parts, [output], axis=0))


def _int64(name: str, value: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array([value], np.int64), name)


def _shape(graph: GraphIndex, tensor: str) -> tuple[int, ...]:
    known = tensor in graph.producer or tensor in graph.inputs
    shape = graph.shape(tensor) if known else None
    if not known or shape is None or graph.element_type(tensor) not in _FLOATS:
        raise ModelError(
            f"tensor {tensor!r}",
            got="a tensor without a static shape"
            if known and shape is None
            else "a tensor that is not of floats"
            if known
            else "no tensor of this name in the graph",
            expected="a floating-point activation of static shape",
            fix="Export the model with static shapes."
            if known
            else "Make the plan again from this model.",
        )
    return shape


def needed_nodes(model: onnx.ModelProto, tensors: Sequence[str]) -> list[onnx.NodeProto]:
    """Copies of the nodes that some tensors depend on, in their order."""
    nodes = list(model.graph.node)
    producer = {name: place for place, node in enumerate(nodes) for name in node.output}
    keep = set(range(len(nodes)))
    # A body may read tensors that are not node inputs.
    if not any(a.type in (a.GRAPH, a.GRAPHS) for node in nodes for a in node.attribute):
        starts = (producer[name] for name in tensors if name in producer)
        keep = reached(
            starts, lambda place: [producer[n] for n in nodes[place].input if n in producer]
        )
    return [onnx.NodeProto.FromString(nodes[place].SerializeToString()) for place in sorted(keep)]
