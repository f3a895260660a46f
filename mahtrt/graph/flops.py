"""Arithmetic of the products in a graph, from its static shapes."""

from __future__ import annotations

from math import prod

import onnx

from mahtrt.graph.index import GraphIndex, attribute

PRODUCTS = ("Conv", "ConvTranspose", "MatMul", "Gemm")


def flops_by_node(graph: GraphIndex) -> dict[int, int]:
    """Floating-point operations of each convolution and matrix product.

    A multiply and an add count as two. Element-wise work is not counted: it is a percent or so,
    and is limited by memory rather than by arithmetic.

    Args:
        graph: The graph; a node whose shapes are unknown counts as 0.

    Returns:
        Position of the node -> operations for the graph's whole batch.
    """
    return {
        position: _flops(graph, node)
        for position, node in enumerate(graph.nodes)
        if node.op_type in PRODUCTS
    }


def _flops(graph: GraphIndex, node: onnx.NodeProto) -> int:
    data, weight = graph.shape(node.input[0]), graph.shape(node.input[1])
    result = graph.shape(node.output[0])
    if data is None or weight is None or result is None:
        return 0
    if node.op_type == "Conv":  # weight (M, C/groups, *kernel)
        return 2 * prod(result) * prod(weight[1:])
    if node.op_type == "ConvTranspose":  # weight (C, M/groups, *kernel)
        return 2 * prod(data) * prod(weight[1:])
    transposed = node.op_type == "Gemm" and bool(attribute(node, "transA", 0))
    return 2 * prod(result) * (data[0] if transposed else data[-1])
