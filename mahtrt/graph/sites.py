"""The places of a graph where INT8 arithmetic could be: its matrix products, and their regions.

A *site* is a Conv, ConvTranspose, MatMul or Gemm. Two regions that must keep full precision are
found from the graph alone, so that networks without mahtrt's scopes are treated alike:

- the *stem*: every convolution that the image reaches before any other product;
- the *head*: from each output back to the last product that feeds it (passing over the thin
  products of a soft-argmax, and those of a module that decodes), and from there back to where the
  resolution last changed or features were last joined. In a decoder that is the heatmap head and
  the last stage, and no more. Where no such border exists (a plain chain of convolutions, a
  transformer), the head is the last ``UNBOUNDED_HEAD`` products.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from mahtrt.graph.flops import PRODUCTS, flops_by_node
from mahtrt.graph.index import GraphIndex, attribute, reached, scope_of
from mahtrt.spec import is_decoding

UNBOUNDED_HEAD = 2

# Matrix products with an inner or outer size below this stay in floating point.
MIN_GEMM_SIZE = 16

_BORDERS = ("Resize", "Upsample", "ConvTranspose", "DepthToSpace", "Concat", "GlobalAveragePool")
_JOINS = ("Add", "Mul", "Sum")


@dataclass(frozen=True, slots=True)
class Site:
    """One product and what decides about its precision.

    Attributes:
        key: Unique name of the node.
        position: Place of the node in the graph.
        op: ``Conv``, ``ConvTranspose``, ``MatMul`` or ``Gemm``.
        scope: Dotted module path, or the key where the exporter left none.
        weight_shape: Shape of the constant weights, None where both inputs are activations.
        weight_axis: The axis of the output channels in the weights.
        inner, outer: Input and output channels (K and N of a matrix product).
        groups: Groups of a convolution, 1 for matrix products.
        positions: Positions per image at the input: height times width, or tokens.
        flops_share: Share of the graph's products in [0, 1].
        is_stem, is_head: Whether the site is in one of the regions above.
    """

    key: str
    position: int
    op: str
    scope: str
    weight_shape: tuple[int, ...] | None
    weight_axis: int
    inner: int
    outer: int
    groups: int
    positions: int
    flops_share: float
    is_stem: bool
    is_head: bool

    @property
    def is_convolution(self) -> bool:
        return self.op in ("Conv", "ConvTranspose")


def find_sites(graph: GraphIndex) -> list[Site]:
    """Every product of a graph, in the order of its nodes, but for those that decode."""
    flops = {p: n for p, n in flops_by_node(graph).items() if not decodes(graph, p)}
    total = sum(flops.values()) or 1
    stem, head = stem_positions(graph), head_positions(graph)
    return [
        _site(graph, position, flops[position] / total, position in stem, position in head)
        for position in sorted(flops)
    ]


def decodes(graph: GraphIndex, position: int) -> bool:
    """Whether a node belongs to the module that decodes, by its scope."""
    return is_decoding(scope_of(graph.nodes[position]))


def is_weighted(graph: GraphIndex, position: int) -> bool:
    """Whether a node is a product of one activation (first) with constant weights (second)."""
    node = graph.nodes[position]
    if node.op_type not in PRODUCTS or graph.is_constant(node.input[0]):
        return False
    if not graph.is_constant(node.input[1]):
        return False
    weight = graph.shape(node.input[1])
    is_matrix = node.op_type in ("MatMul", "Gemm")
    return not is_matrix or (
        weight is not None and len(weight) == 2 and not attribute(node, "transA", 0)
    )


def is_thin(graph: GraphIndex, position: int) -> bool:
    """Whether a matrix product has K or N below 16, as the sums of a soft-argmax have."""
    node = graph.nodes[position]
    if node.op_type not in ("MatMul", "Gemm"):
        return False
    return min(_channels(graph, position)[1:]) < MIN_GEMM_SIZE


def stem_positions(graph: GraphIndex) -> set[int]:
    """The convolutions that the graph's inputs reach before any other product."""
    starts = [p for name in graph.inputs for p in graph.consumers.get(name, ())]

    def following(position: int) -> list[int]:
        is_product = graph.nodes[position].op_type in PRODUCTS
        return [] if is_product else graph.readers(position)

    return {p for p in reached(starts, following) if graph.nodes[p].op_type == "Conv"}


