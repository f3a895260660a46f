"""Keeps in FP32 what a plan wants there, where OpenVINO computes in BF16.

With an inference precision of BF16, OpenVINO's CPU plugin lowers all of a graph but its last
nodes. A node that its own files call ``precise`` keeps its precision; its Python interface cannot
say that of a node, so the graph goes through such a file. ``Interpolate`` is lowered all the same
(OpenVINO 2026.4.1). Nothing changes where OpenVINO computes in FP32.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import TYPE_CHECKING, Any

from mahtrt.errors import BuildError, SpecError, some_of
from mahtrt.openvino_core import shared_core
from mahtrt.parsing import read_json
from mahtrt.scratch import temporary_folder
from mahtrt.targets.graph_kinds import FP32_NODES_KEY
from mahtrt.targets.openvino.info import noted
from mahtrt.targets.openvino.ir import serialized

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_PRODUCTS = ("Convolution", "Deconvolution", "FullyConnected", "MatMul")  # in execution lists
_UNBIASED = "/WithoutBiases"  # of a convolution whose bias the reader of ONNX adds
_FP32 = "f32"  # of an execution list
_SHOWN = 4


def wanted_float32(model: Any) -> frozenset[str]:
    """Names of the ONNX nodes that a graph's metadata want in FP32.

    Args:
        model: An ``openvino.Model`` as read from ONNX.

    Raises:
        SpecError: They are no list of names.
    """
    place = ["framework", FP32_NODES_KEY]
    if not model.has_rt_info(place):
        return frozenset()
    text = model.get_rt_info(place).astype(str)
    where = f"metadata {FP32_NODES_KEY}"
    names = read_json(text, where, "a list of names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SpecError(where, got=type(names).__name__, expected="a list of names")
    return frozenset(names)


def keep_float32(model: Any, names: Set[str]) -> Any:
    """The same graph, in which some nodes keep FP32.

    Args:
        model: An ``openvino.Model`` as read from ONNX.
        names: Names of ONNX nodes.
    """
    from xml.etree import ElementTree  # here: few graphs need it, and all that open pay for it

    with temporary_folder() as folder:
        text, weights = serialized(model, folder)
    root = ElementTree.fromstring(text)
    for layer in root.iter("layer"):
        if _origin(layer.get("name", "")) in names:
            _mark(layer)
    return shared_core().read_model(ElementTree.tostring(root), weights)


def check_float32(compiled: Any, names: Set[str], where: str) -> None:
    """Refuse an engine that computes products in less than FP32 although the plan wants FP32.

    Args:
        compiled: An ``openvino.CompiledModel``.
        names: Names of ONNX nodes.
        where: The graph, for the message.

    Raises:
        BuildError: Names the products.
    """
    lowered = [
        product
        for product, origins, precision in _products(compiled)
        if not names.isdisjoint(origins) and precision != _FP32
    ]
    if lowered:
        raise BuildError(
            where,
            got=f"OpenVINO computes {some_of(lowered, _SHOWN)} in less than FP32",
            expected="FP32, as the plan says of their blocks",
            fix="Set these blocks to float in the plan.",
        )


def _products(compiled: Any) -> Iterator[tuple[str, list[str], str]]:
    """Every product in the execution list: its name, its ONNX nodes, and its precision."""
    for op in compiled.get_runtime_model().get_ordered_ops():
        info = op.get_rt_info()
        if noted(info, "layerType") in _PRODUCTS:
            origins = [_origin(name) for name in noted(info, "originalLayersNames").split(",")]
            yield _origin(op.get_friendly_name()), origins, noted(info, "runtimePrecision")


def _origin(name: str) -> str:
    return name.removesuffix(_UNBIASED)


def _mark(layer: Element) -> None:
    """Call a layer of OpenVINO's file precise."""
    found = layer.find("rt_info")
    if found is None:
        found = layer.makeelement("rt_info", {})
        data = layer.find("data")
        layer.insert(0 if data is None else list(layer).index(data) + 1, found)
    found.append(layer.makeelement("attribute", {"name": "precise", "version": "0"}))
