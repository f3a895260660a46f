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

from mahtrt.calibration.biases import add_to_bias
from mahtrt.errors import DataError, ModelError
from mahtrt.graph.flops import PRODUCTS
from mahtrt.graph.index import GraphIndex
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
        output for output, mean in correction.means.items() if _correct(write, output, mean)
    ]
    result = write.finish()
    record = {"images": correction.images, "products": len(corrected)}
    entry = result.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(record, sort_keys=True)
    return result


def _correct(write: GraphRewriter, output: str, mean: NDArray[np.float64]) -> bool:
    graph = write.graph
    position = graph.producer[output]
    scales = graph.nodes[graph.producer[graph.nodes[position].input[1]]].input[1]
    return add_to_bias(write, position, mean, graph.element_type(scales))


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
    """Add the nodes of rounding, which read the floating-point tensors here, and INT8 products.

    These have the biases of their originals. So what is subtracted before rounding
    (:mod:`mahtrt.calibration.centring`) is added again behind it.
    """
    own = {tensor.name for tensor in twins.graph.initializer}
    made = {name: node for node in twins.graph.node for name in node.output}
    twins.graph.initializer.extend(t for t in quantized.graph.initializer if t.name not in own)
    added = {node.output[0]: node for node in quantized.graph.node if node.output[0] not in made}
    twins.graph.node.extend(added.values())
    for node in products:
        twin = twins.graph.node.add()
        twin.CopyFrom(made[node.output[0]])
        twin.input[:2] = [_uncentred(twins, added, node.input[0]), node.input[1]]
        twin.name, twin.output[0] = f"{_PREFIX}{node.name}", f"{_PREFIX}{node.output[0]}"


def _uncentred(twins: onnx.ModelProto, added: Mapping[str, onnx.NodeProto], pair: str) -> str:
    """A tensor that was rounded, with what was subtracted before."""
    subtraction = added.get(added[added[pair].input[0]].input[0])
    if subtraction is None:
        return pair
    output = f"{_PREFIX}{pair}"
    if all(output not in node.output for node in twins.graph.node):
        twins.graph.node.append(helper.make_node("Add", [pair, subtraction.input[1]], [output]))
    return output


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
