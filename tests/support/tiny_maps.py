"""A small network without landmarks: a map and two labels, of one image or of two together.

Both images go through the same convolution; the map is the sigmoid of a convolution of the
difference of their features (of the features themselves where there is one image), and the logits
are a linear layer of its means.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from mahtrt.bundle.bundle import write_bundle
from mahtrt.bundle.golden import GoldenVector, write_golden
from mahtrt.bundle.golden_outputs import golden_values
from mahtrt.bundle.manifest import GraphRecord, Manifest
from mahtrt.data.feed import prepare
from mahtrt.data.preprocess_version import PREPROCESS_VERSION
from mahtrt.spec import DecodeSpec, InputSpec, ModelSpec, OutputSpec
from mahtrt.targets.table import find_target
from mahtrt.targets.target import EngineOptions

SIZE = (32, 48)
WIDTH = 8
TARGETS = ("openvino", "onnxruntime")


def spec_of(*inputs: str, outputs: tuple[str, ...] = ("map", "logits")) -> ModelSpec:
    """The spec of the network with these inputs and kinds of outputs."""
    known = {
        "map": OutputSpec("change", "map"),
        "logits": OutputSpec("findings", "logits", labels=("mass", "edema")),
    }
    return ModelSpec(
        family="tiny-maps",
        inputs=tuple(
            InputSpec(SIZE, name, 1, "gray", (0.5,), (0.25,)) for name in inputs or ("image",)
        ),
        outputs=tuple(known[kind] for kind in outputs),
        decode=DecodeSpec("none"),
    )


def make_model(spec: ModelSpec, batch: int = 1, seed: int = 0) -> onnx.ModelProto:
    """The network as ONNX, with weights of a seed."""
    rng = np.random.default_rng(seed)
    constants = {
        "first": rng.normal(0, 0.3, (WIDTH, 1, 3, 3)),
        "second": rng.normal(0, 0.15, (WIDTH, WIDTH, 3, 3)),
        "last": rng.normal(0, 0.3, (1, WIDTH, 3, 3)),
        "table": rng.normal(0, 1.0, (WIDTH, 2)),
        "bias": rng.normal(0, 0.3, 2),
    }
    node, names = helper.make_node, [each.name for each in spec.inputs]
    nodes = []
    for name in names:
        nodes += [
            node("Conv", [name, "first"], [f"{name}_1"], pads=[1] * 4, name=f"first_{name}"),
            node("Relu", [f"{name}_1"], [f"{name}_2"], name=f"relu_{name}"),
        ]
    joined = f"{names[0]}_2"
    if len(names) == 2:
        nodes.append(node("Sub", [f"{names[1]}_2", f"{names[0]}_2"], ["joined"], name="sub"))
        joined = "joined"
    nodes += [
        node("Conv", [joined, "second"], ["deep_1"], pads=[1] * 4, name="second_conv"),
        node("Relu", ["deep_1"], ["deep"], name="second_relu"),
        node("Conv", ["deep", "last"], ["raw"], pads=[1] * 4, name="last_conv"),
        node("Sigmoid", ["raw"], ["change"], name="sigmoid"),
        node("GlobalAveragePool", ["deep"], ["pooled"], name="pool"),
        node("Flatten", ["pooled"], ["flat"], name="flatten"),
        node("Gemm", ["flat", "table", "bias"], ["findings"], name="gemm"),
    ]
    shapes = {"change": [batch, 1, *SIZE], "findings": [batch, 2]}
    f32 = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "tiny-maps",
        [helper.make_tensor_value_info(name, f32, [batch, 1, *SIZE]) for name in names],
        [helper.make_tensor_value_info(o.name, f32, shapes[o.name]) for o in spec.outputs],
        [
            numpy_helper.from_array(np.asarray(value, np.float32), name)
            for name, value in constants.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def make_image(seed: int, size: tuple[int, int] = (40, 60)) -> np.ndarray:
    """A gray image with a few bright blocks."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 60, size).astype(np.uint8)
    for _ in range(4):
        row, column = rng.integers(0, size[0] - 8), rng.integers(0, size[1] - 8)
        image[row : row + 8, column : column + 8] = rng.integers(120, 255)
    return image


def run_model(spec: ModelSpec, *images: np.ndarray) -> dict[str, np.ndarray]:
    """The network's outputs for one case, without the batch axis."""
    feed, _ = prepare(images, spec)
    session = onnxruntime.InferenceSession(make_model(spec).SerializeToString())
    arrays = session.run(None, {name: tensor[None] for name, tensor in feed.items()})
    return {o.name: np.asarray(a)[0] for o, a in zip(spec.outputs, arrays, strict=True)}


def golden_vector(spec: ModelSpec, number: int) -> GoldenVector:
    """A case with what the network gives for it."""
    first, *others = (make_image(10 * number + i) for i in range(len(spec.inputs)))
    outputs = golden_values(run_model(spec, first, *others))
    nothing = np.empty((0, 2), np.float32)
    return GoldenVector(f"golden-{number}", first, nothing, None, tuple(others), outputs)


def build_bundle(
    path: Path,
    spec: ModelSpec | None = None,
    golden: int = 0,
    targets: tuple[str, ...] = TARGETS,
) -> Path:
    """A bundle with an FP32 engine per target, without verdicts.

    Args:
        golden: Number of golden vectors.
    """
    spec = spec or spec_of("image")
    with write_bundle(path) as writer:
        onnx_path = writer.place("model.onnx")
        onnx.save(make_model(spec), onnx_path)
        engines = []
        for target in targets:
            place = writer.root / "engines" / f"{target}-fp32"
            artifact = find_target(target).build(onnx_path, "fp32", place, EngineOptions(threads=1))
            engines.append(artifact.record(target, "fp32", writer.root))
        vectors = [golden_vector(spec, number) for number in range(golden)]
        writer.finish(
            Manifest(
                spec=spec,
                precision="fp32",
                graphs=(GraphRecord("fp32", "model.onnx", "fp32", 1, 20),),
                engines=tuple(engines),
                default_engine="onnxruntime-fp32",
                preprocess_version=PREPROCESS_VERSION,
                golden=write_golden(writer, "arithmetic", vectors) if vectors else None,
            )
        )
    return path
