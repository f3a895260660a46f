"""The soft-argmax of heatmaps into one node of our own, for TensorRT's plugin.

Not one of the passes of the export: ONNX Runtime and OpenVINO cannot run the node. It is applied to
the graph that a TensorRT engine is built from, FP32, half precision or INT8 alike, as the
soft-argmax stays FP32 in all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

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
# What mahtrt.models.soft_argmax keeps the variance above; the kernel has the same number.
_MIN_VARIANCE_PX2 = np.float32(1e-12)


class FuseSoftArgmaxPass:
    """Softmax over heatmaps, marginal sums and moments become ``mahtrt.SoftArgmax2d``.

    The node reads heatmaps (B, K, h, w), in FP32 or FP16 (a cast before it falls away), and gives
    landmarks (B, K, 2), confidence (B, K) and spread (B, K) in FP32, under the names they had.
    Attributes: ``temperature`` and ``input_size`` (H, W) in pixels.
    """

    def __call__(self, model: ir.Model) -> int:
        sites = [
            site
            for node in model.graph
            if node.op_type == "Softmax" and (site := _find_site(node)) is not None
        ]
        for number, site in enumerate(sites):
            _replace(model.graph, site, number)
        if sites:
            model.opset_imports.setdefault(DOMAIN, 1)
        return len(sites)


def fuse_soft_argmax(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model with its soft-argmax as one ``mahtrt.SoftArgmax2d`` node.

    Args:
        model: FP32, FP16, BF16 or with Q/DQ. It is left as it is.

    Raises:
        ModelError: It has no soft-argmax that the node could stand for.
    """
    fused = ir.from_proto(model)
    if not FuseSoftArgmaxPass()(fused):
        raise ModelError(
            "fuse_soft_argmax",
            got="a graph without a soft-argmax as mahtrt exports it",
            expected="softmax over heatmaps, landmarks, confidence and spread",
            fix="Build without --fuse-soft-argmax.",
        )
    return ir.to_proto(fused)


@dataclass(frozen=True, slots=True)
class _Site:
    """One soft-argmax of a graph: the nodes of it, in any order, and what goes in and out."""

    first: ir.Node
    nodes: frozenset[ir.Node]
    scope: str
    heatmaps: ir.Value
    temperature: float
    input_size: tuple[int, int]
    outputs: tuple[ir.Value, ir.Value, ir.Value]


@dataclass(frozen=True, slots=True)
class _Moments:
    """Mean and variance along one axis."""

    nodes: tuple[ir.Node, ...]
    positions_px: NDArray[np.generic]
    mean: ir.Value
    variance: ir.Value


class _OtherGraphError(Exception):
    """The nodes around a softmax are not those of a soft-argmax."""


def _find_site(softmax: ir.Node) -> _Site | None:
    try:
        return _site(softmax)
    except _OtherGraphError:
        return None


def _site(softmax: ir.Node) -> _Site:
    _require(softmax.attributes.get_int("axis", -1) in (-1, 2))
    divide = _maker(softmax.inputs[0], "Div")
    flatten = _maker(divide.inputs[0], "Reshape")
    unflatten = _reader(softmax.outputs[0], "Reshape")
    shape = _shape(unflatten)
    _require(len(shape) == 4 and _shape(flatten) == (*shape[:2], shape[2] * shape[3]))
    x, y = (_moments(unflatten.outputs[0], axis) for axis in (2, 3))
    concat = _reader(x.mean, "Concat")
    _require(list(concat.inputs) == [x.mean, y.mean])
    _require(concat.attributes.get_int("axis") in (-1, 2))
    add = _reader(x.variance, "Add")
    _require({*add.inputs} == {x.variance, y.variance})
    clip = _reader(add.outputs[0], "Clip")
    _require(_constant(clip.inputs[1]) == _MIN_VARIANCE_PX2 and not any(clip.inputs[2:]))
    sqrt = _reader(clip.outputs[0], "Sqrt")
    peak = _reduction(flatten.outputs[0], "ReduceMax", (-1, 2))
    site = _Site(
        first=flatten,
        nodes=frozenset(
            (softmax, divide, flatten, unflatten, *x.nodes, *y.nodes, concat, add, clip, sqrt, peak)
        ),
        scope=softmax.metadata_props.get(SCOPE_KEY, ""),
        heatmaps=_without_cast(flatten.inputs[0], shape),
        temperature=_temperature(divide),
        input_size=(_pixels(y.positions_px, shape[2]), _pixels(x.positions_px, shape[3])),
        outputs=(concat.outputs[0], peak.outputs[0], sqrt.outputs[0]),
    )
    _require_closed(site)
    return site


def _moments(maps: ir.Value, summed_axis: int) -> _Moments:
    """The moments of the marginal that is left of (B, K, h, w) once an axis is summed."""
    marginal = _reduction(maps, "ReduceSum", (summed_axis, summed_axis - 4))
    weights = marginal.outputs[0]
    for weighted in _readers(weights, "Mul"):
        positions = _other_input(weighted, weights)
        array = _constant_array(positions)
        if array is not None:
            break
    else:
        raise _OtherGraphError
    total = _reduction(weighted.outputs[0], "ReduceSum", (-1, 2))
    unsqueeze = _reader(total.outputs[0], "Unsqueeze")
    _require(_constant(unsqueeze.inputs[1]) in (-1, 2))
    mean = unsqueeze.outputs[0]
    offset = _reader(mean, "Sub")
    _require(list(offset.inputs) == [positions, mean])
    once, twice = _squares(weights, offset.outputs[0])
    variance = _reduction(twice.outputs[0], "ReduceSum", (-1, 2))
    return _Moments(
        (marginal, weighted, total, unsqueeze, offset, once, twice, variance),
        array,
        mean,
        variance.outputs[0],
    )


