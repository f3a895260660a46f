"""BF16 numerics in an FP32 graph: what BF16 hardware would compute, on any CPU.

BF16 engines round the inputs of products to 8 significant bits and accumulate in FP32. The same
values come out of an FP32 engine if the weights are rounded beforehand and the activations on the
way. So the accuracy of BF16 can be judged where no BF16 instructions exist.

Activations are rounded by arithmetic, as Veltkamp splits a float: with ``c = 65537 x`` in FP32,
``c - (c - x)`` is ``x`` rounded to the nearest of 24 - 16 = 8 bits. A Cast to BFLOAT16 and back
would be plainer, but OpenVINO (2026.4.1) removes the pair and computes in full precision. The
split differs from a Cast only in which neighbour an exact tie goes to, and beyond 2^111.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from mahtrt.graph.flops import PRODUCTS
from mahtrt.graph.index import GraphIndex
from mahtrt.graph.rewrite import GraphRewriter
from mahtrt.graph.sites import is_thin, tail_positions

# 2^16 + 1: all but the 8 leading bits of a float32's 24 are split off.
SPLIT = 65537.0


def bf16_from_float32(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Finite values rounded to the nearest BF16, ties to even, stored as float32."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    bits = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (bits & np.uint32(0xFFFF0000)).view(np.float32)


def round_to_bf16(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model whose products see BF16 inputs and accumulate in FP32.

    Soft-argmax stays FP32: neither the nodes after the last product on the way to an output, nor
    matrix products with an inner or outer size below 16 (coordinate sums) are touched.

    Args:
        model: An FP32 model with static shapes.

    Raises:
        ModelError: The model is quantised.
    """
    graph = GraphIndex(model)
    write = GraphRewriter(graph)
    split = write.store("mahtrt_bf16_split", np.asarray(SPLIT, np.float32))
    tail = tail_positions(graph)
    rounded: dict[str, str] = {}
    for position, node in enumerate(graph.nodes):
        if node.op_type not in PRODUCTS or position in tail or is_thin(graph, position):
            continue
        for slot, name in enumerate(node.input[:2]):
            if graph.element_type(name) != TensorProto.FLOAT:
                continue
            if name not in rounded:
                rounded[name] = _rounded(write, position, name, split)
            write.replace_input(position, slot, rounded[name])
    return write.finish()


def _rounded(write: GraphRewriter, position: int, name: str, split: str) -> str:
    """The name of a tensor with the BF16 values of another."""
    if write.graph.is_constant(name):
        value = np.asarray(write.graph.constant(name), np.float32)
        return write.store(f"{name}_bf16", bf16_from_float32(value))
    scaled = write.insert(position, "Mul", [name, split], f"{name}_split")
    rest = write.insert(position, "Sub", [scaled, name], f"{name}_rest")
    return write.insert(position, "Sub", [scaled, rest], f"{name}_bf16")
