"""The soft-argmax of heatmaps into one node of our own, which a kernel stands for.

Not one of the passes of the export: no runtime runs the node. It is applied to the graph that an
engine for a GPU is built from, FP32, half precision or INT8 alike, as the
soft-argmax stays FP32 in all of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnxscript.rewriter import pattern

from mahtrt.errors import ModelError

DOMAIN = "mahtrt"
OP_TYPE = "SoftArgmax2d"
# Metadata of a node that the export leaves: the module of the network that it belongs to.
SCOPE_KEY = "mahtrt.scope"
# What mahtrt.models.soft_argmax keeps the variance above; the kernel has the same number.
_MIN_VARIANCE_PX2 = np.float32(1e-12)
# Three products and a sum for each axis, the sum of the variances, and that with the middle.
_COMMUTATIVE = 6


def fuse_soft_argmax(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model with its soft-argmax as one ``mahtrt.SoftArgmax2d`` node.

    The node reads heatmaps (B, K, h, w), in FP32 or FP16 (a cast before it falls away), and gives
    landmarks (B, K, 2), confidence (B, K) and spread (B, K) in FP32, under the names they had.
    Attributes: ``temperature`` and ``input_size`` (H, W) in pixels.

    Args:
        model: FP32, FP16, BF16 or with Q/DQ. It is left as it is.

    Raises:
        ModelError: It has no soft-argmax that the node could stand for.
    """
    fused = ir.from_proto(model)
    rules = [
        pattern.RewriteRule(_formula(swaps), _replacement, _is_soft_argmax)
        for swaps in itertools.product((False, True), repeat=_COMMUTATIVE)
    ]
    if not pattern.RewriteRuleSet(rules).apply_to_model(fused):
        raise ModelError(
            "--fuse-soft-argmax",
            got="a graph without a soft-argmax as mahtrt exports it",
            expected="softmax over heatmaps, landmarks, confidence and spread",
            fix="Build without --fuse-soft-argmax.",
        )
    _tidy(fused)
    return ir.to_proto(fused)


def _formula(swaps: Sequence[bool]) -> Callable[..., Any]:
    """Landmarks, confidence and spread, as the export computes them.

    Args:
        swaps: For each product and sum whether its inputs stand the other way round, for both
            axes alike. (The rewriter's own ``commute`` finds no pattern of several outputs.)
    """

    def formula(
        op: Any, heatmaps: Any, temperature: Any, minimum: Any, x_px: Any, y_px: Any
    ) -> Any:
        def either(swap: int, kind: Callable[..., Any], first: Any, second: Any) -> Any:
            return kind(second, first) if swaps[swap] else kind(first, second)

        flat = op.Reshape(heatmaps, pattern.Var("flat_shape"), _outputs=["flat"])
        weights = op.Softmax(op.Div(flat, temperature), _outputs=["weights"])
        maps = op.Reshape(weights, pattern.Var("shape"), _outputs=["maps"])
        means, variances = [], []
        for name, pixels in (("x", x_px), ("y", y_px)):
            marginal = op.ReduceSum(maps, pattern.Var(f"{name}_summed"), keepdims=0)
            products = either(0, op.Mul, marginal, pixels)
            first = op.ReduceSum(products, pattern.Var(f"{name}_last"), keepdims=1)
            offset = op.Sub(pixels, first)
            weighted = either(1, op.Mul, marginal, offset)
            rest = op.ReduceSum(weighted, pattern.Var(f"{name}_rest"), keepdims=1)
            squares = either(2, op.Mul, weighted, offset)
            variances.append(op.ReduceSum(squares, pattern.Var(f"{name}_over"), keepdims=0))
            means.append(either(3, op.Add, first, rest))
        spread = op.Sqrt(op.Clip(either(4, op.Add, *variances), minimum))
        confidence = op.ReduceMax(flat, pattern.Var("peak_over"), keepdims=0)
        offsets = op.Concat(*means, _outputs=["offsets"])
        landmarks = either(5, op.Add, offsets, pattern.Var("middle"))
        return landmarks, confidence, spread

    return formula


