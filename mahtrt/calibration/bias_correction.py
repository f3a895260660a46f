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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mahtrt.errors import DataError, ModelError
from mahtrt.graph.flops import PRODUCTS
from mahtrt.graph.index import GraphIndex, attribute
from mahtrt.graph.rewrite import GraphRewriter
from mahtrt.graph.runner import ImageRunner, Images
from mahtrt.graph.taps import needed_nodes
from mahtrt.targets.onnxruntime.run import OrtMode

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


def measure_bias(
    model: onnx.ModelProto,
    quantized: onnx.ModelProto,
    images: Images,
    *,
    progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
) -> BiasCorrection:
    """What the biases of a quantised model lack to have the means of their originals.

    Args:
        model: The floating-point model that was quantised.
        quantized: What :func:`mahtrt.calibration.qdq.quantize` made of it.
        images: Preprocessed images (C, H, W), read once; a dozen is enough.
        progress: Called with the images done and their number.
        threads: For ONNX Runtime; None lets it choose.

    Raises:
        DataError: No images, or an image of the wrong shape.
        ModelError: The two models do not belong together, or cannot be run.
    """
    twins, outputs = _with_int8_twins(model, quantized)
    runner = ImageRunner(twins, "the graph for bias correction", threads, OrtMode.NODE_BY_NODE)
    del twins  # as large as the weights, twice
    sums, done = [np.zeros(()) for _ in outputs], 0
    for group in runner.groups(images):
        for place, mean in enumerate(runner.run(group)):
            sums[place] = sums[place] + len(group) * mean.astype(np.float64)
        done += len(group)
        if progress:
            progress(done, len(images))
    if not done:
        raise DataError("images for bias correction", got="none", expected="at least one image")
    means = {output: total / done for output, total in zip(outputs, sums, strict=True)}
    return BiasCorrection(means, done)


def apply_correction(quantized: onnx.ModelProto, correction: BiasCorrection) -> onnx.ModelProto:
    """A copy of a quantised model with corrected biases, in the biases' own type."""
    write = GraphRewriter(GraphIndex(quantized, allow_quantized=True))
    corrected = [
        output for output, mean in correction.means.items() if _add_to_bias(write, output, mean)
    ]
    result = write.finish()
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
    others = np.delete(np.arange(len(shape), dtype=np.int64), axis)
    axes = numpy_helper.from_array(others, f"{output}_axes")
    twins.graph.initializer.append(axes)
    nodes.append(helper.make_node("ReduceMean", [as_float, axes.name], [output], keepdims=0))
    twins.graph.output.append(
        helper.make_tensor_value_info(output, TensorProto.FLOAT, [shape[axis]])
    )


def _add_to_bias(write: GraphRewriter, output: str, mean: NDArray[np.float64]) -> bool:
    """Correct one product; returns whether it has a place for that."""
    graph, position = write.graph, write.graph.producer[output]
    node = graph.nodes[position]
    if node.op_type == "MatMul":
        return _add_to_following(write, output, mean)
    if node.op_type == "Gemm":
        mean = mean / attribute(node, "beta", 1.0)
    if len(node.input) > 2 and node.input[2]:
        return _add_to_constant(write, position, 2, mean)
    scales = graph.initializers[graph.nodes[graph.producer[node.input[1]]].input[1]]
    bias = mean.astype(helper.tensor_dtype_to_np_dtype(scales.data_type))
    write.replace_input(position, 2, write.store(f"{output}_bias", bias))
    return True


def _add_to_following(write: GraphRewriter, output: str, mean: NDArray[np.float64]) -> bool:
    graph = write.graph
    readers = graph.consumers.get(output, [])
    if len(readers) != 1 or graph.nodes[readers[0]].op_type != "Add" or output in graph.outputs:
        return False
    inputs = graph.nodes[readers[0]].input
    other = [slot for slot, name in enumerate(inputs) if name != output]
    return len(other) == 1 and _add_to_constant(write, readers[0], other[0], mean)


def _add_to_constant(
    write: GraphRewriter, position: int, slot: int, mean: NDArray[np.float64]
) -> bool:
    """Give a node its own copy of a constant, with something added; refuse other shapes."""
    old = write.graph.initializers.get(write.graph.nodes[position].input[slot])
    if old is None or not old.dims or old.dims[-1] != len(mean):
        return False
    value = numpy_helper.to_array(old)
    new = (value.astype(np.float64) + mean).astype(value.dtype)
    write.replace_input(position, slot, write.store(f"{old.name}_corrected", new))
    return True
