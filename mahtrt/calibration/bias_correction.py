"""The mean error of INT8 products, taken out through their biases.

Rounding weights and activations moves the mean of a product's output, channel by channel, and a
mean survives what follows: an attention, a softmax over a map. Nagel et al. (2019) add what the
mean lost to the bias. It costs nothing at run time.

Measured is E[W x] - E[W_q x_q] per output channel, x being what the *floating-point* network feeds
the product, so that each product is corrected for itself, and all of them in one pass: the INT8
products run beside their floating-point twins in one graph, and only one vector of means per
product leaves it. Memory depends neither on the number of images nor on the size of the tensors.

A product gets its correction where that adds no arithmetic: a convolution or Gemm in its bias, a
MatMul in the constant of the Add that directly follows it. Others stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mahtrt.errors import DataError, ModelError
from mahtrt.graph.flops import PRODUCTS
from mahtrt.graph.index import GraphIndex, attribute
from mahtrt.graph.runner import ImageRunner
from mahtrt.graph.taps import needed_nodes, reduce_node

METADATA_KEY = "mahtrt.bias_correction"
_PREFIX = "mahtrt_int8_"


@dataclass(frozen=True, slots=True)
class BiasCorrection:
    """Mean errors of INT8 products.

    Attributes:
        means: Output of the product -> (output channels,) what its bias lacks.
        images: How many images they are the mean of.
    """

    means: Mapping[str, NDArray[np.float64]]
    images: int


def correct_biases(
    model: onnx.ModelProto,
    quantized: onnx.ModelProto,
    images: Iterable[NDArray[np.float32]],
    *,
    progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
) -> onnx.ModelProto:
    """A copy of a quantised model whose products have the mean of their originals.

    Args:
        model: The floating-point model that was quantised.
        quantized: What :func:`mahtrt.calibration.qdq.quantize` made of it.
        images: Preprocessed images (C, H, W), read once; a dozen is enough.
        progress: Called with the images done and their number, 0 if that is unknown.
        threads: For ONNX Runtime; None lets it choose.

    Raises:
        DataError: No images, or an image of the wrong shape.
        ModelError: The two models do not belong together, or cannot be run.
    """
    measured = measure_bias(model, quantized, images, progress=progress, threads=threads)
    return apply_correction(quantized, measured)


def measure_bias(
    model: onnx.ModelProto,
    quantized: onnx.ModelProto,
    images: Iterable[NDArray[np.float32]],
    *,
    progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
) -> BiasCorrection:
    """What :func:`correct_biases` would add; see there."""
    twins, outputs = _with_int8_twins(model, quantized)
    runner = ImageRunner(twins, "the graph for bias correction", threads, literal=True)
    del twins  # as large as the weights, twice
    total = len(images) if isinstance(images, Sized) else 0
    sums, done = [np.zeros(()) for _ in outputs], 0
    for group in runner.groups(images):
        for place, mean in enumerate(runner.run(group)):
            sums[place] = sums[place] + len(group) * mean.astype(np.float64)
        done += len(group)
        if progress:
            progress(done, total)
    if not done:
        raise DataError("images for bias correction", got="none", expected="at least one image")
    means = {output: total / done for output, total in zip(outputs, sums, strict=True)}
    return BiasCorrection(means, done)


def apply_correction(quantized: onnx.ModelProto, correction: BiasCorrection) -> onnx.ModelProto:
    """A copy of a quantised model with corrected biases, in the biases' own type."""
    result = onnx.ModelProto()
    result.CopyFrom(quantized)
    wiring = _Wiring(result)
    corrected = [
        output for output, mean in correction.means.items() if wiring.add_to_bias(output, mean)
    ]
    wiring.drop_unread()
    record = {"images": correction.images, "products": len(corrected)}
    entry = result.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(record, sort_keys=True)
    return result


def _with_int8_twins(
    model: onnx.ModelProto, quantized: onnx.ModelProto
) -> tuple[onnx.ModelProto, list[str]]:
    """The floating-point graph with INT8 products beside their originals.

    Returns:
        A graph whose outputs are mean differences per channel, and which products they are of.
    """
    graph = GraphIndex(model)
    products = _int8_products(quantized)
    lacking = [node.output[0] for node in products if node.output[0] not in graph.producer]
    if lacking or not products:
        raise ModelError(
            "quantised model",
            got=f"no tensor {lacking[0]!r} in the original" if lacking else "no INT8 product",
            expected="the INT8 graph of the given floating-point model",
        )
    twins = onnx.ModelProto()
    twins.CopyFrom(model)
    _merge(twins, quantized, products)
    outputs = [node.output[0] for node in products]
    del twins.graph.output[:]
    for number, output in enumerate(outputs):
        _add_mean_difference(twins, graph, output, f"{_PREFIX}mean_{number}")
    nodes = needed_nodes(twins, [o.name for o in twins.graph.output])
    del twins.graph.node[:]
    twins.graph.node.extend(nodes)
    return twins, outputs


