"""What the network that TensorRT parsed computes in: its types bind the builder.

It can be read without a GPU, unlike an engine, which is opened only on the card it is for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mahtrt.targets.layers import EngineLayer, EngineLayers

# "[ONNX Layer: x]", of a layer of a network and in what the engine inspector tells.
NODE = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
_PRODUCTS = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY")
_PASSED_ON = ("SHUFFLE",)
_TYPES = {"FLOAT": "fp32", "HALF": "fp16", "BF16": "bf16"}


def product_types(network: Any) -> dict[str, str]:
    """Name of the ONNX node of every product, to the type that it computes in.

    A product is INT8 where both of its operands come from a DequantizeLinear of INT8.

    Args:
        network: A strongly typed ``INetworkDefinition``.
    """
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    made = {
        layer.get_output(index).name: layer
        for layer in layers
        for index in range(layer.num_outputs)
    }
    return {
        next(iter(NODE.findall(layer.metadata)), layer.name): _type_of(layer, made)
        for layer in layers
        if layer.type.name in _PRODUCTS
    }


def network_layers(products: Mapping[str, str]) -> EngineLayers:
    """The products of a network as layers.

    Args:
        products: What :func:`product_types` gave.
    """
    found = (
        EngineLayer(name, "network", precision, True, (name,), (precision,))
        for name, precision in products.items()
    )
    return EngineLayers(tuple(found), (), detailed=True)


def _type_of(layer: Any, made: Mapping[str, Any]) -> str:
    operands = [layer.get_input(index) for index in range(min(2, layer.num_inputs))]
    if len(operands) == 2 and all(_is_int8(operand, made) for operand in operands):
        return "int8"
    name = str(operands[0].dtype.name)
    return _TYPES.get(name, name.lower())


def _is_int8(tensor: Any, made: Mapping[str, Any]) -> bool:
    maker = made.get(tensor.name)
    while maker is not None and maker.type.name in _PASSED_ON:
        maker = made.get(maker.get_input(0).name)
    if maker is None or maker.type.name != "DEQUANTIZE":
        return False
    return str(maker.get_input(0).dtype.name) == "INT8"