def _squares(weights: ir.Value, offset: ir.Value) -> tuple[ir.Node, ir.Node]:
    """The two products of ``weights * offset * offset``."""
    for once in _readers(offset, "Mul"):
        if _other_input(once, offset) is weights:
            twice = _reader(once.outputs[0], "Mul")
            _require(_other_input(twice, once.outputs[0]) is offset)
            return once, twice
    raise _OtherGraphError


def _require_closed(site: _Site) -> None:
    """Nothing outside reads what will no longer be computed."""
    for node in site.nodes:
        for value in node.outputs:
            if value not in site.outputs:
                _require(not value.is_graph_output())
                _require(all(use.node in site.nodes for use in value.uses()))


def _temperature(divide: ir.Node) -> float:
    temperature = _constant(divide.inputs[1])
    _require(0 < temperature < np.inf)
    return temperature


def _pixels(positions_px: NDArray[np.generic], cells: int) -> int:
    """Size of the axis of the network's input whose cell centres the positions are."""
    _require(positions_px.shape == (cells,))
    positions = positions_px.astype(np.float64)
    pixels = round(float(positions[0] + positions[-1])) + 1  # symmetric about (pixels - 1) / 2
    centres = (np.arange(cells) + 0.5) * (pixels / cells) - 0.5
    _require(pixels > 0 and np.abs(positions - centres).max() <= 1e-6 * pixels)
    return pixels


def _without_cast(heatmaps: ir.Value | None, shape: tuple[int, ...]) -> ir.Value:
    """What the kernel can read: FP16 as it is, anything else as the FP32 that it is cast to."""
    _require(heatmaps is not None and heatmaps.shape is not None)
    assert heatmaps is not None
    assert heatmaps.shape is not None
    _require(tuple(heatmaps.shape) == shape)
    cast = heatmaps.producer()
    if cast is not None and cast.op_type == "Cast" and cast.inputs[0] is not None:
        source = cast.inputs[0]
        if source.dtype == ir.DataType.FLOAT16 and heatmaps.dtype == ir.DataType.FLOAT:
            return source
    return heatmaps


def _replace(graph: ir.Graph, site: _Site, number: int) -> None:
    name = f"{site.scope or 'soft_argmax'}.{OP_TYPE}" + (f"_{number}" if number else "")
    node = ir.node(
        OP_TYPE,
        [site.heatmaps],
        {
            "input_size": site.input_size,
            "temperature": site.temperature,
            **PLUGIN_ATTRIBUTES,
        },
        domain=DOMAIN,
        num_outputs=3,
        name=name,
    )
    if site.scope:
        node.metadata_props[SCOPE_KEY] = site.scope
    casts = [site.first.inputs[0].producer()] if site.first.inputs[0] else []
    constants = {v for n in site.nodes for v in n.inputs if v is not None and v.is_initializer()}
    # In the place of the first node, before anything that reads the results.
    ir.convenience.replace_nodes_and_values(
        graph, site.first, list(site.nodes), [node], site.outputs, node.outputs
    )
    for cast in casts:
        if cast is not None and cast.op_type == "Cast" and not _is_read(cast.outputs[0]):
            graph.remove(cast, safe=True)
    for value in constants:
        if not _is_read(value):
            assert value.name is not None
            del graph.initializers[value.name]


def _is_read(value: ir.Value) -> bool:
    return value.is_graph_output() or bool(value.uses())


def _require(condition: bool) -> None:
    if not condition:
        raise _OtherGraphError


def _maker(value: ir.Value | None, op_type: str) -> ir.Node:
    node = value.producer() if value is not None else None
    if node is None or node.op_type != op_type or node.domain not in ("", "ai.onnx"):
        raise _OtherGraphError
    return node


def _readers(value: ir.Value, op_type: str) -> list[ir.Node]:
    """The nodes of a type that read a value, each once."""
    nodes: Iterable[ir.Node] = dict.fromkeys(use.node for use in value.uses())
    return [node for node in nodes if node.op_type == op_type]


def _reader(value: ir.Value, op_type: str) -> ir.Node:
    nodes = _readers(value, op_type)
    _require(len(nodes) == 1)
    return nodes[0]


def _reduction(value: ir.Value, op_type: str, axes: tuple[int, ...]) -> ir.Node:
    """The reduction of a value over one axis, which may be spelled in several ways."""
    for node in _readers(value, op_type):
        reduced = _constant_array(node.inputs[1]) if len(node.inputs) > 1 else None
        if reduced is not None and reduced.size == 1 and int(reduced.item()) in axes:
            _require(node.attributes.get_int("keepdims", 1) == 0)
            return node
    raise _OtherGraphError


def _other_input(node: ir.Node, value: ir.Value) -> ir.Value | None:
    """The input of a product that is not ``value``, which is one of the two."""
    first, second = node.inputs
    return second if first is value else first


def _constant_array(value: ir.Value | None) -> NDArray[np.generic] | None:
    """The array of an initializer or Constant node, None for anything computed or fed."""
    if value is None or value.is_graph_input():
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def _constant(value: ir.Value | None) -> float:
    """The number that a value always is."""
    array = _constant_array(value)
    if array is None or array.size != 1:
        raise _OtherGraphError
    return float(array.item())


def _shape(reshape: ir.Node) -> tuple[int, ...]:
    """The static shape that a Reshape gives."""
    shape = reshape.outputs[0].shape
    if shape is None or not shape.is_static():
        raise _OtherGraphError
    return shape.numpy()