def _int8_products(quantized: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The products that read both inputs through DequantizeLinear."""
    dequantized = {n.output[0] for n in quantized.graph.node if n.op_type == "DequantizeLinear"}
    return [
        node
        for node in quantized.graph.node
        if node.op_type in PRODUCTS and dequantized.issuperset(node.input[:2])
    ]


def _merge(
    twins: onnx.ModelProto, quantized: onnx.ModelProto, products: Sequence[onnx.NodeProto]
) -> None:
    """Add the Q/DQ nodes, which read the floating-point tensors here, and the INT8 products."""
    own = {tensor.name for tensor in twins.graph.initializer}
    twins.graph.initializer.extend(t for t in quantized.graph.initializer if t.name not in own)
    pairs = ("QuantizeLinear", "DequantizeLinear")
    twins.graph.node.extend(n for n in quantized.graph.node if n.op_type in pairs)
    for node in products:
        twin = twins.graph.node.add()
        twin.CopyFrom(node)
        twin.name, twin.output[0] = f"{_PREFIX}{node.name}", f"{_PREFIX}{node.output[0]}"


def _add_mean_difference(
    twins: onnx.ModelProto, graph: GraphIndex, tensor: str, output: str
) -> None:
    shape = graph.shape(tensor)
    if shape is None:
        raise ModelError(f"tensor {tensor!r}", got="no static shape", expected="one")
    maker = graph.maker(tensor)
    assert maker is not None
    axis = 1 if maker.op_type in ("Conv", "ConvTranspose") else len(shape) - 1
    difference, as_float = f"{output}_difference", f"{output}_float"
    nodes = twins.graph.node
    nodes.append(helper.make_node("Sub", [tensor, f"{_PREFIX}{tensor}"], [difference]))
    nodes.append(helper.make_node("Cast", [difference], [as_float], to=TensorProto.FLOAT))
    others = np.delete(np.arange(len(shape)), axis)
    nodes.append(reduce_node(twins, "ReduceMean", as_float, output, others))
    twins.graph.output.append(
        helper.make_tensor_value_info(output, TensorProto.FLOAT, [shape[axis]])
    )


class _Wiring:
    """Constants of a model, replaced in place where a product's bias is."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.values = {tensor.name: tensor for tensor in model.graph.initializer}
        self.producer = {name: node for node in model.graph.node for name in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in dict.fromkeys(node.input):
                self.readers.setdefault(name, []).append(node)
        self.outputs = {output.name for output in model.graph.output}
        self.replaced: set[str] = set()

    def add_to_bias(self, output: str, mean: NDArray[np.float64]) -> bool:
        """Whether there was a place for the correction of a product."""
        node = self.producer[output]
        if node.op_type == "MatMul":
            return self._add_to_following(output, mean)
        if node.op_type == "Gemm":
            mean = mean / attribute(node, "beta", 1.0)
        if len(node.input) > 2 and node.input[2]:
            return self._replace(node, 2, mean)
        dtype = helper.tensor_dtype_to_np_dtype(
            self.values[self.producer[node.input[1]].input[1]].data_type
        )
        bias = numpy_helper.from_array(mean.astype(dtype), self._name(f"{output}_bias"))
        self.graph.initializer.append(bias)
        del node.input[2:]
        node.input.append(bias.name)
        return True

    def drop_unread(self) -> None:
        """Remove the biases that were replaced everywhere."""
        read = {name for node in self.graph.node for name in node.input} | self.outputs
        gone = self.replaced - read
        for listing in (self.graph.initializer, self.graph.input):
            for place in reversed(range(len(listing))):
                if listing[place].name in gone:
                    del listing[place]

    def _add_to_following(self, output: str, mean: NDArray[np.float64]) -> bool:
        readers = self.readers.get(output, [])
        if len(readers) != 1 or readers[0].op_type != "Add" or output in self.outputs:
            return False
        other = [slot for slot, name in enumerate(readers[0].input) if name != output]
        return len(other) == 1 and self._replace(readers[0], other[0], mean)

    def _replace(self, node: onnx.NodeProto, slot: int, mean: NDArray[np.float64]) -> bool:
        """Give a node its own copy of a constant, with something added; refuse other shapes."""
        old = self.values.get(node.input[slot])
        if old is None or not old.dims or old.dims[-1] != len(mean):
            return False
        value = numpy_helper.to_array(old)
        new = (value.astype(np.float64) + mean).astype(value.dtype)
        stored = numpy_helper.from_array(new, self._name(f"{old.name}_corrected"))
        self.graph.initializer.append(stored)
        self.replaced.add(old.name)
        node.input[slot] = stored.name
        return True

    def _name(self, wanted: str) -> str:
        name, number = wanted, 1
        while name in self.values or name in self.producer:
            number += 1
            name = f"{wanted}_{number}"
        self.values[name] = TensorProto()  # taken
        return name