def head_positions(graph: GraphIndex) -> set[int]:
    """The products of the heads and of the last stage before each of them."""
    head: set[int] = set()
    for last in _last_products(graph):
        region, bounded = _walk_back(graph, last)
        products = {p for p in region if graph.nodes[p].op_type in PRODUCTS}
        head |= products if bounded else _nearest_products(graph, last, UNBOUNDED_HEAD)
    return head


def tail_positions(graph: GraphIndex) -> set[int]:
    """Every node after the last product on the way to the outputs: decoding, soft-argmax."""
    seen = {p for p in _behind_the_products(graph) if not _is_substantial(graph, p)}
    # What also feeds a later product is not tail, however it reaches an output.
    for position in sorted(seen, reverse=True):
        if not seen.issuperset(graph.readers(position)):
            seen.discard(position)
    return seen


def _is_substantial(graph: GraphIndex, position: int) -> bool:
    return (
        is_weighted(graph, position)
        and not is_thin(graph, position)
        and not decodes(graph, position)
    )


def _last_products(graph: GraphIndex) -> list[int]:
    """Weighted products from which some output is reached without another one."""
    return sorted(p for p in _behind_the_products(graph) if _is_substantial(graph, p))


def _behind_the_products(graph: GraphIndex) -> set[int]:
    """Nodes from the outputs back to the last products, with these."""

    def following(position: int) -> list[int]:
        return [] if _is_substantial(graph, position) else graph.makers(position)

    return reached(graph.producers(graph.outputs), following)


def _walk_back(graph: GraphIndex, last: int) -> tuple[set[int], bool]:
    """Nodes from ``last`` back to the borders, and whether borders stopped every path."""

    def stops(position: int) -> bool:
        return position != last and _is_border(graph, position)

    region = reached([last], lambda p: [] if stops(p) else graph.makers(p))
    inputs = set(graph.inputs)
    bounded = all(stops(p) or not inputs.intersection(graph.nodes[p].input) for p in region)
    return region, bounded


def _is_border(graph: GraphIndex, position: int) -> bool:
    """Whether a node changes the resolution or joins features of another origin."""
    node = graph.nodes[position]
    if node.op_type in _BORDERS:
        return True
    makers = (graph.nodes[p].op_type for p in graph.makers(position))
    return node.op_type in _JOINS and any(op in ("Resize", "Upsample") for op in makers)


def _nearest_products(graph: GraphIndex, last: int, count: int) -> set[int]:
    """``last`` and the weighted products next before it, breadth first, ``count`` in all."""
    found: list[int] = []
    queue, seen = [last], set()
    while queue and len(found) < count:
        position = queue.pop(0)
        if position in seen:
            continue
        seen.add(position)
        if is_weighted(graph, position):
            found.append(position)
        queue.extend(sorted(graph.makers(position), reverse=True))
    return set(found)


def weight_axis(graph: GraphIndex, position: int) -> int:
    """The axis of the output channels in a product's weights."""
    return _channels(graph, position)[0]


def _channels(graph: GraphIndex, position: int) -> tuple[int, int, int]:
    """The weights' output-channel axis, and input and output channels, 0 where unknown."""
    node = graph.nodes[position]
    shape = graph.shape(node.input[1])
    if shape is None or len(shape) < 2:
        return 0, 0, 0
    groups = int(attribute(node, "group", 1))
    if node.op_type == "Conv":
        return 0, shape[1] * groups, shape[0]
    if node.op_type == "ConvTranspose":
        return 1, shape[0], shape[1] * groups
    if node.op_type == "Gemm" and attribute(node, "transB", 0):
        return 0, shape[1], shape[0]
    return len(shape) - 1, shape[-2], shape[-1]


def _site(graph: GraphIndex, position: int, share: float, stem: bool, head: bool) -> Site:
    node, key = graph.nodes[position], graph.keys[position]
    data = graph.shape(node.input[0]) or ()
    axis, inner, outer = _channels(graph, position)
    convolution = node.op_type in ("Conv", "ConvTranspose")
    weighted = is_weighted(graph, position)
    batch = next((s[0] for name in graph.inputs if (s := graph.shape(name))), 1)
    return Site(
        key=key,
        position=position,
        op=node.op_type,
        scope=scope_of(node) or key,
        weight_shape=graph.shape(node.input[1]) if weighted else None,
        weight_axis=axis,
        inner=inner,
        outer=outer,
        groups=int(attribute(node, "group", 1)),
        positions=prod(data[2:] if convolution else data[:-1]) // (1 if convolution else batch),
        flops_share=share,
        is_stem=stem,
        is_head=head,
    )
