from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from heatmap_cases import SIGMA, SIZE, dark_graph, dark_network, gaussian, heatmap_cases

from mahtrt.calibration.plan import default_plan
from mahtrt.errors import ModelError
from mahtrt.graph.index import GraphIndex
from mahtrt.graph.sites import find_sites, tail_positions
from mahtrt.models.dark import Dark2d
from mahtrt.openvino_core import shared_core
from mahtrt.precision.emulation import round_to_bf16
from mahtrt.precision.half import to_half
from mahtrt.runtime.dark import decode_dark
from mahtrt.spec import DECODING, ModelSpec, is_decoding
from mahtrt.targets.openvino.decoding import keep_decoding_float32

TOLERANCE_PX = 1e-3
Outputs = Mapping[str, np.ndarray]
Run = Callable[..., list[np.ndarray]]


@pytest.fixture(scope="module")
def graph() -> tuple[onnx.ModelProto, ModelSpec]:
    return dark_graph()


def check(run: Callable[[np.ndarray], Outputs], every: int = 1) -> None:
    """The graph's landmarks are those of the definition, on the graph's own heatmaps."""
    for case in np.split(heatmap_cases(), len(heatmap_cases()) // 3)[::every]:
        outputs = run(case[None])
        points, confidence, spread = decode_dark(outputs["heatmaps"], SIGMA, SIZE)
        np.testing.assert_allclose(outputs["landmarks"], points, atol=TOLERANCE_PX, rtol=0)
        np.testing.assert_allclose(outputs["confidence"], confidence, rtol=1e-6)
        np.testing.assert_allclose(outputs["spread"], spread, atol=TOLERANCE_PX, rtol=0)


def test_the_module_is_its_definition() -> None:
    module = dark_network()
    check(lambda image: {n: t.detach().numpy() for n, t in module(torch.from_numpy(image)).items()})


@pytest.mark.parametrize("optimized", [False, True])
def test_the_graph_is_the_definition_in_onnx_runtime(
    graph: tuple[onnx.ModelProto, ModelSpec], optimized: bool
) -> None:
    options = ort.SessionOptions()
    if not optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(graph[0].SerializeToString(), options)
    names = [output.name for output in session.get_outputs()]
    check(lambda image: dict(zip(names, session.run(names, {"image": image}), strict=True)))


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_the_graph_is_the_definition_in_openvino_whatever_its_precision(
    graph: tuple[onnx.ModelProto, ModelSpec], precision: str
) -> None:
    model = shared_core().read_model(graph[0].SerializeToString())
    assert keep_decoding_float32(model) == 2
    compiled = shared_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision})
    kept = shared_core().import_model(
        compiled.export_model().getvalue(), "CPU", {"INFERENCE_PRECISION_HINT": precision}
    )
    names = [output.name for output in graph[1].outputs]
    for each in (compiled, kept):
        check(_requested(names, each.create_infer_request()))


def _requested(names: list[str], request: Any) -> Callable[[np.ndarray], Outputs]:
    def run(image: np.ndarray) -> Outputs:
        values = request.infer([image]).values()
        return {name: np.array(value) for name, value in zip(names, values, strict=True)}

    return run


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_decoding_is_fp32_in_a_half_graph(
    graph: tuple[onnx.ModelProto, ModelSpec], dtype: str, run_ort: Run, run_openvino: Run
) -> None:
    half = to_half(graph[0], dtype)  # type: ignore[arg-type]
    index = GraphIndex(half)
    for node in half.graph.node:
        if is_decoding(node.name):
            kinds = {index.element_type(name) for name in node.output}
            assert not kinds & {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}, node.name
    names = [output.name for output in half.graph.output]
    # ONNX Runtime has no BF16 products on a CPU; there the rounding is emulated.
    runs = [run_openvino, run_ort] if dtype == "fp16" else [run_openvino]
    for run in runs:
        check(_named(names, run, half), every=4)
    check(_named(names, run_ort, round_to_bf16(graph[0])), every=4)


def _named(names: list[str], run: Run, model: onnx.ModelProto) -> Callable[[np.ndarray], Outputs]:
    return lambda image: dict(zip(names, run(model, image=image), strict=True))


def test_decoding_is_no_site_and_the_head_is_found_behind_it(
    graph: tuple[onnx.ModelProto, ModelSpec],
) -> None:
    index = GraphIndex(graph[0])
    assert [(site.scope, site.is_head) for site in find_sites(index)] == [("head", True)]
    decoding = {p for p, node in enumerate(index.nodes) if is_decoding(node.name)}
    assert tail_positions(index) == decoding
    plan = default_plan(*graph)
    assert not any(DECODING in node for block in plan.blocks for node in block.nodes)


def test_batches_and_pixels() -> None:
    maps = torch.from_numpy(np.stack([gaussian(10, 20), gaussian(30.5, 11.2)])).float()
    maps = torch.stack([maps, maps.flip(0), maps])  # (3, 2, h, w)
    size = (4 * SIZE[0], 2 * SIZE[1])
    expected = decode_dark(maps.numpy(), SIGMA, size)
    for got, wanted in zip(Dark2d(SIGMA, SIZE, size)(maps), expected, strict=True):
        np.testing.assert_allclose(got, wanted, atol=TOLERANCE_PX)


def test_autocast_changes_nothing_and_no_gradient_passes() -> None:
    maps = torch.from_numpy(heatmap_cases()[None, :6]).requires_grad_()
    decode = Dark2d(SIGMA, SIZE, SIZE)
    plain = decode(maps)
    with torch.autocast("cpu", torch.bfloat16):
        lowered = decode(maps)
    for expected, got in zip(plain, lowered, strict=True):
        torch.testing.assert_close(got, expected, atol=0, rtol=0)
        assert not got.requires_grad


def test_a_map_without_an_inside_is_refused() -> None:
    with pytest.raises(ModelError, match="at least 3"):
        Dark2d(SIGMA, (2, 8), (8, 32))
