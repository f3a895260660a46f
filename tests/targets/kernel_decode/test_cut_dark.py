"""DARK cut off a graph as mahtrt exports it, and run as a kernel behind the engine."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from decode_stage import DecodeStage

from mahtrt.errors import ModelError
from mahtrt.export.passes.pipeline import export_passes, run_passes
from mahtrt.models.dark import Dark2d
from mahtrt.precision.half import to_half
from mahtrt.runtime.dark import decode_dark
from mahtrt.spec import DECODING, DecodeSpec, InputSpec, ModelSpec, OutputSpec
from mahtrt.targets.kernel_decode.cut import cut_dark, cut_decoding
from mahtrt.targets.kernel_decode.record import kernel_decode_from_json

pytestmark = pytest.mark.slow

SIZE, SIGMA = (48, 64), 2.0
OUTPUTS = ("landmarks", "confidence", "spread", "heatmaps")
SPEC = ModelSpec(
    family="test",
    inputs=(InputSpec(SIZE, "x"),),
    outputs=(
        OutputSpec("landmarks", "landmarks", "network"),
        OutputSpec("confidence", "confidence"),
        OutputSpec("spread", "spread", "network"),
        OutputSpec("heatmaps", "heatmaps"),
    ),
    landmarks=("a", "b"),
    decode=DecodeSpec("dark", heatmap_size=SIZE, sigma=SIGMA),
)


class Network(torch.nn.Module):
    """A convolution, and DARK under the name that it has in every network."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 2, 5, padding=2)
        self.add_module(DECODING, Dark2d(SIGMA, SIZE, SIZE))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        heatmaps = self.conv(image)
        return (*getattr(self, DECODING)(heatmaps), heatmaps)


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    torch.manual_seed(0)
    exported = torch.onnx.export(
        Network().eval(),
        (torch.zeros(1, 3, *SIZE),),
        input_names=["x"],
        output_names=list(OUTPUTS),
        dynamo=True,
        opset_version=20,
        verbose=False,
    )
    assert exported is not None
    run_passes(exported.model, export_passes())
    return onnx.shape_inference.infer_shapes(ir.to_proto(exported.model))


@pytest.fixture
def stage(model: onnx.ModelProto) -> Iterator[DecodeStage]:
    made = DecodeStage(model, SPEC)
    yield made
    for backend in made.opened:
        backend.close()
    made.cuda.check()


def image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(1, 3, *SIZE)).astype(np.float32)


def test_the_kernel_gives_what_the_graph_gave(stage: DecodeStage) -> None:
    backend = stage.open()
    for seed in range(3):
        found, wanted = backend.infer({"x": image(seed)}), stage.whole(image(seed))
        assert list(found) == list(OUTPUTS)
        points, confidence, spread = decode_dark(wanted["heatmaps"], SIGMA, SIZE)
        np.testing.assert_allclose(found["landmarks"], points, atol=1e-3)
        np.testing.assert_allclose(found["landmarks"], wanted["landmarks"], atol=1e-2)
        np.testing.assert_array_equal(found["confidence"], confidence)
        np.testing.assert_allclose(found["spread"], spread, atol=1e-2)


def test_only_the_decoding_is_gone(model: onnx.ModelProto) -> None:
    before = model.SerializeToString()
    cut, record = cut_decoding(model, SPEC)
    assert model.SerializeToString() == before
    onnx.checker.check_model(cut, full_check=True)
    assert [node.op_type for node in cut.graph.node] == ["Conv"]
    assert [output.name for output in cut.graph.output] == ["heatmaps"] == [record.heatmaps]
    assert (record.kernel, record.sigma, record.temperature) == ("dark", SIGMA, None)
    assert (record.shape, record.input_size) == ((1, 2, *SIZE), SIZE)
    assert kernel_decode_from_json(record.to_json(), "decode.json") == record


def test_half_precision_is_read_before_its_cast(model: onnx.ModelProto) -> None:
    cut, record = cut_decoding(to_half(model, "fp16"), SPEC)
    assert record.dtype == "float16"
    kinds = {output.name: output.type.tensor_type.elem_type for output in cut.graph.output}
    assert kinds.pop(record.heatmaps) == onnx.TensorProto.FLOAT16
    assert kinds == {"heatmaps": onnx.TensorProto.FLOAT}  # the network's own output


def test_what_the_kernel_does_not_give_is_refused(model: onnx.ModelProto) -> None:
    frames = ModelSpec(
        **{
            **{name: getattr(SPEC, name) for name in ("family", "inputs", "landmarks", "decode")},
            "outputs": (OutputSpec("landmarks", "landmarks", "heatmap"), *SPEC.outputs[1:]),
        }
    )
    with pytest.raises(ModelError, match=r"landmarks \(heatmap\).*network pixels"):
        cut_dark(model, frames)
    read = onnx.ModelProto()
    read.CopyFrom(model)
    read.graph.node.append(onnx.helper.make_node("Neg", ["landmarks"], ["negative"]))
    with pytest.raises(ModelError, match="of which nothing but the landmarks comes"):
        cut_dark(read, SPEC)
    plain = onnx.ModelProto()
    plain.CopyFrom(cut_decoding(model, SPEC)[0])
    with pytest.raises(ModelError, match="decoding reads nothing"):
        cut_dark(plain, SPEC)
