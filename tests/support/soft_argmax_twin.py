"""The standard-operator twin of ``mahtrt.SoftArgmax2d``, as an ONNX function.

With it inside, a fused model runs wherever functions are supported (ONNX Runtime inlines them), so
the plugin can be compared with it. An engine is built without it: a parser that did not find the
plugin would take the function instead, and nobody would notice.
"""

from __future__ import annotations

import onnx
from onnx import parser

from mahtrt.errors import ModelError
from mahtrt.targets.tensorrt.soft_argmax.fuse import DOMAIN, OP_TYPE, PLUGIN_ATTRIBUTES

_OLDEST_OPSET = 18  # reductions take their axes as an input

# As in the kernel: the peak is subtracted before the division, so no temperature overflows.
_BODY = """
<domain: "{domain}", opset_import: ["": {opset}]>
{op_type} <temperature, input_size, {plugin_attributes}>
(heatmaps) => (landmarks, confidence, spread)
{{
    last = Constant <value_ints: ints = [-1]> ()
    zero = Constant <value_int: int = 0> ()
    one = Constant <value_int: int = 1> ()
    two = Constant <value_int: int = 2> ()
    size = Constant <value_ints: ints = @input_size> ()
    shape = Shape (heatmaps)
    images_and_maps = Shape <end: int = 2> (heatmaps)
    flat_shape = Concat <axis: int = 0> (images_and_maps, last)
    float_heatmaps = Cast <to: int = 1> (heatmaps)
    cells = Reshape (float_heatmaps, flat_shape)
    peak = ReduceMax <keepdims: int = 1> (cells, last)
    confidence = Squeeze (peak, last)
    below_peak = Sub (cells, peak)
    divisor = Constant <value_float: float = @temperature> ()
    logits = Div (below_peak, divisor)
    flat_weights = Softmax <axis: int = -1> (logits)
    weights = Reshape (flat_weights, shape)
    {x}
    {y}
    landmarks = Concat <axis: int = -1> (x_mean, y_mean)
    variance = Add (x_variance, y_variance)
    least = Constant <value_float: float = 1e-12> ()
    kept = Max (variance, least)
    spread = Sqrt (kept)
}}
"""

# Cell centres in pixels, ((2 c + 1) pixels - cells) / (2 cells), in whole numbers up to the
# division: FP32 rounds once.
_AXIS = """
    {name}_summed = Constant <value_ints: ints = [{summed}]> ()
    {name}_marginal = ReduceSum <keepdims: int = 0> (weights, {name}_summed)
    {name}_axis = Constant <value_int: int = {axis}> ()
    {name}_cells = Gather (shape, {name}_axis)
    {name}_size_index = Constant <value_int: int = {size_index}> ()
    {name}_pixels = Gather (size, {name}_size_index)
    {name}_index = Range (zero, {name}_cells, one)
    {name}_even = Mul ({name}_index, two)
    {name}_odd = Add ({name}_even, one)
    {name}_scaled = Mul ({name}_odd, {name}_pixels)
    {name}_numerator = Sub ({name}_scaled, {name}_cells)
    {name}_denominator = Mul ({name}_cells, two)
    {name}_float_numerator = Cast <to: int = 1> ({name}_numerator)
    {name}_float_denominator = Cast <to: int = 1> ({name}_denominator)
    {name}_px = Div ({name}_float_numerator, {name}_float_denominator)
    {name}_weighted = Mul ({name}_marginal, {name}_px)
    {name}_mean = ReduceSum <keepdims: int = 1> ({name}_weighted, last)
    {name}_offset = Sub ({name}_px, {name}_mean)
    {name}_once = Mul ({name}_marginal, {name}_offset)
    {name}_twice = Mul ({name}_once, {name}_offset)
    {name}_variance = ReduceSum <keepdims: int = 0> ({name}_twice, last)
"""


def soft_argmax_twin(opset: int) -> onnx.FunctionProto:
    """``mahtrt.SoftArgmax2d`` in standard operators.

    Args:
        opset: Version of the standard operators of the model that it goes into.

    Raises:
        ModelError: The opset is older than 18.
    """
    if opset < _OLDEST_OPSET:
        raise ModelError(
            "soft-argmax twin", got=f"opset {opset}", expected=f"{_OLDEST_OPSET} or newer"
        )
    axes = {
        "x": _AXIS.format(name="x", summed=2, axis=3, size_index=1),
        "y": _AXIS.format(name="y", summed=3, axis=2, size_index=0),
    }
    names = ", ".join(PLUGIN_ATTRIBUTES)
    return parser.parse_function(
        _BODY.format(domain=DOMAIN, op_type=OP_TYPE, opset=opset, plugin_attributes=names, **axes)
    )


def with_twin(model: onnx.ModelProto) -> onnx.ModelProto:
    """A fused model that runs without the plugin.

    Args:
        model: What :func:`~mahtrt.targets.tensorrt.soft_argmax.fuse.fuse_soft_argmax` gave. It is
            left as it is.

    Returns:
        The model with the twin as a function of it.

    Raises:
        ModelError: Its opset is older than 18.
    """
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
    twin = soft_argmax_twin(opset)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    result.functions.append(twin)
    return result
