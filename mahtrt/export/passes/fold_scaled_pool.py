"""A gray image that every channel scales, pools and hands to a linear layer: pooled twice instead.

The largest of ``w * x`` over a window is ``w`` times the largest ``x`` where ``w`` is positive, and
``-w`` times the largest ``-x`` where it is negative. So however many channels scale the image, they
hold no more than the maximum and the minimum of each window, and the linear layer behind them needs
a column for each of these two, not one for every channel. Of Pose-SPI's ``simple``, 65,536 x 512
weights become 2,048 x 512.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mahtrt.export.passes.graph_edit import (
    add_initializer,
    constant_array,
    conv_constants,
    only_consumer,
    replace_nodes,
)

_SIGNS = np.array([1.0, -1.0], np.float32).reshape(2, 1, 1, 1)


@dataclass(frozen=True, slots=True)
class _Chain:
    """The nodes of the pattern, in graph order, and the constants of its two products.

    Attributes:
        scales: (C,) of the convolution.
        weight: (N, C, h * w) of the linear layer.
    """

    conv: ir.Node
    pool: ir.Node
    flatten: ir.Node
    product: ir.Node
    scales: NDArray[np.float64]
    weight: NDArray[np.float64]

    @property
    def nodes(self) -> list[ir.Node]:
        return [self.conv, self.pool, self.flatten, self.product]


class FoldScaledPoolPass:
    """``Gemm(Flatten(MaxPool(Conv1x1(x))))`` of a one-channel ``x`` gets a weight per window.

    The convolution has one input channel, no bias and no stride; each value has one reader. Weights
    are added in float64.
    """

    def __call__(self, model: ir.Model) -> int:
        convs = [node for node in model.graph if node.op_type == "Conv"]
        return sum(_fold(conv, model.graph) for conv in convs)


def _fold(conv: ir.Node, graph: ir.Graph) -> bool:
    chain = _chain(conv)
    if chain is None:
        return False
    replace_nodes(chain.nodes, _folded_nodes(chain, graph), graph)
    return True


def _chain(conv: ir.Node) -> _Chain | None:
    scales = _scales(conv)
    nodes = [conv]
    for kinds in (("MaxPool",), ("Flatten", "Reshape"), ("Gemm", "MatMul")):
        following = only_consumer(nodes[-1].outputs[0])
        if following is None or following.op_type not in kinds:
            return None
        nodes.append(following)
    _, pool, flatten, product = nodes
    pooled, flat = _shape(pool.outputs[0]), _shape(flatten.outputs[0])
    weight = _weight(product)
    if scales is None or weight is None or pooled is None or flat is None:
        return None
    channels, cells = pooled[1], int(np.prod(pooled[2:]))
    if channels <= len(_SIGNS) or flat != (pooled[0], channels * cells):
        return None
    if len(pool.outputs) != 1 or weight.shape[1] != channels * cells:
        return None
    return _Chain(conv, pool, flatten, product, scales, weight.reshape(-1, channels, cells))


def _scales(conv: ir.Node) -> NDArray[np.float64] | None:
    """The factor of each channel (C,), None where the convolution does more than scale."""
    constants = conv_constants(conv)
    if constants is None or constants[1] is not None or constants[0].dtype != np.float32:
        return None
    strides, pads = conv.attributes.get_ints("strides", []), conv.attributes.get_ints("pads", [])
    if constants[0].shape[1:] != (1, 1, 1) or any(pads) or any(s != 1 for s in strides):
        return None
    if conv.attributes.get_int("group", 1) != 1:
        return None
    return np.asarray(constants[0], np.float64).reshape(-1)


def _weight(product: ir.Node) -> NDArray[np.float64] | None:
    """The weights of a linear layer (N, K), None where it is anything else."""
    weight = constant_array(product.inputs[1])
    if weight is None or weight.ndim != 2 or weight.dtype != np.float32:
        return None
    if product.op_type == "MatMul":
        return np.asarray(weight, np.float64).T
    attributes = product.attributes
    plain = attributes.get_float("alpha", 1.0) == attributes.get_float("beta", 1.0) == 1.0
    if not plain or attributes.get_int("transA", False):
        return None
    return np.asarray(weight if attributes.get_int("transB", False) else weight.T, np.float64)


def _folded_nodes(chain: _Chain, graph: ir.Graph) -> list[ir.Node]:
    scaled, pooled = _shape(chain.conv.outputs[0]), _shape(chain.pool.outputs[0])
    old_weight = chain.product.inputs[1]
    assert scaled is not None
    assert pooled is not None
    assert old_weight is not None
    batch, name = pooled[0], old_weight.name or "weight"
    signs = add_initializer(graph, f"{name}.signs", _SIGNS)
    conv = _like(chain.conv, [chain.conv.inputs[0], signs], (batch, 2, *scaled[2:]))
    pool = _like(chain.pool, [conv.outputs[0]], (batch, 2, *pooled[2:]))
    flatten = ir.Node(
        "",
        "Flatten",
        [pool.outputs[0]],
        [ir.AttrInt64("axis", 1)],
        name=chain.flatten.name,
        metadata_props=dict(chain.flatten.metadata_props),
    )
    _describe(flatten, (batch, 2 * int(np.prod(pooled[2:]))))
    weight = _folded_weight(chain).astype(np.float32)  # (N, 2 * cells)
    transposed = chain.product.attributes.get_int("transB", False)
    value = add_initializer(graph, f"{name}.folded", weight if transposed else weight.T)
    inputs = [flatten.outputs[0], value, *chain.product.inputs[2:]]
    return [conv, pool, flatten, _like(chain.product, inputs, None)]


def _folded_weight(chain: _Chain) -> NDArray[np.float64]:
    """(N, 2 * h * w): the columns of the maxima, then those of the negated minima."""
    parts = [np.clip(chain.scales * sign, 0, None) for sign in _SIGNS.ravel()]  # (C,) each
    columns = [np.einsum("nck,c->nk", chain.weight, part) for part in parts]
    return np.concatenate(columns, axis=1)


def _like(node: ir.Node, inputs: list[ir.Value | None], shape: tuple[int, ...] | None) -> ir.Node:
    """A node as another one, of other inputs."""
    made = ir.Node(
        "",
        node.op_type,
        inputs,
        node.attributes.values(),
        name=node.name,
        metadata_props=dict(node.metadata_props),
    )
    if shape is not None:
        _describe(made, shape)
    return made


def _describe(node: ir.Node, shape: tuple[int, ...]) -> None:
    node.outputs[0].dtype = ir.DataType.FLOAT
    node.outputs[0].shape = ir.Shape(shape)


def _shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """The static shape of a value, None where it is not known."""
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return value.shape.numpy()
