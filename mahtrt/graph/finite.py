"""Does every node of a graph give finite values, and how near are they to the end of the range?

Every floating-point tensor is reduced inside the graph to two numbers, its largest magnitude and
whether it holds a NaN, so nothing large leaves the graph. One run per image looks at every node.

ONNX Runtime computes most FP16 nodes in FP32 on a CPU and may leave out the rounding in between,
which would hide an overflow. So magnitudes are compared with what the tensor's type can hold,
instead of waiting for an infinity to appear.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper

from mahtrt.data.feed import Feed
from mahtrt.errors import DataError
from mahtrt.graph.index import inferred_shapes
from mahtrt.graph.runner import ImageRunner
from mahtrt.targets.onnxruntime.run import OrtMode

_PREFIX = "mahtrt_finite_"

_LARGEST: Mapping[int, float] = {
    TensorProto.FLOAT: float(np.finfo(np.float32).max),
    TensorProto.FLOAT16: float(np.finfo(np.float16).max),
    TensorProto.BFLOAT16: float(ml_dtypes.finfo(ml_dtypes.bfloat16).max),
    TensorProto.DOUBLE: float(np.finfo(np.float32).max),  # judged after a Cast to FP32
}


@dataclass(frozen=True, slots=True)
class UnfitTensor:
    """A node that gave values which are not finite.

    Attributes:
        node, tensor: The node and its output.
        what: ``"nan"``, ``"infinite"``, or ``"overflow"``: finite only because ONNX Runtime keeps
            this tensor in a wider type than the graph says.
        largest: The largest magnitude seen.
    """

    node: str
    tensor: str
    what: str
    largest: float


def check_finite(
    model: onnx.ModelProto, images: Iterable[Feed], *, threads: int | None = None
) -> list[UnfitTensor]:
    """Run images and name every node whose output is not finite, in the order of the graph.

    Args:
        model: FP32, FP16 or quantised, with image inputs. ONNX Runtime runs no BF16
            convolutions on a CPU; BF16 has the range of FP32, so look at the FP32 graph.
        images: Preprocessed cases, each input (C, H, W).
        threads: For ONNX Runtime; None lets it choose.

    Raises:
        DataError: No images, or one of another shape than the input.
        ModelError: ONNX Runtime cannot run the model.
    """
    types = _element_types(model)
    makers = {
        name: node.name or node.output[0]
        for node in model.graph.node
        for name in node.output
        if types.get(name) in _LARGEST
    }
    runner = ImageRunner(_with_taps(model, makers), "ONNX graph", threads, OrtMode.NODE_BY_NODE)
    seen = [np.array(runner.run(group)).reshape(-1, 2) for group in runner.groups(images)]
    if not seen:
        raise DataError("images", got="none", expected="at least one image")
    largest = np.fmax.reduce([each[:, 0] for each in seen])
    has_nan = np.any([each[:, 1] for each in seen], axis=0)
    return [
        UnfitTensor(node, tensor, what, float(top))
        for (tensor, node), top, nan in zip(makers.items(), largest, has_nan, strict=True)
        if (what := _trouble(_LARGEST[types[tensor]], float(top), bool(nan)))
    ]


def _trouble(limit: float, largest: float, has_nan: bool) -> str:
    if has_nan:
        return "nan"
    if math.isinf(largest):
        return "infinite"
    return "overflow" if largest > limit else ""


def _with_taps(model: onnx.ModelProto, tensors: Collection[str]) -> onnx.ModelProto:
    """A copy whose outputs are the magnitude and the NaN flag of some tensors."""
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    del tapped.graph.output[:]
    # ONNX Runtime orders nodes by going back from the last one that nothing reads. So the tap of
    # the first tensor comes last: each tensor is looked at and freed before the next is made.
    for number, tensor in reversed([*enumerate(tensors)]):
        _add_tap(tapped.graph, f"{_PREFIX}{number}", tensor)
    for number in range(len(tensors)):
        for part in ("largest", "has_nan"):
            name = f"{_PREFIX}{number}_{part}"
            tapped.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, []))
    return tapped


def _add_tap(graph: onnx.GraphProto, prefix: str, tensor: str) -> None:
    """Reduce a tensor to its largest magnitude and to 1 if it holds a NaN."""
    wide, size, nan, flag = (f"{prefix}_{part}" for part in ("wide", "size", "nan", "flag"))
    graph.node.append(helper.make_node("Cast", [tensor], [wide], to=TensorProto.FLOAT))
    graph.node.append(helper.make_node("Abs", [wide], [size]))
    graph.node.append(helper.make_node("ReduceMax", [size], [f"{prefix}_largest"], keepdims=0))
    graph.node.append(helper.make_node("IsNaN", [wide], [nan]))
    graph.node.append(helper.make_node("Cast", [nan], [flag], to=TensorProto.FLOAT))
    graph.node.append(helper.make_node("ReduceMax", [flag], [f"{prefix}_has_nan"], keepdims=0))


def _element_types(model: onnx.ModelProto) -> dict[str, int]:
    inferred = inferred_shapes(model).graph
    return {
        info.name: int(info.type.tensor_type.elem_type)
        for info in (*inferred.value_info, *inferred.output)
    }
