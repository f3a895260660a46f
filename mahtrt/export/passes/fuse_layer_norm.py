"""Hand-written layer normalisation into one LayerNormalization node."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import pattern

from mahtrt.export.passes.graph_edit import constant_array


class FuseLayerNormPass:
    """``(x - mean) / sqrt(var + eps) * scale + bias`` over the last axis, as one node.

    In pieces the squared deviations overflow in FP16, so no precision may be chosen for them.
    Only the last axis: a channel-first norm would cost two transposes.
    """

    def __call__(self, model: ir.Model) -> int:
        rules = [
            pattern.RewriteRule(_formula(square, divide), _replacement, _is_layer_norm)
            for square in ("mul", "pow")
            for divide in ("div", "reciprocal")
        ]
        return int(pattern.RewriteRuleSet(rules, commute=True).apply_to_model(model))


def _formula(square: str, divide: str) -> Any:
    def formula(op: Any, x: Any, axes: Any, epsilon: Any, scale: Any, bias: Any) -> Any:
        deviation = op.Sub(x, op.ReduceMean(x, axes, keepdims=1))
        squared = op.Mul(deviation, deviation) if square == "mul" else op.Pow(deviation, 2.0)
        variance = op.ReduceMean(squared, pattern.Var("variance_axes"), keepdims=1)
        std = op.Sqrt(op.Add(variance, epsilon))
        if divide == "div":
            normal = op.Div(deviation, std)
        else:
            normal = op.Mul(deviation, op.Reciprocal(std))
        return op.Add(op.Mul(normal, scale), bias)

    return formula


def _is_layer_norm(context: Any, x: ir.Value, **matched: Any) -> bool:
    shape, eps = x.shape, constant_array(matched["epsilon"])
    # An epsilon of more axes than x would give the result as many.
    if shape is None or eps is None or eps.size != 1 or eps.ndim > len(shape):
        return False
    last = len(shape) - 1
    for name in ("axes", "variance_axes"):
        reduced = constant_array(matched[name])
        if reduced is None or reduced.size != 1 or int(reduced.item()) not in (-1, last):
            return False
    parameters = (constant_array(matched["scale"]), constant_array(matched["bias"]))
    return all(p is not None and p.shape == (shape[last],) for p in parameters)


def _replacement(
    op: Any, x: ir.Value, epsilon: ir.Value, scale: ir.Value, bias: ir.Value, **_: Any
) -> Any:
    eps = constant_array(epsilon)
    assert eps is not None
    return op.LayerNormalization(
        x, scale, bias, axis=-1, epsilon=float(np.float32(eps.item())), stash_type=1
    )
