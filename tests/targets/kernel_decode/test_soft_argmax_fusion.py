"""Fusing the soft-argmax of exported graphs into one node that means the same."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from onnx import TensorProto, helper
from soft_argmax_graph import IMAGE, MAPS, OUTPUTS, make_model

from mahtrt.errors import ModelError
from mahtrt.models.soft_argmax import SoftArgmax2d
from mahtrt.precision.half import to_half
from mahtrt.runtime.soft_argmax import soft_argmax
from mahtrt.targets.kernel_decode.fuse import DOMAIN, OP_TYPE, fuse_soft_argmax

Array = NDArray[np.float32]


def make_session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def run(session: onnxruntime.InferenceSession, image: NDArray[np.generic]) -> list[Array]:
    return [np.asarray(output) for output in session.run(list(OUTPUTS), {"x": image})]


def run_defined(
    model: onnx.ModelProto, fused: onnx.ModelProto, image: NDArray[np.generic]
) -> tuple[NDArray[np.float64], ...]:
    """What the fused node stands for, on the heatmaps that it reads."""
    node = next(node for node in fused.graph.node if node.op_type == OP_TYPE)
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.append(onnx.ValueInfoProto(name=node.input[0]))
    session = onnxruntime.InferenceSession(
        watched.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (heatmaps,) = session.run([node.input[0]], {"x": image})
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return soft_argmax(heatmaps, attributes["temperature"], attributes["input_size"])


def op_types(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("variant", [{}, {"negative_axes": True}, {"swapped": True}])
def test_soft_argmax_becomes_one_node(variant: dict[str, bool]) -> None:
    model = make_model(**variant)  # type: ignore[arg-type]
    before = model.SerializeToString()
    fused = fuse_soft_argmax(model)
    assert model.SerializeToString() == before
    assert op_types(fused) == ["Mul", OP_TYPE]
    node = fused.graph.node[1]
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    assert (node.domain, list(node.input), list(node.output)) == (DOMAIN, ["heatmaps"], [*OUTPUTS])
    assert attributes == {
        "temperature": pytest.approx(0.05),
        "input_size": list(IMAGE),
    }
    assert {o.domain: o.version for o in fused.opset_import} == {"": 20, DOMAIN: 1}
    assert [t.name for t in fused.graph.initializer] == ["two"]
    assert [o.SerializeToString() for o in fused.graph.output] == [
        o.SerializeToString() for o in model.graph.output
    ]


FLOATS = st.floats(-8, 8, width=32)


@pytest.mark.parametrize("temperature", [0.01, 0.05, 1.0, 100.0])
def test_the_node_means_what_the_graph_computed(temperature: float) -> None:
    """The graph divides before it subtracts the peak, which costs it digits where T is small."""
    model = make_model(temperature=temperature)
    fused, session = fuse_soft_argmax(model), make_session(model)

    @settings(max_examples=40)
    @given(heatmaps=hnp.arrays(np.float32, MAPS, elements=FLOATS, fill=FLOATS))
    def check(heatmaps: Array) -> None:
        for maps, atol in ((heatmaps, 0.02), (np.clip(heatmaps, 0, 0.5), 2e-3)):
            wanted = run(session, maps)
            for a, b in zip(run_defined(model, fused, maps), wanted, strict=True):
                np.testing.assert_allclose(a, b, atol=atol, rtol=1e-5)

    check()


def test_cast_from_half_precision_falls_away() -> None:
    model = make_model(from_half=True)
    fused = fuse_soft_argmax(model)
    assert op_types(fused) == ["Mul", OP_TYPE]
    heatmaps = np.random.default_rng(1).random(MAPS).astype(np.float16)
    wanted = run(make_session(model), heatmaps)
    for a, b in zip(run_defined(model, fused, heatmaps), wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3, rtol=1e-5)


def test_cast_that_is_an_output_as_well_stays() -> None:
    model = make_model(from_half=True)
    model.graph.output.append(helper.make_tensor_value_info("float", TensorProto.FLOAT, MAPS))
    fused = fuse_soft_argmax(model)
    assert sorted(op_types(fused)) == ["Cast", "Mul", OP_TYPE]
    assert next(n for n in fused.graph.node if n.op_type == OP_TYPE).input[0] == "heatmaps"


@pytest.mark.parametrize(
    "variant",
    [
        {"minimum": 1e-6},  # the kernel has its own
        {"shift_px": 0.25},  # no cell centres
        {"temperature": -1.0},
        {"outputs": (*OUTPUTS, "maps")},  # something else reads the weights
    ],
    ids=str,
)
def test_what_the_kernel_would_not_give_stays(variant: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="without a soft-argmax"):
        fuse_soft_argmax(make_model(**variant))  # type: ignore[arg-type]


def test_other_softmaxes_are_left_alone() -> None:
    node = helper.make_node("Softmax", ["x"], ["y"])
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 5]) for n in "xy"]
    graph = helper.make_graph([node], "test", infos[:1], infos[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    with pytest.raises(ModelError, match=r"--fuse-soft-argmax"):
        fuse_soft_argmax(model)


def test_two_in_one_graph_get_names_of_their_own() -> None:
    model = make_model()
    second = onnx.compose.add_prefix(model, "b_", rename_inputs=False)
    model.graph.node.extend(n for n in second.graph.node)
    model.graph.initializer.extend(second.graph.initializer)
    model.graph.value_info.extend(second.graph.value_info)
    model.graph.output.extend(second.graph.output)
    fused = fuse_soft_argmax(model)
    assert sorted(op_types(fused)) == ["Mul", "Mul", OP_TYPE, OP_TYPE]
    assert len({node.name for node in fused.graph.node}) == 4


def traced_network() -> onnx.ModelProto:
    """A convolution and the real soft-argmax, through the export's tracing and passes."""
    import onnx_ir as ir

    from mahtrt.export.passes.pipeline import export_passes, run_passes

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3, stride=2, padding=1)
            self.soft_argmax = SoftArgmax2d(0.1, (16, 24), (32, 48))

        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return self.soft_argmax(torch.sigmoid(self.conv(image)))

    torch.manual_seed(0)
    exported = torch.onnx.export(
        Network().eval(),
        (torch.zeros(1, 3, 32, 48),),
        input_names=["x"],
        output_names=list(OUTPUTS),
        dynamo=True,
        opset_version=20,
        verbose=False,
    )
    assert exported is not None
    run_passes(exported.model, export_passes())
    return ir.to_proto(exported.model)


@pytest.mark.slow
def test_exported_module_fuses_in_every_precision() -> None:
    model = traced_network()
    image = np.random.default_rng(2).normal(size=(1, 3, 32, 48)).astype(np.float32)
    for graph in (model, to_half(model, "fp16")):
        fused = fuse_soft_argmax(graph)
        assert op_types(fused).count(OP_TYPE) == 1
        assert not {"Softmax", "ReduceSum", "ReduceMax", "Concat"} & {*op_types(fused)}
        wanted = run(make_session(graph), image)
        for a, b in zip(run_defined(graph, fused, image), wanted, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-5)
    assert op_types(fuse_soft_argmax(to_half(model, "bf16"))).count(OP_TYPE) == 1  # no CPU kernels
