"""What an ONNX graph holds: nodes and products per precision, weights, layers by cost, records.

Everything is told from the file. Nodes inside If and Loop bodies are not looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import onnx
from onnx import TensorProto

from mahtrt.errors import MahtrtError
from mahtrt.graph.flops import flops_by_node
from mahtrt.graph.index import GraphIndex, attribute, opset_of, scope_of
from mahtrt.graph.layer_precision import (
    UNKNOWN,
    bytes_of,
    is_int8_product,
    is_product,
    is_stored_int8,
    precision_name,
    precision_of,
    stored_weights,
    type_of,
)
from mahtrt.parsing import read_json

# Metadata of an export or a build -> the field of the summary that holds it.
RECORDS = {
    "mahtrt.spec": "spec",
    "mahtrt.source": "provenance",
    "mahtrt.parity": "parity",
    "mahtrt.quantization": "quantization",
    "mahtrt.precision": "precision",
}
# Nodes that move no data of their own in an engine: views, constants, and Q/DQ, which are fused.
_FREE = (
    "Constant",
    "DequantizeLinear",
    "Flatten",
    "Identity",
    "QuantizeLinear",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
)
_ROUNDED_TO_BF16 = "mahtrt_bf16_split"


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An input or output; a dynamic dimension is its name, or ``?``."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class WeightGroup:
    """The constants of one type.

    Attributes:
        tensors: How many there are.
        elements: Their values together.
        bytes: As stored.
    """

    dtype: str
    tensors: int
    elements: int
    bytes: int


@dataclass(frozen=True, slots=True)
class LayerCost:
    """What one node costs, per inference of the graph's whole batch.

    Attributes:
        name: The node's key (its name, or its first output's).
        scope: Dotted module path, "" where the exporter left none.
        flops: Operations of a product, a multiply-add counted as two; 0 for other nodes.
        weight_bytes: Constants it reads, as stored.
        activation_bytes: What it reads and writes, in the types of the graph; an operand that
            comes from a quantiser counts as quantised.
    """

    name: str
    op: str
    scope: str
    precision: str
    flops: int
    weight_bytes: int
    activation_bytes: int

    @property
    def bytes(self) -> int:
        return self.weight_bytes + self.activation_bytes


@dataclass(frozen=True, slots=True)
class GraphSummary:
    """What :func:`describe_graph` found.

    Attributes:
        batch: Images per inference, None where it is dynamic.
        ops: Operator -> precision -> nodes.
        products: Precision -> convolutions and matrix products.
        weights: Constants by type, the largest first.
        layers: Every node that costs something, in the order of the graph.
        int8_names: The products with constant weights that compute in INT8: both operands come
            from a DequantizeLinear of INT8.
        records: What mahtrt wrote into the file: ``spec``, ``provenance``, ``parity``,
            ``quantization``, ``precision``, as far as they are there.
        notes: What a reader has to know, one sentence each.
    """

    opset: int
    ir_version: int
    producer: str
    batch: int | None
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    nodes: int
    ops: Mapping[str, Mapping[str, int]]
    products: Mapping[str, int]
    weights: tuple[WeightGroup, ...]
    layers: tuple[LayerCost, ...]
    int8_names: tuple[str, ...]
    records: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def int8_layers(self) -> int:
        """How many products with constant weights compute in INT8."""
        return len(self.int8_names)

    @property
    def flops(self) -> int:
        """Operations of all products."""
        return sum(layer.flops for layer in self.layers)

    @property
    def nodes_by_precision(self) -> dict[str, int]:
        """Precision -> nodes, the most frequent first."""
        total: Counter[str] = Counter()
        for counts in self.ops.values():
            total.update(counts)
        return dict(total.most_common())

    @property
    def weight_bytes(self) -> int:
        return sum(group.bytes for group in self.weights)

    def largest(self, by: str, top: int) -> tuple[LayerCost, ...]:
        """The ``top`` layers with the most ``flops`` or ``bytes``, the largest first."""
        costly = [layer for layer in self.layers if getattr(layer, by)]
        return tuple(sorted(costly, key=lambda layer: -int(getattr(layer, by)))[:top])

    def to_dict(self, top: int = 10) -> dict[str, Any]:
        """Plain data; of the layers only the ``top`` by operations and by bytes."""
        return {
            "opset": self.opset,
            "ir_version": self.ir_version,
            "producer": self.producer,
            "batch": self.batch,
            "inputs": [asdict(tensor) for tensor in self.inputs],
            "outputs": [asdict(tensor) for tensor in self.outputs],
            "nodes": self.nodes,
            "nodes_by_precision": self.nodes_by_precision,
            "ops": {op: dict(counts) for op, counts in self.ops.items()},
            "products": dict(self.products),
            "int8_layers": self.int8_layers,
            "flops": self.flops,
            "weight_bytes": self.weight_bytes,
            "weights": [asdict(group) for group in self.weights],
            "largest_by_flops": [_cost(layer) for layer in self.largest("flops", top)],
            "largest_by_bytes": [_cost(layer) for layer in self.largest("bytes", top)],
            **{name: self.records.get(name) for name in RECORDS.values()},
            "notes": list(self.notes),
        }


def describe_graph(model: onnx.ModelProto) -> GraphSummary:
    """Count what a graph holds. Weights may be absent (external data that was not loaded)."""
    graph = GraphIndex(model, allow_quantized=True)
    flops = flops_by_node(graph)
    precisions = [precision_of(graph, position) for position in range(len(graph.nodes))]
    inputs = _tensors([i for i in model.graph.input if i.name in graph.inputs])
    return GraphSummary(
        opset=opset_of(model),
        ir_version=model.ir_version,
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        batch=_batch(inputs),
        inputs=inputs,
        outputs=_tensors(model.graph.output),
        nodes=len(graph.nodes),
        ops=_ops(graph, precisions),
        products=_counted(
            precision
            for node, precision in zip(graph.nodes, precisions, strict=True)
            if is_product(node)
        ),
        weights=_weights(graph),
        layers=tuple(
            _layer(graph, position, precisions[position], flops.get(position, 0))
            for position, node in enumerate(graph.nodes)
            if node.op_type not in _FREE
        ),
        int8_names=tuple(
            graph.keys[p] for p in range(len(graph.nodes)) if is_int8_product(graph, p)
        ),
        records=_records(model),
        notes=tuple(_notes(graph, flops)),
    )


def _tensors(infos: Any) -> tuple[TensorInfo, ...]:
    found = []
    for info in infos:
        tensor = info.type.tensor_type
        dims = tensor.shape.dim
        shape = tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in dims)
        found.append(TensorInfo(info.name, precision_name(tensor.elem_type), shape))
    return tuple(found)


def _batch(inputs: tuple[TensorInfo, ...]) -> int | None:
    first = inputs[0].shape[0] if inputs and inputs[0].shape else None
    return first if isinstance(first, int) else None


def _ops(graph: GraphIndex, precisions: list[str]) -> dict[str, dict[str, int]]:
    """Operator -> precision -> nodes, the most frequent operator first."""
    names = [f"{n.domain}:{n.op_type}" if n.domain else n.op_type for n in graph.nodes]
    table: dict[str, dict[str, int]] = {op: {} for op in _counted(names)}
    for (op, precision), count in sorted(Counter(zip(names, precisions, strict=True)).items()):
        table[op][precision] = count
    return table


def _counted(values: Any) -> dict[str, int]:
    """How often each value occurs, the most frequent first, then by name."""
    return dict(sorted(Counter(values).items(), key=lambda pair: (-pair[1], pair[0])))


def _weights(graph: GraphIndex) -> tuple[WeightGroup, ...]:
    held = [attribute(node, "value") for node in graph.nodes if node.op_type == "Constant"]
    tensors = [*graph.initializers.values(), *(t for t in held if isinstance(t, TensorProto))]
    groups: dict[str, list[tuple[int, int]]] = {}
    for tensor in tensors:
        shape = tuple(tensor.dims)
        size = bytes_of(tensor.data_type, shape)
        count = bytes_of(TensorProto.INT8, shape)
        groups.setdefault(precision_name(tensor.data_type), []).append((count, size))
    rows = [
        WeightGroup(name, len(sizes), sum(c for c, _ in sizes), sum(b for _, b in sizes))
        for name, sizes in groups.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.bytes, row.dtype)))


def _layer(graph: GraphIndex, position: int, precision: str, flops: int) -> LayerCost:
    node = graph.nodes[position]
    constants = {w for name in node.input if name for w in stored_weights(graph, name)}
    read = dict.fromkeys(n for n in node.input if n and not stored_weights(graph, n))
    return LayerCost(
        name=graph.keys[position],
        op=node.op_type,
        scope=scope_of(node),
        precision=precision,
        flops=flops,
        weight_bytes=sum(_size(graph, name) for name in constants),
        activation_bytes=sum(_size(graph, _as_read(graph, name)) for name in read)
        + sum(_size(graph, name) for name in node.output if name),
    )


def _as_read(graph: GraphIndex, tensor: str) -> str:
    """The quantised tensor behind a DequantizeLinear: that is what an engine reads."""
    maker = graph.maker(tensor)
    dequantized = maker is not None and maker.op_type == "DequantizeLinear"
    return maker.input[0] if dequantized and maker is not None else tensor


def _size(graph: GraphIndex, tensor: str) -> int:
    return bytes_of(type_of(graph, tensor), graph.shape(tensor))


def _cost(layer: LayerCost) -> dict[str, Any]:
    return {**asdict(layer), "bytes": layer.bytes}


def _records(model: onnx.ModelProto) -> dict[str, Any]:
    """The JSON that mahtrt left in the file; what cannot be read stays text."""
    found: dict[str, Any] = {}
    for entry in model.metadata_props:
        if entry.key in RECORDS:
            try:
                found[RECORDS[entry.key]] = read_json(entry.value, entry.key, "a record")
            except MahtrtError:
                found[RECORDS[entry.key]] = entry.value
    return found


def _notes(graph: GraphIndex, flops: Mapping[int, int]) -> list[str]:
    notes = []
    if _ROUNDED_TO_BF16 in graph.initializers:
        notes.append("Products see values rounded to BF16, computed in FP32: BF16's accuracy.")
    bodies = sum(1 for n in graph.nodes for a in n.attribute if a.HasField("g"))
    if bodies:
        notes.append(f"Nodes inside {bodies} If or Loop bodies are not counted.")
    unsized = sum(1 for count in flops.values() if not count)
    if unsized:
        notes.append(f"{unsized} of {len(flops)} products have unknown or dynamic shapes: 0 FLOPs.")
    untyped = sum(1 for n in graph.nodes if n.output and not graph.has_type(n.output[0]))
    if untyped:
        notes.append(f"{untyped} nodes have outputs of unknown type: precision {UNKNOWN}.")
    stored_only = sum(
        1
        for position in flops
        if is_stored_int8(graph, position) and not is_int8_product(graph, position)
    )
    if stored_only:
        notes.append(f"{stored_only} products have INT8 weights but compute in floating point.")
    return notes
