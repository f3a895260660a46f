"""The soft-argmax of heatmaps into one node of our own, for TensorRT's plugin.

Not one of the passes of the export: ONNX Runtime and OpenVINO cannot run the node. It is applied to
the graph that a TensorRT engine is built from, FP32, half precision or INT8 alike, as the
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
# How TensorRT's parser finds the plugin, and its implementation ahead of time.
PLUGIN_ATTRIBUTES: dict[str, int | str] = {
    "plugin_namespace": DOMAIN,
    "plugin_version": "1",
    "aot": 1,
}
# What mahtrt.models.maht_net.soft_argmax keeps the variance above; the kernel has the same number.
_MIN_VARIANCE_PX2 = np.float32(1e-12)
_COMMUTATIVE = 7  # three products for each axis and the sum of the variances


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
            "fuse_soft_argmax",
            got="a graph without a soft-argmax as mahtrt exports it",
            expected="softmax over heatmaps, landmarks, confidence and spread",
            fix="Build without --fuse-soft-argmax.",
        )
    _tidy(fused)
    return ir.to_proto(fused)


def _formula(swaps: Sequence[bool]) -> Callable[..., Any]:
    """Landmarks, confidence and spread, as the export computes them.

    Args:
        swaps: For each product and sum whether its inputs stand the other way round. (The
            rewriter's own ``commute`` finds no pattern of several outputs.)
    """

    def formula(
        op: Any, heatmaps: Any, temperature: Any, minimum: Any, x_px: Any, y_px: Any
    ) -> Any:
        turned = iter(swaps)

        def either(kind: Callable[..., Any], first: Any, second: Any) -> Any:
            return kind(second, first) if next(turned) else kind(first, second)

        flat = op.Reshape(heatmaps, pattern.Var("flat_shape"), _outputs=["flat"])
        weights = op.Softmax(op.Div(flat, temperature), _outputs=["weights"])
        maps = op.Reshape(weights, pattern.Var("shape"), _outputs=["maps"])
        means, variances = [], []
        for name, pixels in (("x", x_px), ("y", y_px)):
            marginal = op.ReduceSum(maps, pattern.Var(f"{name}_summed"), keepdims=0)
            weighted = either(op.Mul, marginal, pixels)
            total = op.ReduceSum(weighted, pattern.Var(f"{name}_last"), keepdims=0)
            mean = op.Unsqueeze(total, pattern.Var(f"{name}_new"))
            offset = op.Sub(pixels, mean)
            squares = either(op.Mul, either(op.Mul, marginal, offset), offset)
            variances.append(op.ReduceSum(squares, pattern.Var(f"{name}_over"), keepdims=0))
            means.append(mean)
        spread = op.Sqrt(op.Clip(either(op.Add, *variances), minimum))
        confidence = op.ReduceMax(flat, pattern.Var("peak_over"), keepdims=0)
        return op.Concat(*means, _outputs=["landmarks"]), confidence, spread

    return formula


def _is_soft_argmax(context: Any, flat: ir.Value, maps: ir.Value, **matched: ir.Value) -> bool:
    """Whether the numbers in the formula are those of a soft-argmax that the kernel computes."""
    landmarks, weights = matched["landmarks"].producer(), matched["weights"].producer()
    if maps.shape is None or flat.shape is None or landmarks is None or weights is None:
        return False
    shape, last = maps.shape.numpy() if maps.shape.is_static() else (), (-1, 2)
    axes = {"x_summed": (2, -2), "y_summed": (3, -1), "peak_over": last} | {
        f"{name}_{which}": last for name in "xy" for which in ("last", "new", "over")
    }
    temperature = _number(matched["temperature"])
    return (
        len(shape) == 4
        and flat.shape == (*shape[:2], shape[2] * shape[3])
        and matched["heatmaps"].shape == maps.shape
        and all(_number(matched[name]) in allowed for name, allowed in axes.items())
        and landmarks.attributes.get_int("axis") in last
        and weights.attributes.get_int("axis", -1) in last
        and temperature is not None
        and 0 < temperature < np.inf
        and _number(matched["minimum"]) == _MIN_VARIANCE_PX2
        and _pixels(matched["x_px"], shape[3]) > 0
        and _pixels(matched["y_px"], shape[2]) > 0
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
    rows, columns = maps.shape.numpy()[2:]
    return op.SoftArgmax2d(
        heatmaps,
        input_size=[_pixels(matched["y_px"], rows), _pixels(matched["x_px"], columns)],
        temperature=_number(matched["temperature"]),
        **PLUGIN_ATTRIBUTES,
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


def _pixels(positions_px: ir.Value, cells: int) -> int:
    """Size of the axis of the network's input whose cell centres the positions are, else 0."""
    array = _array(positions_px)
    if array is None or array.shape != (cells,):
        return 0
    positions = array.astype(np.float64)
    pixels = round(float(positions[0] + positions[-1])) + 1  # symmetric about (pixels - 1) / 2
    centres = (np.arange(cells) + 0.5) * (pixels / cells) - 0.5
    return pixels if np.abs(positions - centres).max() <= 1e-6 * pixels else 0


def _number(value: ir.Value) -> float | None:
    """The number that a value always is; None where it is computed."""
    array = _array(value)
    return float(array.item()) if array is not None and array.size == 1 else None


def _array(value: ir.Value) -> NDArray[np.generic] | None:
    """The array of an initializer or Constant node, None for anything computed or fed."""
    tensor = None if value.is_graph_input() else ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()
