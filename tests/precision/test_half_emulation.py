from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from tiny_graphs import Builder, smooth_images

from mahtrt.precision.bf16 import round_to_bf16
from mahtrt.precision.emulation import emulate_half
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
