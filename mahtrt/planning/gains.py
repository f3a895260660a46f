"""What each block gains in time when it is INT8, from the layer times of the target.

A layer's time goes to the block of the product that it computes. Layers without a product go to
the block of the product before them, except what INT8 adds: the quantisers, and the conversions
that the target puts in, go to the block that needs them, which is the one behind. So the
difference between the floating-point graph and the INT8 graph, block by block, is what INT8 saves
there less what it costs there.

A fused layer that spans several blocks (TensorRT's foreign nodes) is shared out by arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx

from mahtrt.graph.flops import PRODUCTS
from mahtrt.planning.blocks import Candidate
from mahtrt.targets.layers import Layer

OTHER = ""  # the block of whatever belongs to no candidate
_CONVERTERS = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True, slots=True)
class Owners:
    """Which block each node of a graph belongs to.

    Attributes:
        of: Name of a node, or of an output -> name of the block, OTHER for none.
        products: The names among them that are products.
        converters: The names that are quantisers.
        flops_share: Block -> share of the arithmetic.
    """

    of: Mapping[str, str]
    products: frozenset[str]
    converters: frozenset[str]
    flops_share: Mapping[str, float]


def find_owners(
    model: onnx.ModelProto, candidates: Sequence[Candidate], *, whole: bool = False
) -> Owners:
    """The owners of a graph's nodes, quantised or not.

    Args:
        model: A model with the node names of the candidates' graph.
        whole: Products that cannot be INT8 belong to their blocks too.
    """
    nodes = list(model.graph.node)
    block_of = {key: c.name for c in candidates for key in c.nodes}
    if whole:
        block_of |= {key: c.name for c in candidates for key in c.float_nodes}
    own = [_product_owner(node, block_of) for node in nodes]
    producer = {name: i for i, node in enumerate(nodes) for name in node.output}
    readers: dict[int, list[int]] = {}
    for i, node in enumerate(nodes):
        for name in node.input:
            if name in producer:
                readers.setdefault(producer[name], []).append(i)
    owners: dict[int, str | None] = {i: owner for i, owner in enumerate(own) if owner is not None}
    for i, node in enumerate(nodes):  # forwards: what follows a product is the product's
        if i not in owners and node.op_type not in _CONVERTERS:
            makers = [producer[n] for n in node.input if n in producer]
            known = [m for m in makers if owners.get(m) is not None]
            owners[i] = owners[max(known)] if known else None
    for i in reversed(range(len(nodes))):  # backwards: quantisers, and what stands before any
        if owners.get(i) is None:
            behind = (owners.get(r) for r in readers.get(i, ()))
            owners[i] = next((owner for owner in behind if owner is not None), None)
    of = {
        name: owners[i] or OTHER
        for i, node in enumerate(nodes)
        for name in (*node.output, node.name)
        if name
    }
    return Owners(
        of=of,
        products=_names(node for node in nodes if node.op_type in PRODUCTS),
        converters=_names(node for node in nodes if node.op_type in _CONVERTERS),
        flops_share={c.name: c.flops_share for c in candidates},
    )


def time_by_block(layers: Sequence[Layer], owners: Owners) -> dict[str, float]:
    """Milliseconds per block; OTHER gets what belongs to none."""
    table = {layer.name: layer for layer in layers}
    times: dict[str, float] = {}
    for layer in layers:
        shares = _shares(layer, owners) or _shares_of_readers(layer, table, owners)
        for block, share in (shares or {OTHER: 1.0}).items():
            times[block] = times.get(block, 0.0) + share * layer.ms
    return times


def gains_by_block(
    float_ms: Mapping[str, float], int8_ms: Mapping[str, float], names: Sequence[str]
) -> dict[str, float]:
    """What INT8 saves per block, negative where it costs; for the named blocks."""
    return {name: float_ms.get(name, 0.0) - int8_ms.get(name, 0.0) for name in names}


def _product_owner(node: onnx.NodeProto, block_of: Mapping[str, str]) -> str | None:
    if node.op_type not in PRODUCTS:
        return None
    keys = [key for key in (node.name, *node.output) if key in block_of]
    return block_of[keys[0]] if keys else OTHER


def _names(nodes: Iterable[onnx.NodeProto]) -> frozenset[str]:
    return frozenset(name for node in nodes for name in (*node.output, node.name) if name)


def _shares(layer: Layer, owners: Owners) -> dict[str, float]:
    """The blocks of a layer by its own origins, and how much of it each takes."""
    known = [name for o in layer.origins if (name := _resolve(o, owners)) is not None]
    products = [name for name in known if name in owners.products]
    plain = [name for name in known if name not in owners.converters]
    if not products:
        # A converter fused behind something else stays with it, as it costs hardly anything.
        return {owners.of[name]: 1.0 for name in (plain or known)[:1]}
    blocks = list(dict.fromkeys(owners.of[name] for name in products))
    weights = [max(owners.flops_share.get(block, 0.0), 1e-9) for block in blocks]
    return {block: w / sum(weights) for block, w in zip(blocks, weights, strict=True)}


def _shares_of_readers(
    layer: Layer, table: Mapping[str, Layer], owners: Owners
) -> dict[str, float]:
    """For a conversion that the target put in: the block of the next layer that has one."""
    queue, seen = list(layer.readers), set[str]()
    while queue:
        name = queue.pop(0)
        reader = table.get(name)
        if reader is None or name in seen:
            continue
        seen.add(name)
        if shares := _shares(reader, owners):
            return shares
        queue += reader.readers
    return {}


def _resolve(origin: str, owners: Owners) -> str | None:
    """The node that a target's name stands for: the name itself, or the start of it.

    Targets add to names: ``x/WithoutBiases``, ``x_nchwc``, ``x/MatMulAddFusion``.
    """
    name = origin
    while name:
        if name in owners.of:
            return name
        name = name[: max(name.rfind("/"), name.rfind("_"), 0)]
    return None
