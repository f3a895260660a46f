"""Tensors on one side of zero are quantised less the middle of their range, where that is exact."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from tiny_graphs import Builder, feeds, plan_of, ranges_of, smooth_images

from mahtrt.calibration.bias_correction import apply_correction, measure_bias
from mahtrt.calibration.centring import Interval, interval_of
from mahtrt.calibration.qdq import METADATA_KEY, quantize
from mahtrt.calibration.ranges import Ranges, TensorRange
from mahtrt.graph.index import GraphIndex
from mahtrt.precision.half import to_half
from mahtrt.targets.graph_kinds import HalfType

Run = Callable[..., list[np.ndarray]]
LOW, HIGH = -0.28, 5.0


def on_one_side(*tensors: str) -> Ranges:
    """Ranges of tensors that a SiLU made."""
    both = ranges_of(*tensors, amax=HIGH)
    return replace(
        both, tensors={k: replace(v, minimum=LOW, maximum=HIGH) for k, v in both.tensors.items()}
    )


def silu_network(pads: int = 0) -> onnx.ModelProto:
    """A convolution, a matrix product and a Gemm that read what SiLUs make."""
    b = Builder()
    x = b.conv("image", "stem", 3, 32)
    x = b.op("Mul", [x, b.op("Sigmoid", [x], "sigmoid")], "silu")
    b.weight("conv.weight", (16, 32, 1, 1), 32)
    b.constant("conv.bias", b.rng.normal(size=16).astype(np.float32))
    conv = b.op("Conv", [x, "conv.weight", "conv.bias"], "conv", pads=[pads] * 4, auto_pad="NOTSET")
    rows = b.reshape(x, "rows", (32 * 32, 32))
    b.weight("gemm.weight", (16, 32), 32)
    b.constant("gemm.bias", b.rng.normal(size=16).astype(np.float32))
    gemm = b.op("Gemm", [rows, "gemm.weight", "gemm.bias"], "gemm", transB=1, beta=0.5)
    return b.model({"conv": conv, "gemm": gemm, "linear": b.linear(rows, "linear", 32, 16)})


def centred_tensors(model: onnx.ModelProto) -> set[str]:
    """What is read by the subtractions in front of quantisers."""
    maker = {node.output[0]: node for node in model.graph.node}
    quantizers = [n for n in model.graph.node if n.op_type == "QuantizeLinear"]
    before = [maker[n.input[0]] for n in quantizers if n.input[0] in maker]
    return {node.input[0] for node in before if node.op_type == "Sub"}


def values_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


PRODUCTS = ("conv", "gemm", "linear")
TENSORS = ("silu_out", "rows_out")


def test_the_interval_is_what_was_seen_within_the_magnitude_that_is_kept() -> None:
    seen = on_one_side("t").tensors["t"]
    found = interval_of(seen, "minmax", True)
    assert (found.centre, found.amax) == pytest.approx((2.36, 2.64))
    clipped = replace(seen, amax={**seen.amax, "mse": 3.0})
    found = interval_of(clipped, "mse", True)
    assert (found.centre, found.amax) == pytest.approx((1.36, 1.64))


def test_a_tensor_on_both_sides_stays_symmetric() -> None:
    seen = on_one_side("t").tensors["t"]
    for minimum in (-5.0, -2.6):
        found = interval_of(replace(seen, minimum=minimum), "minmax", True)
        assert found == Interval(0.0, HIGH)
    assert interval_of(replace(seen, minimum=-2.4), "minmax", True).centre > 0
    negative = replace(seen, minimum=-HIGH, maximum=0.28)
    assert interval_of(negative, "minmax", True).centre == pytest.approx(-2.36)
    assert interval_of(seen, "minmax", False) == Interval(0.0, HIGH)


def test_a_tensor_that_is_constant_or_zero_stays_symmetric() -> None:
    def seen(value: float) -> TensorRange:
        return TensorRange(value, value, {"minmax": abs(value)}, {}, 1, 1)

    assert interval_of(seen(0.0), "minmax", True) == Interval(0.0, 0.0)
    assert interval_of(seen(3.0), "minmax", True) == Interval(0.0, 3.0)


def test_a_method_that_keeps_less_than_the_smallest_value_stays_symmetric() -> None:
    seen = TensorRange(2.0, 3.0, {"mse": 1.5}, {}, 1, 1)
    assert interval_of(seen, "mse", True) == Interval(0.0, 1.5)


def test_what_was_learned_keeps_its_centre_where_that_can_be() -> None:
    seen = on_one_side("t").tensors["t"]
    learned = replace(seen, amax={**seen.amax, "learned": 2.5}, centre=1.5)
    assert interval_of(learned, "learned", True) == Interval(1.5, 2.5)
    assert interval_of(learned, "learned", False) == Interval(0.0, 4.0)
    assert interval_of(replace(learned, centre=0.0), "learned", True) == Interval(0.0, 2.5)
    before_centres = replace(learned, centre=None)
    assert interval_of(before_centres, "learned", True) == Interval(0.0, 2.5)
    assert interval_of(learned, "minmax", True).centre == pytest.approx(2.36)


@pytest.mark.parametrize(
    ("half", "element_type", "centred"),
    [("fp16", TensorProto.FLOAT16, True), ("bf16", TensorProto.BFLOAT16, False)],
)
def test_tensors_in_bf16_are_not_centred(half: HalfType, element_type: int, centred: bool) -> None:
    b = Builder()
    x = b.op("Relu", [b.conv("image", "stem", 3, 32)], "relu")
    b.weight("conv.weight", (32, 32, 1, 1), 32)
    b.constant("conv.bias", np.zeros(32, np.float32))
    y = b.op("Conv", [x, "conv.weight", "conv.bias"], "conv")
    for name in ("after", "last"):  # the last products of a chain stay FP32
        y = b.conv(b.op("Relu", [y], f"{name}.relu"), name, 32, 32)
    model = to_half(b.model({"y": y}), half)
    graph = GraphIndex(model)
    tensor = graph.nodes[graph.position_of["conv"]].input[0]
    assert graph.element_type(tensor) == element_type
    int8 = quantize(model, on_one_side(tensor), plan_of("conv"))
    onnx.checker.check_model(int8, full_check=True)
    assert (centred_tensors(int8) == {tensor}) is centred


def test_a_learned_centre_that_no_bias_can_take_up_is_left_out(run_ort: Run) -> None:
    b = Builder()
    x = b.op("Relu", [b.conv("image", "stem", 3, 32)], "relu")
    rows = b.reshape(x, "rows", (32 * 32, 32))
    product = b.op("MatMul", [rows, b.weight("free.weight", (32, 16), 32)], "free")
    model = b.model({"free": product})
    ranges = on_one_side("rows_out")
    seen = ranges.tensors["rows_out"]
    learned = replace(seen, amax={**seen.amax, "learned": 2.5}, centre=2.5)
    ranges = replace(ranges, tensors={"rows_out": learned})
    int8 = quantize(model, ranges, plan_of("free"), method="learned")
    assert not centred_tensors(int8)
    (image,) = smooth_images(1)
    got, wanted = (run_ort(m, image=image[None])[0] for m in (int8, model))
    assert np.abs(got - wanted).mean() < 0.02 * np.abs(wanted).max()


def test_biases_take_up_the_centre_so_that_only_rounding_is_left(run_ort: Run) -> None:
    model = silu_network()
    plan, ranges = plan_of(*PRODUCTS), on_one_side(*TENSORS)
    centred = quantize(model, ranges, plan)
    plain = quantize(model, ranges, plan, centred=False)
    onnx.checker.check_model(centred, full_check=True)
    assert centred_tensors(centred) == set(TENSORS)
    assert not centred_tensors(plain)
    (image,) = smooth_images(1)
    exact, near, far = (run_ort(m, image=image[None]) for m in (model, centred, plain))
    weights = values_of(plain)
    for name, wanted, ours, theirs in zip(PRODUCTS, exact, near, far, strict=True):
        codes, scale = weights[f"{name}.weight_int8"], weights[f"{name}.weight_scale"]
        assert codes.dtype == np.int8
        # What rounding of weights does is the same in both; activations are rounded finer.
        assert np.abs(ours - wanted).mean() < 0.85 * np.abs(theirs - wanted).mean(), name
        assert scale.shape == (16,)


def test_the_centred_product_is_the_product_of_the_rounded_tensors(run_ort: Run) -> None:
    model = silu_network()
    int8 = quantize(model, on_one_side(*TENSORS), plan_of("conv"))
    values = values_of(int8)
    scale, centre = float(values["silu_out_scale"]), float(values["silu_out_centre"])
    (image,) = smooth_images(1)
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    tapped.graph.output.append(onnx.helper.make_tensor_value_info("silu_out", 1, None))
    x = run_ort(tapped, image=image[None])[-1][0].reshape(32, -1)
    rounded = np.clip(np.rint((x - centre) / scale), -128, 127) * scale + centre
    weight = values["conv.weight_int8"][..., 0, 0] * values["conv.weight_scale"][:, None]
    wanted = weight @ rounded + values_of(model)["conv.bias"][:, None]
    got = run_ort(int8, image=image[None])[0][0].reshape(16, -1)
    np.testing.assert_allclose(got, wanted, atol=2e-5)


def test_a_reader_that_cannot_take_it_up_keeps_the_tensor_symmetric() -> None:
    padded = quantize(silu_network(pads=1), on_one_side(*TENSORS), plan_of(*PRODUCTS))
    assert centred_tensors(padded) == {"rows_out"}
    b = Builder()
    x = b.op("Relu", [b.conv("image", "stem", 3, 32)], "relu")
    b.weight("bare.weight", (16, 32, 1, 1), 32)
    bare = b.op("Conv", [x, "bare.weight"], "bare")
    rows = b.reshape(x, "rows", (32 * 32, 32))
    product = b.op("MatMul", [rows, b.weight("free.weight", (32, 16), 32)], "free")
    model = b.model({"bare": bare, "free": product})
    plan = plan_of("bare", "free")
    assert not centred_tensors(quantize(model, on_one_side("relu_out", "rows_out"), plan))


def test_a_concat_stays_what_the_quantiser_reads() -> None:
    b = Builder()
    x = b.op("Relu", [b.conv("image", "stem", 3, 16)], "relu")
    joined = b.op("Concat", [x, x], "concat", axis=1)
    b.weight("conv.weight", (16, 32, 1, 1), 32)
    b.constant("conv.bias", np.zeros(16, np.float32))
    model = b.model({"y": b.op("Conv", [joined, "conv.weight", "conv.bias"], "conv")})
    assert not centred_tensors(quantize(model, on_one_side("concat_out"), plan_of("conv")))


def test_bias_correction_measures_the_rounding_and_not_the_centre(run_ort: Run) -> None:
    model = silu_network()
    ranges = on_one_side(*TENSORS)
    clipped = {k: replace(v, amax=dict.fromkeys(v.amax, 0.6)) for k, v in ranges.tensors.items()}
    int8 = quantize(model, replace(ranges, tensors=clipped), plan_of(*PRODUCTS), weight_bits=7)
    assert centred_tensors(int8) == set(TENSORS)
    images = smooth_images(4)
    corrected = apply_correction(int8, measure_bias(model, int8, feeds(images), threads=1))
    errors: dict[str, list[np.ndarray]] = {"before": [], "after": []}
    for image in images:
        exact = run_ort(model, image=image[None])
        for name, graph in (("before", int8), ("after", corrected)):
            got = run_ort(graph, image=image[None])
            parts = zip(got, exact, strict=True)
            means = [(a - b).mean(axis=(0, 2, 3) if a.ndim == 4 else 0) for a, b in parts]
            errors[name].append(np.stack(means))
    before, after = (np.abs(np.mean(errors[k], axis=0)).max(axis=1) for k in ("before", "after"))
    assert (before > 0.01).all()
    assert (after < 1e-4).all()


def test_the_record_counts_what_is_centred() -> None:
    int8 = quantize(silu_network(), on_one_side(*TENSORS), plan_of(*PRODUCTS))
    record = json.loads(next(p.value for p in int8.metadata_props if p.key == METADATA_KEY))
    assert record["centred"] == 2


def test_ranges_say_a_centre_only_where_one_was_learned() -> None:
    ranges = on_one_side("a")
    assert "centre" not in ranges.to_json()
    learned = {"a": replace(ranges.tensors["a"], centre=0.0)}
    assert '"centre": 0.0' in replace(ranges, tensors=learned).to_json()
