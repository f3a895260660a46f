"""The graph that the export makes of a soft-argmax, by hand."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mahtrt.models.soft_argmax import SoftArgmax2d

MAPS = (2, 3, 12, 20)  # (B, K, h, w)
IMAGE = (48, 60)
OUTPUTS = ("landmarks", "confidence", "spread")


def make_model(
    *,
    temperature: float = 0.05,
    from_half: bool = False,
    minimum: float = 1e-12,
    shift_px: float = 0.0,
    outputs: tuple[str, ...] = OUTPUTS,
    negative_axes: bool = False,
    swapped: bool = False,
    image: tuple[int, int] = IMAGE,
    size: tuple[int, int, int, int] = MAPS,
) -> onnx.ModelProto:
    """The graph that the export makes of ``SoftArgmax2d``, after a product with two."""
    images, maps, rows, columns = size
    cells = [images, maps, rows * columns]

    def pair(first: str, second: str) -> list[str]:
        return [second, first] if swapped else [first, second]

    def moments(name: str) -> list[onnx.NodeProto]:
        return [
            helper.make_node(
                "ReduceSum", ["maps", f"{name}_axis"], [f"{name}_marginal"], keepdims=0
            ),
            helper.make_node("Mul", pair(f"{name}_marginal", f"{name}_px"), [f"{name}_weighted"]),
            helper.make_node(
                "ReduceSum", [f"{name}_weighted", "last"], [f"{name}_first"], keepdims=1
            ),
            helper.make_node("Sub", [f"{name}_px", f"{name}_first"], [f"{name}_offset"]),
            helper.make_node("Mul", pair(f"{name}_marginal", f"{name}_offset"), [f"{name}_once"]),
            helper.make_node("ReduceSum", [f"{name}_once", "last"], [f"{name}_rest"], keepdims=1),
            helper.make_node("Add", pair(f"{name}_first", f"{name}_rest"), [f"{name}_mean"]),
            helper.make_node("Mul", pair(f"{name}_once", f"{name}_offset"), [f"{name}_twice"]),
            helper.make_node("ReduceSum", [f"{name}_twice", "last"], [f"{name}_var"], keepdims=0),
        ]

    source = "heatmaps"
    nodes = [helper.make_node("Mul", ["x", "two"], ["heatmaps"], name="logits")]
    if from_half:
        nodes.append(helper.make_node("Cast", ["heatmaps"], ["float"], to=TensorProto.FLOAT))
        source = "float"
    nodes += [
        helper.make_node("Reshape", [source, "flat_shape"], ["flat"]),
        helper.make_node("ReduceMax", ["flat", "last"], ["confidence"], keepdims=0),
        helper.make_node("Div", ["flat", "temperature"], ["cold"]),
        helper.make_node("Softmax", ["cold"], ["weights"], axis=-1),
        helper.make_node("Reshape", ["weights", "shape"], ["maps"]),
        *moments("x"),
        *moments("y"),
        helper.make_node("Add", ["x_var", "y_var"], ["variance"]),
        helper.make_node("Clip", ["variance", "minimum"], ["kept"]),
        helper.make_node("Sqrt", ["kept"], ["spread"]),
        helper.make_node("Concat", ["x_mean", "y_mean"], ["offsets"], axis=-1),
        helper.make_node("Add", pair("offsets", "middle"), ["landmarks"]),
    ]
    kind = np.float16 if from_half else np.float32
    module = SoftArgmax2d(temperature, (rows, columns), image)
    constants = {
        "two": np.asarray(2, kind),
        "flat_shape": np.array(cells, np.int64),
        "shape": np.array(size, np.int64),
        "last": np.array([-1], np.int64),
        "x_axis": np.array([-2 if negative_axes else 2], np.int64),
        "y_axis": np.array([-1 if negative_axes else 3], np.int64),
        "x_px": module.x_px.numpy() + np.float32(shift_px),
        "y_px": module.y_px.numpy(),
        "middle": module.middle_px.numpy(),
        "temperature": np.float32(temperature),
        "minimum": np.float32(minimum),
    }
    element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    shapes = {"landmarks": (images, maps, 2), "maps": size}
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", element, size)],
        [
            helper.make_tensor_value_info(o, TensorProto.FLOAT, shapes.get(o, (images, maps)))
            for o in outputs
        ],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return onnx.shape_inference.infer_shapes(proto, strict_mode=True)
