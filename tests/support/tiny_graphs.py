"""Hand-built ONNX graphs, with every structure that the calibration rules speak about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mahtrt.bundle.plan import Block, Plan
from mahtrt.calibration.methods import METHODS
from mahtrt.calibration.ranges import Ranges, TensorRange
from mahtrt.graph.index import SCOPE_KEY
from mahtrt.spec import DecodeSpec, InputSpec, ModelSpec, OutputSpec, QuantizeSpec

SIZE = 32


class Builder:
    """Adds nodes one after another; each method returns the name of its output tensor."""

    def __init__(self, seed: int = 0, *, scopes: bool = True) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.rng = np.random.default_rng(seed)
        self.scopes = scopes

    def op(self, op: str, inputs: Sequence[str], scope: str, **attributes: Any) -> str:
        output = f"{scope}_out"
        assert all(output not in node.output for node in self.nodes)
        node = helper.make_node(op, inputs, [output], name=scope, **attributes)
        if self.scopes:
            node.metadata_props.add(key=SCOPE_KEY, value=scope)
        self.nodes.append(node)
        return output

    def constant(self, name: str, value: np.ndarray) -> str:
        self.initializers.append(numpy_helper.from_array(value, name))
        return name

    def weight(self, name: str, shape: Sequence[int], fan_in: int) -> str:
        value = self.rng.normal(0, (2.0 / fan_in) ** 0.5, shape).astype(np.float32)
        return self.constant(name, value)

    def conv(
        self,
        x: str,
        scope: str,
        inner: int,
        outer: int,
        kernel: int = 3,
        stride: int = 1,
        groups: int = 1,
    ) -> str:
        weight = self.weight(
            f"{scope}.weight", (outer, inner // groups, kernel, kernel), inner // groups * kernel**2
        )
        bias = self.constant(f"{scope}.bias", self.rng.normal(0, 0.1, outer).astype(np.float32))
        return self.op(
            "Conv",
            [x, weight, bias],
            scope,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[kernel // 2] * 4,
            group=groups,
        )

    def up(self, x: str, scope: str, inner: int, outer: int) -> str:
        weight = self.weight(f"{scope}.weight", (inner, outer, 2, 2), inner)
        return self.op("ConvTranspose", [x, weight], scope, kernel_shape=[2, 2], strides=[2, 2])

    def resize(self, x: str, scope: str, factor: float = 2.0) -> str:
        scales = self.constant(f"{scope}.scales", np.array([1, 1, factor, factor], np.float32))
        return self.op("Resize", [x, "", scales], scope, mode="linear")

    def linear(self, x: str, scope: str, inner: int, outer: int) -> str:
        weight = self.weight(f"{scope}.weight", (inner, outer), inner)
        bias = self.constant(f"{scope}.bias", self.rng.normal(0, 0.1, outer).astype(np.float32))
        return self.op("Add", [self.op("MatMul", [x, weight], scope), bias], f"{scope}.add")

    def reshape(self, x: str, scope: str, shape: Sequence[int]) -> str:
        return self.op(
            "Reshape", [x, self.constant(f"{scope}.shape", np.array(shape, np.int64))], scope
        )

    def model(
        self, outputs: dict[str, str], *, size: int = SIZE, batch: int = 1
    ) -> onnx.ModelProto:
        """The model; ``outputs`` renames tensors to graph outputs."""
        nodes = [*self.nodes]
        for name, tensor in outputs.items():
            nodes.append(helper.make_node("Identity", [tensor], [name], name=f"output_{name}"))
        graph = helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, size, size])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            self.initializers,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        helper.set_model_props(model, {"mahtrt.spec": "{}"})
        model = onnx.shape_inference.infer_shapes(model)
        onnx.checker.check_model(model, full_check=True)
        return model


def squeeze_excite(b: Builder, x: str, scope: str, channels: int) -> str:
    pooled = b.op("GlobalAveragePool", [x], f"{scope}.pool")
    narrow = b.op("Relu", [b.conv(pooled, f"{scope}.reduce", channels, 32, 1)], f"{scope}.relu")
    wide = b.conv(narrow, f"{scope}.expand", 32, channels, 1)
    return b.op("Mul", [x, b.op("Sigmoid", [wide], f"{scope}.sigmoid")], f"{scope}.mul")


def transformer(b: Builder, x: str, tokens: int, width: int) -> str:
    """(1, width, h, w) -> the same, through one attention layer with an MLP."""
    side = int(tokens**0.5)
    flat = b.reshape(x, "transformer.flatten", (1, width, tokens))
    t = b.op("Transpose", [flat], "transformer.tokens", perm=[0, 2, 1])
    rows = b.reshape(t, "transformer.rows", (tokens, width))
    weight = b.weight("transformer.input.weight", (width, width), width)
    t = b.op("Gemm", [rows, weight], "transformer.input", transB=1)
    t = b.reshape(t, "transformer.batch", (1, tokens, width))
    layer = "transformer.layers.0"
    q, k, v = (b.linear(t, f"{layer}.attention.{n}", width, width) for n in "qkv")
    k = b.op("Transpose", [k], f"{layer}.attention.kt", perm=[0, 2, 1])
    scores = b.op("Softmax", [b.op("MatMul", [q, k], f"{layer}.attention.qk")], f"{layer}.softmax")
    mixed = b.op("MatMul", [scores, v], f"{layer}.attention.mix")
    t = b.op("Add", [t, b.linear(mixed, f"{layer}.attention.out", width, width)], f"{layer}.add")
    wide = b.op("Relu", [b.linear(t, f"{layer}.mlp.up", width, 2 * width)], f"{layer}.act")
    t = b.op("Add", [t, b.linear(wide, f"{layer}.mlp.down", 2 * width, width)], f"{layer}.add2")
    back = b.op("Transpose", [t], "transformer.back", perm=[0, 2, 1])
    return b.reshape(back, "transformer.map", (1, width, side, side))


def gate(b: Builder, gating: str, skip: str, scope: str, channels: int) -> str:
    both = [
        b.conv(x, f"{scope}.{n}", channels, 32, 1) for x, n in ((gating, "gate"), (skip, "skip"))
    ]
    mixed = b.op("Relu", [b.op("Add", both, f"{scope}.add")], f"{scope}.relu")
    psi = b.op("Sigmoid", [b.conv(mixed, f"{scope}.psi", 32, 1, 1)], f"{scope}.sigmoid")
    return b.op("Mul", [skip, psi], f"{scope}.mul")


def residual_block(b: Builder, x: str, scope: str, inner: int, outer: int) -> str:
    y = b.op("Relu", [b.conv(x, f"{scope}.conv1", inner, outer)], f"{scope}.relu1")
    y = b.conv(y, f"{scope}.conv2", outer, outer)
    shortcut = b.conv(x, f"{scope}.shortcut", inner, outer, 1)
    return b.op("Relu", [b.op("Add", [y, shortcut], f"{scope}.add")], f"{scope}.relu2")


def soft_argmax(b: Builder, heatmaps: str, points: int, cells: int) -> str:
    """Coordinates as a matrix product, the way foreign networks write them."""
    flat = b.reshape(heatmaps, "soft_argmax.flatten", (1, points, cells))
    weights = b.op("Softmax", [flat], "soft_argmax.softmax")
    side = int(cells**0.5)
    rows, columns = np.mgrid[:side, :side].reshape(2, -1).astype(np.float32)
    grid = b.constant("soft_argmax.grid", np.stack([columns, rows], axis=1))
    return b.op("MatMul", [weights, grid], "soft_argmax.product")


def landmark_net(*, scopes: bool = True, seed: int = 0) -> onnx.ModelProto:
    """A MAHT-Net in miniature: 32x32 image, four heatmaps of 32x32."""
    b = Builder(seed, scopes=scopes)
    x = b.op("Relu", [b.conv("image", "encoder.stem", 3, 32, 3)], "encoder.stem_relu")
    x = squeeze_excite(b, x, "encoder.blocks.0.se", 32)
    x = b.conv(x, "encoder.blocks.0.depthwise", 32, 32, 3, groups=32)
    fine = b.op("Relu", [b.conv(x, "encoder.blocks.0.point", 32, 32, 1)], "encoder.blocks.0.relu")
    skip = b.conv(fine, "encoder.blocks.1.down", 32, 64, 3, stride=2)
    skip = b.op("Relu", [skip], "encoder.blocks.1.relu")
    deep = b.conv(skip, "encoder.blocks.2.down", 64, 64, 3, stride=2)
    deep = b.op("Relu", [deep], "encoder.blocks.2.relu")
    deep = transformer(b, deep, (SIZE // 4) ** 2, 64)
    up = b.up(deep, "decoder.blocks.0.up", 64, 64)
    gated = gate(b, up, skip, "decoder.gates.0", 64)
    x = b.op("Concat", [up, gated], "decoder.blocks.0.concat", axis=1)
    x = residual_block(b, x, "decoder.blocks.0", 128, 64)
    x = b.resize(x, "decoder.blocks.1.resize")
    fusion = b.op("Relu", [b.conv(fine, "decoder.fusion", 32, 32)], "decoder.fusion_relu")
    x = b.op("Concat", [x, fusion], "decoder.blocks.1.concat", axis=1)
    x = residual_block(b, x, "decoder.blocks.1", 96, 32)
    x = b.op("Relu", [b.conv(x, "head.refine", 32, 32)], "head.relu")
    maps = b.op("Sigmoid", [b.conv(x, "head.heatmaps", 32, 4, 1)], "head.sigmoid")
    return b.model({"heatmaps": maps, "landmarks": soft_argmax(b, maps, 4, SIZE**2)})


def tiny_spec(*, exclude: Sequence[str] = ()) -> ModelSpec:
    return ModelSpec(
        family="tiny",
        inputs=(InputSpec(size=(SIZE, SIZE)),),
        outputs=(
            OutputSpec("heatmaps", "heatmaps"),
            OutputSpec("landmarks", "landmarks", "heatmap"),
        ),
        landmarks=("a", "b", "c", "d"),
        decode=DecodeSpec(heatmap_size=(SIZE, SIZE)),
        quantize=QuantizeSpec(exclude=tuple(exclude)),
    )


def plan_of(*nodes: str, residuals: bool = False) -> Plan:
    """Some products in INT8."""
    return Plan((Block("all", "int8", "", 1.0, nodes),), quantize_residuals=residuals)


def ranges_of(*tensors: str, amax: float = 4.0) -> Ranges:
    """The same range for some tensors, by every method."""
    methods: dict[str, float] = dict.fromkeys(METHODS, amax)
    one = TensorRange(-amax, amax, methods, dict.fromkeys(methods, 0.0), 1, 1)
    return Ranges(dict.fromkeys(tensors, one), 1, "", 1)


def feeds(images: Iterable[np.ndarray], name: str = "image") -> list[dict[str, np.ndarray]]:
    """Images as cases of a network of one input."""
    return [{name: image} for image in images]


def smooth_images(count: int, *, seed: int = 0, size: int = SIZE) -> list[np.ndarray]:
    """Images (3, size, size) of a few random waves: smooth, as photographs are."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    images = []
    for _ in range(count):
        waves = [
            np.sin(2 * np.pi * (f * x + g * y) + p)
            for f, g, p in rng.uniform([-3, -3, 0], [3, 3, 6], (4, 3))
        ]
        images.append(np.stack([sum(waves)] * 3).astype(np.float32) * rng.uniform(0.2, 0.6))
    return images


def strict_types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of every tensor, as inference finds them without looking at what is declared."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(bare, strict_mode=True).graph
    infos = (*inferred.input, *inferred.value_info, *inferred.output)
    return {info.name: info.type.tensor_type.elem_type for info in infos}
