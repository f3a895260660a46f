from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from tiny_graphs import Builder, feeds, plan_of, ranges_of, smooth_images

from mahtrt.calibration.bias_correction import METADATA_KEY, apply_correction, measure_bias
from mahtrt.calibration.qdq import quantize
from mahtrt.errors import DataError, ModelError

Run = Callable[..., list[np.ndarray]]


def every_kind() -> onnx.ModelProto:
    """Each kind of product, side by side on one tensor that is clipped from above."""
    b = Builder()
    x = b.op("Relu", [b.conv("image", "stem", 3, 32)], "relu")
    rows = b.reshape(x, "rows", (32 * 32, 32))
    weight = b.weight("gemm.weight", (16, 32), 32)
    bias = b.constant("gemm.bias", b.rng.normal(size=16).astype(np.float32))
    outputs = {
        "conv": b.conv(x, "conv", 32, 16),
        "up": b.up(x, "up", 32, 16),  # has no bias
        "gemm": b.op("Gemm", [rows, weight, bias], "gemm", transB=1, beta=0.5),
        "linear": b.linear(rows, "linear", 32, 16),
        "bare": b.op("MatMul", [rows, b.weight("bare.weight", (32, 16), 32)], "bare"),
    }
    return b.model(outputs)


PRODUCTS = ("conv", "up", "gemm", "linear", "bare")


@pytest.fixture(scope="module")
def pair() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    model = every_kind()
    ranges = ranges_of("relu_out", "rows_out", amax=0.6)
    return model, quantize(model, ranges, plan_of(*PRODUCTS), weight_bits=7)


def correct(
    model: onnx.ModelProto, int8: onnx.ModelProto, images: list[np.ndarray]
) -> onnx.ModelProto:
    return apply_correction(int8, measure_bias(model, int8, feeds(images), threads=1))


def mean_errors(
    run: Run, model: onnx.ModelProto, other: onnx.ModelProto, images: list[np.ndarray]
) -> dict[str, float]:
    """Largest error of a channel's mean, by output."""
    names = [o.name for o in model.graph.output]
    totals: dict[str, Any] = {}
    for image in images:
        for name, a, b in zip(
            names, run(model, image=image[None]), run(other, image=image[None]), strict=True
        ):
            axes = (0, 2, 3) if a.ndim == 4 else (0,)
            totals[name] = totals.get(name, 0) + (a - b).mean(axis=axes)
    return {name: float(np.abs(v).max()) / len(images) for name, v in totals.items()}


def test_the_mean_of_each_channel_is_restored(
    pair: tuple[onnx.ModelProto, onnx.ModelProto], run_ort: Run
) -> None:
    model, int8 = pair
    images = smooth_images(4)
    corrected = correct(model, int8, images)
    onnx.checker.check_model(corrected, full_check=True)
    before = mean_errors(run_ort, model, int8, images)
    after = mean_errors(run_ort, model, corrected, images)
    for name in ("conv", "up", "gemm", "linear"):
        assert before[name] > 0.01
        assert after[name] < 1e-4, name
    assert after["bare"] == before["bare"]  # there is no bias to change for nothing


def test_the_gain_carries_over_to_other_images(
    pair: tuple[onnx.ModelProto, onnx.ModelProto], run_ort: Run
) -> None:
    model, int8 = pair
    corrected = correct(model, int8, smooth_images(12))
    others = smooth_images(12, seed=5)
    before = mean_errors(run_ort, model, int8, others)
    after = mean_errors(run_ort, model, corrected, others)
    for name in ("conv", "up", "gemm", "linear"):
        assert after[name] < 0.7 * before[name], name


