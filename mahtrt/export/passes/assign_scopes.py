"""The module path that made each node."""

from __future__ import annotations

import ast
import re

import onnx_ir as ir

from mahtrt.export.passes.graph_edit import SCOPE_KEY
from mahtrt.models.wrapping import WRAPPED

_EXPORTER_KEY = "pkg.torch.onnx.name_scopes"
_CALL_NUMBER = re.compile(r"@\d+")


class AssignScopesPass:
    """Fills ``metadata_props["mahtrt.scope"]``, e.g. ``decoder.blocks.3.conv1``.

    From the exporter's list of nested modules, without the wrappers of mahtrt and without the
    number of the call where a module is called several times. A node the exporter says nothing
    about takes the scope of the node before it; nodes of the outermost module have none.
    """

    def __call__(self, model: ir.Model) -> int:
        assigned = 0
        for node in model.graph:
            scope = _scope(node)
            if scope is None:
                scope = _producer_scope(node)
            if scope:
                node.metadata_props[SCOPE_KEY] = scope
                assigned += 1
        for name in list(model.graph.initializers):
            value = model.graph.initializers[name]
            plain = strip_wrappers(name)
            if plain != name and plain not in model.graph.initializers:
                value.name = plain
        return assigned


def strip_wrappers(path: str) -> str:
    """A dotted path without the leading names of mahtrt's wrappers."""
    while path == WRAPPED or path.startswith(f"{WRAPPED}."):
        path = path[len(WRAPPED) + 1 :]
    return path


def _scope(node: ir.Node) -> str | None:
    """The deepest module path, "" for the outermost module, None where nothing is known."""
    text = node.metadata_props.get(_EXPORTER_KEY)
    if text is None:
        return None
    try:
        scopes = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return None
    # The last entry names the operation, those before it are modules, outermost first.
    if not isinstance(scopes, list) or len(scopes) < 2:
        return None
    return strip_wrappers(_CALL_NUMBER.sub("", str(scopes[-2])))


def _producer_scope(node: ir.Node) -> str | None:
    for value in node.inputs:
        producer = value.producer() if value is not None else None
        if producer is not None:
            return producer.metadata_props.get(SCOPE_KEY)
    return None
