"""BF16 convolutions are part of ONNX from opset 22 on: the same graph under the newer opset.

Opset 22 gave BF16 to the operators that lacked it, and opset 21 changed types only, but for a few
operators. So the number is raised where every node means the same, and nothing is rewritten.
"""

from __future__ import annotations

import onnx
from onnx import defs

from mahtrt.errors import ModelError
from mahtrt.graph.index import opset_of

BF16_OPSET = 22
_OLDEST = 20  # before that, operators differ in more than their types


def with_bf16_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model under an opset that knows BF16: itself, or a copy that declares a newer opset.

    Raises:
        ModelError: Its opset is too old, or one of its operators changed in between.
    """
    opset = opset_of(model)
    if opset >= BF16_OPSET:
        return model
    old = opset < _OLDEST
    changed = None if old else next((n for n in model.graph.node if _differs(n, opset)), None)
    if old or changed is not None:
        what = f" with {changed.op_type} {changed.name!r}" if changed is not None else ""
        raise ModelError(
            "ONNX graph",
            got=f"opset {opset}{what}",
            expected=f"opset {BF16_OPSET} for BF16, or {_OLDEST} without such operators",
            fix=f"Export the model with --opset {BF16_OPSET}, or build with --fp16.",
        )
    newer = onnx.ModelProto()
    newer.CopyFrom(model)
    for entry in newer.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = BF16_OPSET
    return newer


def _differs(node: onnx.NodeProto, opset: int) -> bool:
    """Whether an operator changed in more than the types it takes."""
    if node.domain not in ("", "ai.onnx") or not defs.has(node.op_type):
        return False
    old, new = (defs.get_schema(node.op_type, version) for version in (opset, BF16_OPSET))
    return _parameters(old) != _parameters(new)


def _parameters(schema: defs.OpSchema) -> tuple[list[str], list[str], list[str]]:
    return (
        [parameter.name for parameter in schema.inputs],
        [parameter.name for parameter in schema.outputs],
        sorted(schema.attributes),
    )
