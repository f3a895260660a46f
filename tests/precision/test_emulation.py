from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from tiny_graphs import Builder, smooth_images

from mahtrt.precision.emulation import SPLIT, emulate_half, round_to_bf16
from mahtrt.precision.half import to_half
from mahtrt.precision.types import Half

Run = Callable[..., list[np.ndarray]]
BOTH = pytest.mark.parametrize("dtype", ["fp16", "bf16"])


def diagonal() -> onnx.ModelProto:
    """Products by diagonal matrices: every sum has one term, so rounding is all there is."""
    b = Builder()
    first, second = (
        b.constant(name, np.eye(32, dtype=np.float32) * np.float32(factor))
        for name, factor in (("w1", 1.0049), ("w2", 0.7071))
    )
    bias = b.constant("bias", np.linspace(-1, 1, 32, dtype=np.float32))
    x = b.op("Add", [b.op("MatMul", ["image", first], "first"), bias], "add")
    x = b.op("MatMul", [b.op("Relu", [x], "relu"), second], "second")
    return b.model({"y": b.op("Tanh", [b.op("Sub", [x, bias], "sub")], "tanh")})


@BOTH
def test_the_emulation_is_what_the_half_graph_means(
    dtype: Half, run_ort: Run, run_openvino: Run
) -> None:
    model = diagonal()
    image = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)
    (defined,) = ReferenceEvaluator(to_half(model, dtype)).run(None, {"image": image})
    assert isinstance(defined, np.ndarray)
    assert defined.dtype == np.float32
    exact = run_ort(model, image=image)[0]
    coarse = np.abs(exact - defined).max()
    assert coarse > (1e-4 if dtype == "fp16" else 1e-3)
    for run in (run_ort, run_openvino):
        emulated = run(emulate_half(model, dtype), image=image)[0]
        # An exact tie may go to the other neighbour; nothing else differs.
        assert np.mean(np.abs(emulated - defined) > 1e-6) < 0.01
        assert np.abs(emulated - defined).max() < coarse


@BOTH
def test_a_whole_network_in_half_stays_near(
    model: onnx.ModelProto, dtype: Half, run_ort: Run
) -> None:
    emulated = emulate_half(model, dtype)
    onnx.checker.check_model(emulated, full_check=True)
    assert emulated.SerializeToString() == emulate_half(model, dtype).SerializeToString()
    image = smooth_images(1, seed=3)[0][None]
    exact, value = run_ort(model, image=image), run_ort(emulated, image=image)
    error = np.abs(exact[0] - value[0]).mean()
    assert 0 < error < (0.001 if dtype == "fp16" else 0.01)
    assert np.abs(exact[1] - value[1]).max() < (0.1 if dtype == "fp16" else 0.5)
    assert not any("fp16" in n or "bf16" in n for n in emulated.graph.node[-1].input)


def test_rounding_everything_costs_about_what_rounding_products_costs(
    model: onnx.ModelProto, run_ort: Run
) -> None:
    image = smooth_images(1, seed=3)[0][None]
    exact = run_ort(model, image=image)[0]
    all_rounded = np.abs(run_ort(emulate_half(model, "bf16"), image=image)[0] - exact).mean()
    products = np.abs(run_ort(round_to_bf16(model), image=image)[0] - exact).mean()
    assert products / 3 < all_rounded < products * 6


def rounded(values: np.ndarray) -> np.ndarray:
    return values.astype(ml_dtypes.bfloat16).astype(np.float32)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.floats(-30, 30))
def test_the_split_rounds_to_the_same_values(seed: int, exponent: float) -> None:
    values = np.random.default_rng(seed).normal(0, 10.0**exponent, 200).astype(np.float32)
    scaled = values * np.float32(SPLIT["bf16"])
    split = scaled - (scaled - values)
    expected = rounded(values)
    tie = np.abs(values - expected) == np.abs(values - split)  # a tie may go either way
    assert (tie | (split == expected)).all()
    assert (rounded(split) == split).all()


def chain() -> tuple[onnx.ModelProto, np.float32]:
    """Two products by a multiple of the identity: the outputs show the rounding."""
    b = Builder()
    factor = np.float32(1.0049)
    weight = b.constant("w", np.eye(32, dtype=np.float32) * factor)
    x = b.op("MatMul", ["image", weight], "first")
    return b.model({"y": b.op("MatMul", [b.op("Relu", [x], "relu"), weight], "second")}), factor


@pytest.mark.parametrize("runtime", ["run_ort", "run_openvino"])
def test_runtimes_really_round(runtime: str, request: pytest.FixtureRequest) -> None:
    run: Run = request.getfixturevalue(runtime)
    model, factor = chain()
    image = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)
    weight = rounded(np.asarray(factor))
    first = np.maximum(rounded(image) * weight, 0)
    expected = rounded(first) * weight
    np.testing.assert_allclose(run(round_to_bf16(model), image=image)[0], expected, rtol=1e-6)
    plain = np.maximum(image * factor, 0) * factor
    assert np.abs(plain - expected).max() > 1e-3  # without rounding the test would fail


def test_products_are_rounded_and_the_soft_argmax_is_not(model: onnx.ModelProto) -> None:
    result = round_to_bf16(model)
    onnx.checker.check_model(result, full_check=True)
    nodes = {n.name: n for n in result.graph.node}
    for name in ("encoder.stem", "transformer.layers.0.attention.qk", "head.heatmaps"):
        assert all(i.endswith("_bf16") for i in nodes[name].input[:2]), name
    for name in ("soft_argmax.product", "soft_argmax.softmax", "head.sigmoid"):
        assert not any("bf16" in i for i in nodes[name].input), name
    values = {t.name: numpy_helper.to_array(t) for t in result.graph.initializer}
    weight = values["decoder.fusion.weight_bf16"]
    np.testing.assert_array_equal(weight, rounded(weight))
    assert "decoder.fusion.weight" not in values
    assert not np.array_equal(values["decoder.fusion.bias"], rounded(values["decoder.fusion.bias"]))


def test_bf16_moves_the_result_a_little(
    model: onnx.ModelProto, run_ort: Run, run_openvino: Run
) -> None:
    image = smooth_images(1, seed=3)[0][None]
    result = round_to_bf16(model)
    assert result.SerializeToString() == round_to_bf16(model).SerializeToString()
    exact, bf16 = run_ort(model, image=image)[0], run_ort(result, image=image)[0]
    assert 0 < np.abs(exact - bf16).mean() < 0.01
    assert np.abs(run_openvino(result, image=image)[0] - bf16).mean() < 0.002
