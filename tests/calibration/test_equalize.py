from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tiny_graphs import Builder, landmark_net, smooth_images, tiny_spec

from mahtrt.calibration.equalize import equalize, scalable_channels, smooth
from mahtrt.calibration.plan import Block, Plan, default_plan
from mahtrt.calibration.qdq import quantize, tensors_to_calibrate
from mahtrt.calibration.ranges import Ranges, collect_ranges
from mahtrt.errors import ModelError, UsageError

Run = Callable[..., list[np.ndarray]]
WIDTH = 32


def uneven(rng: np.random.Generator, channels: int, *, octaves: float = 4.0) -> np.ndarray:
    """Factors over many octaves, as the channels of trained transformers have."""
    return np.exp2(rng.uniform(-octaves, octaves, channels)).astype(np.float32)


def norm(b: Builder, x: str, scope: str, width: int = WIDTH) -> str:
    gamma = b.constant(f"{scope}.gamma", uneven(b.rng, width))
    beta = b.constant(f"{scope}.beta", b.rng.normal(size=width).astype(np.float32))
    return b.op("LayerNormalization", [x, gamma, beta], scope, axis=-1)


def tokens(b: Builder) -> str:
    return b.reshape("image", "rows", (1, 96, WIDTH))


def norm_net(*, residual: bool = False, roll: bool = False) -> onnx.ModelProto:
    """LayerNormalization before two products; the variants are what a transformer may have."""
    b = Builder()
    x = norm(b, tokens(b), "norm")
    if roll:  # the shift and the windows of a Swin layer
        ends = [b.constant(f"{n}", np.int64([v])) for n, v in (("0", 0), ("40", 40), ("96", 96))]
        axis = b.constant("tokens", np.int64([1]))
        tail = b.op("Slice", [x, ends[1], ends[2], axis], "tail")
        head = b.op("Slice", [x, ends[0], ends[1], axis], "head")
        x = b.op("Concat", [tail, head], "roll", axis=1)
        x = b.reshape(x, "windows", (4, 24, WIDTH))
        x = b.reshape(x, "flat", (96, WIDTH))
    first, second = b.linear(x, "first", WIDTH, 48), b.linear(x, "second", WIDTH, 48)
    out = {"y": first, "z": second}
    return b.model(out | ({"x": b.op("Relu", [x], "side")} if residual else {}))


def conv_net(between: str = "Relu") -> onnx.ModelProto:
    b = Builder()
    x = b.conv("image", "first", 3, WIDTH)
    for name in ("first.weight", "first.bias"):
        tensor = next(t for t in b.initializers if t.name == name)
        value = numpy_helper.to_array(tensor)
        factors = uneven(np.random.default_rng(1), WIDTH).reshape(-1, *[1] * (value.ndim - 1))
        tensor.CopyFrom(numpy_helper.from_array(value * factors, name))
    x = b.op(between, [x], "between")
    x = b.op("Relu", [b.conv(b.resize(x, "grow"), "second", WIDTH, WIDTH)], "relu2")
    return b.model({"y": b.up(x, "up", WIDTH, 4)})


def channel_amax(model: onnx.ModelProto, folder: Path, *tensors: str) -> Ranges:
    path = folder / "float.onnx"
    onnx.save(model, path)
    axes = scalable_channels(model, tensors)
    return collect_ranges(path, tensors, smooth_images(4), threads=1, channel_axes=axes)


def changed(before: onnx.ModelProto, after: onnx.ModelProto) -> set[str]:
    names = {t.name for t in before.graph.initializer}
    return names - {t.name for t in after.graph.initializer}


@pytest.mark.parametrize("roll", [False, True])
def test_smoothing_is_exact_and_balances_the_channels(
    tmp_path: Path, run_ort: Run, roll: bool
) -> None:
    model = norm_net(roll=roll)
    tensor = "flat_out" if roll else "norm_out"
    before = channel_amax(model, tmp_path, tensor)
    assert list(before.channel_amax) == [tensor]
    smoothed = smooth(model, before.channel_amax)
    onnx.checker.check_model(smoothed, full_check=True)
    assert changed(model, smoothed) == {
        "norm.gamma", "norm.beta", "first.weight", "second.weight"
    }  # fmt: skip
    for image in smooth_images(3, seed=9):
        for expected, got in zip(
            run_ort(model, image=image[None]), run_ort(smoothed, image=image[None]), strict=True
        ):
            np.testing.assert_array_equal(got, expected)  # to the last bit
    after = channel_amax(smoothed, tmp_path, tensor)
    spread = [np.ptp(np.log2(r.channel_amax[tensor])) for r in (before, after)]
    assert spread[1] < 0.65 * spread[0]