def _is_soft_argmax(context: Any, flat: ir.Value, maps: ir.Value, **matched: ir.Value) -> bool:
    """Whether the numbers in the formula are those of a soft-argmax that the kernel computes."""
    offsets, weights = matched["offsets"].producer(), matched["weights"].producer()
    if maps.shape is None or flat.shape is None or offsets is None or weights is None:
        return False
    shape, last = maps.shape.numpy() if maps.shape.is_static() else (), (-1, 2)
    axes = {"x_summed": (2, -2), "y_summed": (3, -1), "peak_over": last} | {
        f"{name}_{which}": last for name in "xy" for which in ("last", "rest", "over")
    }
    temperature = _number(matched["temperature"])
    return (
        len(shape) == 4
        and flat.shape == (*shape[:2], shape[2] * shape[3])
        and matched["heatmaps"].shape == maps.shape
        and all(_number(matched[name]) in allowed for name, allowed in axes.items())
        and offsets.attributes.get_int("axis") in last
        and weights.attributes.get_int("axis", -1) in last
        and temperature is not None
        and 0 < temperature < np.inf
        and _number(matched["minimum"]) == _MIN_VARIANCE_PX2
        and _input_size(matched["middle"], matched["x_px"], matched["y_px"], shape) is not None
    )


def _replacement(
    op: Any, heatmaps: ir.Value, maps: ir.Value, weights: ir.Value, **matched: ir.Value
) -> Any:
    softmax, cast = weights.producer(), heatmaps.producer()
    assert softmax is not None
    assert maps.shape is not None
    if cast is not None and cast.op_type == "Cast" and heatmaps.dtype == ir.DataType.FLOAT:
        source = cast.inputs[0]
        assert source is not None
        heatmaps = source if source.dtype == ir.DataType.FLOAT16 else heatmaps
    size = _input_size(matched["middle"], matched["x_px"], matched["y_px"], maps.shape.numpy())
    assert size is not None
    return op.SoftArgmax2d(
        heatmaps,
        input_size=size,
        temperature=_number(matched["temperature"]),
        _domain=DOMAIN,
        _outputs=3,
        _name=f"{softmax.metadata_props.get(SCOPE_KEY, '')}.{OP_TYPE}",
    )


def _tidy(model: ir.Model) -> None:
    """Remove what nothing reads now, and give every node a name of its own in its scope."""
    nodes = [node for node in model.graph if node.op_type == OP_TYPE]
    for number, node in enumerate(nodes):
        scope = (node.name or "").rpartition(f".{OP_TYPE}")[0]
        node.name = f"{scope or 'soft_argmax'}.{OP_TYPE}" + (f"_{number}" if number else "")
        node.metadata_props.clear()
        if scope:
            node.metadata_props[SCOPE_KEY] = scope
    model.graph.sort()
    ir.passes.common.RemoveUnusedNodesPass()(model)


def _input_size(
    middle: ir.Value, x_px: ir.Value, y_px: ir.Value, shape: Sequence[int]
) -> list[int] | None:
    """(H, W) of the network's input whose middle and cell centres these are; None of no size.

    Args:
        shape: (B, K, h, w) of the heatmaps.
    """
    middle_px = _array(middle)  # (2,) as x, y: pixel centres are at integers
    if middle_px is None or middle_px.shape != (2,):
        return None
    size = [round(2 * float(each) + 1) for each in middle_px[::-1]]
    for pixels, cells, positions_px in zip(size, shape[2:], (y_px, x_px), strict=True):
        array = _array(positions_px)
        if pixels < 1 or array is None or array.shape != (cells,):
            return None
        centres = (np.arange(cells) + 0.5) * (pixels / cells) - pixels / 2
        if np.abs(array.astype(np.float64) - centres).max() > 1e-6 * pixels:
            return None
    exact = np.array([(pixels - 1) / 2 for pixels in size[::-1]])
    return size if np.array_equal(middle_px, exact) else None


def _number(value: ir.Value) -> float | None:
    """The number that a value always is; None where it is computed."""
    array = _array(value)
    return float(array.item()) if array is not None and array.size == 1 else None


def _array(value: ir.Value) -> NDArray[np.generic] | None:
    """The array of an initializer or Constant node, None for anything computed or fed."""
    tensor = None if value.is_graph_input() else ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()
