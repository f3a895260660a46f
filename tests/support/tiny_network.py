"""A network whose landmarks are known by arithmetic, and bundles of it.

Three landmarks, one per colour: a 2x2 mean makes heatmaps of half the input's size, and a sharp
soft-argmax finds the brightest cell. A block of 2x2 network pixels at (2i, 2j) therefore has its
landmark at heatmap (i, j), network (2i + 0.5, 2j + 0.5): the block's centre.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mahtrt.bundle.bundle import write_bundle
from mahtrt.bundle.golden import GoldenVector, write_golden
from mahtrt.bundle.manifest import GraphRecord, Manifest
from mahtrt.data.preprocess_version import PREPROCESS_VERSION
from mahtrt.spec import DecodeSpec, InputSpec, ModelSpec, OutputSpec
from mahtrt.targets.table import find_target
from mahtrt.targets.target import EngineOptions

SIZE = (32, 48)  # network input, (height, width)
CELLS = (16, 24)  # heatmaps
TEMPERATURE = 0.02
TARGETS = ("openvino", "onnxruntime")

SPEC = ModelSpec(
    family="tiny",
    inputs=(InputSpec(size=SIZE, mean=(0.0,) * 3, std=(1.0,) * 3, interpolation="area"),),
    outputs=(
        OutputSpec("landmarks", "landmarks", "heatmap"),
        OutputSpec("confidence", "confidence"),
        OutputSpec("spread", "spread", "heatmap"),
        OutputSpec("heatmaps", "heatmaps"),
    ),
    landmarks=("red", "green", "blue"),
    decode=DecodeSpec("soft_argmax", TEMPERATURE, CELLS),
)


def make_model(batch: int = 1) -> onnx.ModelProto:
    """The network as ONNX."""
    h, w = CELLS
    constants = {
        "kernel": np.eye(3, dtype=np.float32)[:, :, None, None] * np.full((1, 1, 2, 2), 0.25, "f"),
        "temperature": np.float32(TEMPERATURE),
        "flat": np.array([batch, 3, h * w]),
        "maps": np.array([batch, 3, h, w]),
        "columns": np.arange(w, dtype=np.float32),
        "rows": np.arange(h, dtype=np.float32),
        "last": np.array([-1]),
        "over_rows": np.array([2]),
        "over_columns": np.array([3]),
        "both": np.array([2, 3]),
        "xs": np.arange(w, dtype=np.float32).reshape(1, 1, 1, w),
        "ys": np.arange(h, dtype=np.float32).reshape(1, 1, h, 1),
        "point": np.array([batch, 3, 1, 1]),
        "tiny": np.float32(1e-12),
    }
    node = helper.make_node
    nodes = [
        node("Conv", ["image", "kernel"], ["heatmaps"], strides=[2, 2]),
        node("Reshape", ["heatmaps", "flat"], ["flat_maps"]),
        node("Div", ["flat_maps", "temperature"], ["sharp"]),
        node("Softmax", ["sharp"], ["weights_flat"], axis=-1),
        node("Reshape", ["weights_flat", "maps"], ["weights"]),
        node("ReduceMax", ["weights_flat", "last"], ["confidence"], keepdims=0),
        node("Mul", ["weights", "xs"], ["weighted_x"]),
        node("Mul", ["weights", "ys"], ["weighted_y"]),
        node("ReduceSum", ["weighted_x", "both"], ["x"], keepdims=0),
        node("ReduceSum", ["weighted_y", "both"], ["y"], keepdims=0),
        node("Unsqueeze", ["x", "last"], ["x1"]),
        node("Unsqueeze", ["y", "last"], ["y1"]),
        node("Concat", ["x1", "y1"], ["landmarks"], axis=-1),
        node("Reshape", ["x", "point"], ["cx"]),
        node("Reshape", ["y", "point"], ["cy"]),
        node("Sub", ["xs", "cx"], ["dx"]),
        node("Sub", ["ys", "cy"], ["dy"]),
        node("Mul", ["dx", "dx"], ["dx2"]),
        node("Mul", ["dy", "dy"], ["dy2"]),
        node("Add", ["dx2", "dy2"], ["d2"]),
        node("Mul", ["weights", "d2"], ["weighted_d2"]),
        node("ReduceSum", ["weighted_d2", "both"], ["variance"], keepdims=0),
        node("Add", ["variance", "tiny"], ["variance_1"]),
        node("Sqrt", ["variance_1"], ["spread"]),
    ]
    f32 = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", f32, [batch, 3, *SIZE])],
        [
            helper.make_tensor_value_info("landmarks", f32, [batch, 3, 2]),
            helper.make_tensor_value_info("confidence", f32, [batch, 3]),
            helper.make_tensor_value_info("spread", f32, [batch, 3]),
            helper.make_tensor_value_info("heatmaps", f32, [batch, 3, h, w]),
        ],
        [
            numpy_helper.from_array(np.asarray(value), name)
            for name, value in constants.items()
            if name in {name for n in nodes for name in n.input}
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def save(model: onnx.ModelProto, folder: Path) -> Path:
    """The model as a file; its place."""
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


def make_int8_model(batch: int = 1) -> onnx.ModelProto:
    """The network with its convolution in INT8: Q/DQ on the image, DQ on an int8 kernel."""
    model = make_model(batch)
    graph, conv = model.graph, model.graph.node[0]
    kernel = next(tensor for tensor in graph.initializer if tensor.name == "kernel")
    values = numpy_helper.to_array(kernel)
    graph.initializer.remove(kernel)
    constants = {
        "kernel": np.round(values * 127 / 0.25).astype(np.int8),
        "kernel_scale": np.full(3, 0.25 / 127, np.float32),
        "kernel_zero": np.zeros(3, np.int8),
        "image_scale": np.float32(1 / 127),
        "image_zero": np.int8(0),
    }
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    )
    node = helper.make_node
    conv.input[:] = ["image_dq", "kernel_dq"]
    for at, new in enumerate(
        (
            node("QuantizeLinear", ["image", "image_scale", "image_zero"], ["image_q"]),
            node("DequantizeLinear", ["image_q", "image_scale", "image_zero"], ["image_dq"]),
            node(
                "DequantizeLinear", ["kernel", "kernel_scale", "kernel_zero"], ["kernel_dq"], axis=0
            ),
        )
    ):
        graph.node.insert(at, new)
    onnx.checker.check_model(model, full_check=True)
    return model


def make_image(seed: int, *, zoom: int = 1, margin: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """An image with one block per colour, and the landmarks (3, 2) in its pixels.

    Args:
        zoom: Image pixels per network pixel.
        margin: Rows the image is lower than the network's input, so that it is letterboxed.
    """
    rng = np.random.default_rng(seed)
    h, w = SIZE[0] - 2 * margin, SIZE[1]
    image = np.zeros((h * zoom, w * zoom, 3), np.uint8)
    points = []
    for colour in range(3):
        x, y = 2 * rng.integers(0, w // 2), 2 * rng.integers(0, h // 2)
        image[y * zoom : (y + 2) * zoom, x * zoom : (x + 2) * zoom, colour] = 255
        points.append(((x + 1) * zoom - 0.5, (y + 1) * zoom - 0.5))
    return image, np.array(points, np.float32)


def build_bundle(
    path: Path, *, batch: int = 1, spec: ModelSpec = SPEC, model: onnx.ModelProto | None = None
) -> Path:
    """A bundle with an FP32 engine per target that is installed and two golden vectors."""
    targets = [name for name in TARGETS if find_target(name).installed]
    with write_bundle(path) as writer:
        onnx_path = writer.place("model.onnx")
        onnx.save(model or make_model(batch), onnx_path)
        engines = []
        for target in targets:
            place = writer.root / "engines" / f"{target}-fp32"
            artifact = find_target(target).build(onnx_path, "fp32", place, EngineOptions(threads=1))
            engines.append(artifact.record(target, "fp32", writer.root))
        golden = [GoldenVector(f"golden-{i}", *make_image(i)) for i in range(2)]
        record = write_golden(writer, "arithmetic", golden)
        writer.place("ranges.json").write_text("{}\n")
        writer.finish(
            Manifest(
                spec=spec,
                precision="fp32",
                graphs=(GraphRecord("fp32", "model.onnx", "fp32", batch, 20),),
                engines=tuple(engines),
                default_engine=f"{targets[0]}-fp32",
                preprocess_version=PREPROCESS_VERSION,
                golden=record,
            )
        )
    return path