@pytest.mark.parametrize("between", ["Relu", "LeakyRelu", "Identity"])
def test_equalizing_convolutions_is_exact(tmp_path: Path, run_ort: Run, between: str) -> None:
    model = conv_net(between)
    tensors = ("grow_out", "relu2_out")
    before = channel_amax(model, tmp_path, *tensors)
    assert set(before.channel_amax) == set(tensors)
    equal = equalize(model, before.channel_amax)
    # The second convolution is the end of one link and the start of the next.
    assert changed(model, equal) == {
        "first.weight", "first.bias", "second.weight", "second.bias", "up.weight"
    }  # fmt: skip
    for image in smooth_images(3, seed=9):
        expected, got = (run_ort(m, image=image[None])[0] for m in (model, equal))
        np.testing.assert_array_equal(got, expected)
    after = channel_amax(equal, tmp_path, *tensors)
    spread = [np.ptp(np.log2(r.channel_amax["grow_out"])) for r in (before, after)]
    assert spread[1] < 0.65 * spread[0]


def test_int8_gains_where_channels_differ(tmp_path: Path, run_ort: Run) -> None:
    model, tensor = norm_net(), "norm_out"
    before = channel_amax(model, tmp_path, tensor)
    smoothed = smooth(model, before.channel_amax)
    after = channel_amax(smoothed, tmp_path, tensor)
    plan = Plan((Block("all", "int8", "", 1.0, ("first", "second")),))
    errors = []
    for graph, ranges in ((model, before), (smoothed, after)):
        int8 = quantize(graph, ranges, plan)
        image = smooth_images(1)[0][None]
        pairs = zip(run_ort(int8, image=image), run_ort(model, image=image), strict=True)
        errors.append(np.mean([((a - b) ** 2).mean() for a, b in pairs]))
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("between", ["Sigmoid", "Gelu", "Tanh"])
def test_what_is_not_homogeneous_is_left_alone(between: str) -> None:
    model = conv_net(between)
    assert scalable_channels(model, ["grow_out", "relu2_out"]) == {"relu2_out": 1}
    equal = equalize(model, {"grow_out": np.arange(1, 33), "relu2_out": np.ones(32)})
    assert "first.weight" not in changed(model, equal)


def test_another_reader_forbids_scaling() -> None:
    model = norm_net(residual=True)
    # Relu would carry the scale; the output it reaches does not.
    assert scalable_channels(model, ["norm_out"]) == {}
    same = smooth(model, {"norm_out": np.arange(1, 33)})
    assert not changed(model, same)
    assert list(same.graph.node) == list(model.graph.node)


def test_a_join_with_other_channels_forbids_scaling() -> None:
    b = Builder()
    x = norm(b, tokens(b), "norm")
    other = b.op("Sigmoid", [tokens_of(b)], "other")
    x = b.op("Concat", [x, other], "join", axis=1)
    model = b.model({"y": b.linear(x, "product", WIDTH, WIDTH)})
    assert scalable_channels(model, ["join_out"]) == {}


def tokens_of(b: Builder) -> str:
    return b.reshape("image", "rows_again", (1, 96, WIDTH))


def test_a_grouped_reader_forbids_scaling() -> None:
    b = Builder()
    x = b.op("Relu", [b.conv("image", "first", 3, WIDTH)], "relu")
    model = b.model({"y": b.conv(x, "depthwise", WIDTH, WIDTH, groups=WIDTH)})
    assert scalable_channels(model, ["relu_out"]) == {}


def test_links_without_maxima_stay(tmp_path: Path) -> None:
    model = conv_net()
    equal = equalize(model, {"relu2_out": np.exp2(np.arange(32) % 5)})
    assert changed(model, equal) == {"second.weight", "second.bias", "up.weight"}


def test_dead_channels_keep_their_scale(run_ort: Run) -> None:
    model = norm_net()
    largest = np.exp2(np.arange(32.0) % 7)
    largest[5] = 0.0
    smoothed = smooth(model, {"norm_out": largest})
    values = {t.name: numpy_helper.to_array(t) for t in smoothed.graph.initializer}
    original = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    ratio = values["norm.gamma_scaled"] / original["norm.gamma"]
    assert ratio[5] == 1.0
    np.testing.assert_array_equal(np.log2(ratio), np.rint(np.log2(ratio)))
    assert np.isfinite(run_ort(smoothed, image=smooth_images(1)[0][None])[0]).all()


def test_a_whole_network_keeps_its_landmarks_to_the_bit(tmp_path: Path, run_ort: Run) -> None:
    model = landmark_net()
    tensors = tensors_to_calibrate(model, default_plan(model, tiny_spec()))
    ranges = channel_amax(model, tmp_path, *tensors)
    assert ranges.channel_amax
    scaled = equalize(smooth(model, ranges.channel_amax), ranges.channel_amax)
    assert changed(model, scaled)
    assert default_plan(scaled, tiny_spec()) == default_plan(model, tiny_spec())
    image = smooth_images(1, seed=3)[0][None]
    for expected, got in zip(
        run_ort(model, image=image), run_ort(scaled, image=image), strict=True
    ):
        np.testing.assert_array_equal(got, expected)


def test_wrong_calls_are_refused(model: onnx.ModelProto, ranges: Ranges, plan: Plan) -> None:
    with pytest.raises(UsageError, match=r"alpha: got 1\.5"):
        smooth(model, {}, alpha=1.5)
    with pytest.raises(ModelError, match="QuantizeLinear"):
        equalize(quantize(model, ranges, plan), {})