def test_what_is_measured_is_the_mean_difference(
    pair: tuple[onnx.ModelProto, onnx.ModelProto], run_ort: Run
) -> None:
    model, int8 = pair
    images = smooth_images(3)
    told: list[tuple[int, int]] = []
    measured = measure_bias(
        model,
        int8,
        feeds(images),
        threads=1,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert measured.images == 3
    assert set(measured.means) == {f"{name}_out" for name in PRODUCTS}
    direct = mean_errors(run_ort, model, int8, images)
    assert float(np.abs(measured.means["bare_out"]).max()) == pytest.approx(
        direct["bare"], rel=1e-3
    )


def test_only_biases_change_and_the_file_says_so(
    pair: tuple[onnx.ModelProto, onnx.ModelProto],
) -> None:
    model, int8 = pair
    corrected = correct(model, int8, smooth_images(2))
    before = {t.name: t for t in int8.graph.initializer}
    after = {t.name: t for t in corrected.graph.initializer}
    assert set(before) - set(after) == {"conv.bias", "gemm.bias", "linear.bias"}
    assert all(after[name] == before[name] for name in set(before) & set(after))
    assert [n.op_type for n in corrected.graph.node] == [n.op_type for n in int8.graph.node]
    entry = next(p.value for p in corrected.metadata_props if p.key == METADATA_KEY)
    assert json.loads(entry) == {"images": 2, "products": 4}
    again = correct(model, int8, smooth_images(2))
    assert again.SerializeToString(deterministic=True) == corrected.SerializeToString(
        deterministic=True
    )


def test_a_bias_shared_with_a_float_node_keeps_its_value_there() -> None:
    b = Builder()
    x = b.op("Relu", [b.conv("image", "stem", 3, 32)], "relu")
    y = b.conv(x, "planned", 32, 32)
    b.nodes.append(
        onnx.helper.make_node(
            "Conv", [x, "planned.weight", "planned.bias"], ["float_out"], name="float",
            pads=[1] * 4,
        )
    )  # fmt: skip
    model = b.model({"y": y, "z": "float_out"})
    int8 = quantize(model, ranges_of("relu_out", amax=0.6), plan_of("planned"))
    corrected = correct(model, int8, smooth_images(2))
    nodes = {n.name: n for n in corrected.graph.node}
    assert nodes["float"].input[2] == "planned.bias"
    assert nodes["planned"].input[2] == "planned.bias_corrected"


def test_half_precision_biases_stay_half_precision(run_ort: Run) -> None:
    b = Builder()
    x = b.op("Relu", [b.conv("image", "stem", 3, 32)], "relu")
    x = b.op("Cast", [b.reshape(x, "rows", (1024, 32))], "half", to=TensorProto.FLOAT16)
    x = b.op("MatMul", [x, b.constant("w", b.rng.normal(0, 0.2, (32, 16)).astype(np.float16))], "p")
    x = b.op("Add", [x, b.constant("bias", np.zeros(16, np.float16))], "add")
    model = b.model({"y": b.op("Cast", [x], "single", to=TensorProto.FLOAT)})
    int8 = quantize(model, ranges_of("half_out", amax=0.6), plan_of("p"))
    images = smooth_images(3)
    corrected = correct(model, int8, images)
    onnx.checker.check_model(corrected, full_check=True)
    bias = next(t for t in corrected.graph.initializer if t.name == "bias_corrected")
    assert bias.data_type == TensorProto.FLOAT16
    assert numpy_helper.to_array(bias).any()
    before = mean_errors(run_ort, model, int8, images)["y"]
    assert mean_errors(run_ort, model, corrected, images)["y"] < 0.1 * before


def test_wrong_pairs_are_refused(pair: tuple[onnx.ModelProto, onnx.ModelProto]) -> None:
    model, int8 = pair
    with pytest.raises(DataError, match="got none"):
        measure_bias(model, int8, [])
    with pytest.raises(DataError, match=r"image 0: got image of shape \(3, 8, 8\)"):
        measure_bias(model, int8, feeds([np.zeros((3, 8, 8), np.float32)]))
    with pytest.raises(ModelError, match="got no INT8 product"):
        measure_bias(model, model, feeds(smooth_images(1)))
    b = Builder()
    with pytest.raises(ModelError, match="no tensor 'conv_out' in the original"):
        measure_bias(b.model({"y": b.conv("image", "else", 3, 8)}), int8, feeds(smooth_images(1)))
    assert apply_correction(int8, measure_bias(*pair, feeds(smooth_images(1)))) is not int8
