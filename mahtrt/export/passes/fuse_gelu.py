"""Hand-written GELU into one Gelu node."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import pattern

Builder = Callable[..., Any]


class FuseGeluPass:
    """The erf and tanh formulas of GELU become ``Gelu``; in pieces they overflow in FP16."""

    def __call__(self, model: ir.Model) -> int:
        if model.opset_imports.get("", 0) < 20:  # Gelu exists from opset 20 on
            return 0
        gates = {"Erf", "Tanh"}
        if not any(node.op_type in gates for node in model.graph):
            return 0  # the rules are many once commuted, and slow to match
        return int(_rules().apply_to_model(model))


def _rules() -> pattern.RewriteRuleSet:
    rules = [
        pattern.RewriteRule(_halved(gate, place), replacement)
        for gates, replacement in (
            ((_erf_of_quotient, _erf_of_product), _gelu),
            ((_tanh_of_cube,), _gelu_tanh),
        )
        for gate in gates
        for place in ("input", "gate", "product")
    ]
    return pattern.RewriteRuleSet(rules, commute=True)


def _halved(gate: Builder, place: str) -> Builder:
    """``0.5 * x * gate(x)`` with the half multiplied into the input, the gate or the product."""

    def formula(op: Any, x: Any) -> Any:
        if place == "input":
            return op.Mul(op.Mul(x, 0.5), gate(op, x))
        if place == "gate":
            return op.Mul(x, op.Mul(gate(op, x), 0.5))
        return op.Mul(op.Mul(x, gate(op, x)), 0.5)

    return formula


def _erf_of_quotient(op: Any, x: Any) -> Any:
    return op.Add(op.Erf(op.Div(x, math.sqrt(2.0))), 1.0)


def _erf_of_product(op: Any, x: Any) -> Any:
    return op.Add(op.Erf(op.Mul(x, math.sqrt(0.5))), 1.0)


def _tanh_of_cube(op: Any, x: Any) -> Any:
    inner = op.Add(x, op.Mul(op.Pow(x, 3.0), 0.044715))
    return op.Add(op.Tanh(op.Mul(inner, math.sqrt(2.0 / math.pi))), 1.0)


def _gelu(op: Any, x: Any) -> Any:
    return op.Gelu(x, approximate="none")


def _gelu_tanh(op: Any, x: Any) -> Any:
    return op.Gelu(x, approximate="tanh")
