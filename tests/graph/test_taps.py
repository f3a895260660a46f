from __future__ import annotations

from collections.abc import Callable
from math import gcd

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_graphs import Builder, smooth_images

from mahtrt.errors import ModelError
from mahtrt.graph.taps import SAMPLE_LIMIT, STATISTICS, sample_step, tap


@settings(deadline=None)
@given(st.integers(1, 10**9))
def test_steps_are_coprime_and_bound_the_sample(values: int) -> None:
    step = sample_step(values)
    assert gcd(step, values) == 1
    assert -(-values // step) <= SAMPLE_LIMIT
    assert step == 1 or step >= values / SAMPLE_LIMIT


def test_a_step_visits_every_column_and_channel() -> None:
    channels, height, width = 64, 128, 128
    places = np.arange(0, channels * height * width, sample_step(channels * height * width))
    assert len(np.unique(places % width)) == width
    assert len(np.unique(places // (height * width))) == channels


@pytest.mark.parametrize("size", [64, 256])
def test_what_leaves_the_graph_does_not_grow_with_the_tensors(size: int) -> None:
    b = Builder()
    x = b.op("Relu", [b.conv("image", "a", 3, 32)], "a_relu")
    model = b.model({"y": b.conv(x, "b", 32, 32)}, size=size)
    tapped, values = tap(model, ["a_out", "a_relu_out"])
    assert values == {"a_out": 32 * size**2, "a_relu_out": 32 * size**2}
    sizes = [o.type.tensor_type.shape.dim[0].dim_value for o in tapped.graph.output]
    assert all(n <= SAMPLE_LIMIT + STATISTICS for n in sizes)
    # The original outputs, and what only they need, are gone: nothing large is kept alive.
    assert [n.op_type for n in tapped.graph.node].count("Conv") == 1
    onnx.checker.check_model(tapped, full_check=True)


def test_taps_tell_the_exact_statistics(
    model: onnx.ModelProto, run_ort: Callable[..., list[np.ndarray]]
) -> None:
    tensor = "decoder.blocks.0.concat_out"
    full = onnx.ModelProto()
    full.CopyFrom(model)
    full.graph.output.append(onnx.helper.make_tensor_value_info(tensor, 1, None))
    image = smooth_images(1)[0][None]
    value = run_ort(full, image=image)[-1].ravel()
    (tapped,) = run_ort(tap(model, [tensor])[0], image=image)
    np.testing.assert_allclose(tapped[:2], [value.min(), value.max()])
    np.testing.assert_allclose(tapped[2], np.abs(value).sum(), rtol=1e-5)
    np.testing.assert_array_equal(tapped[3:], value[:: sample_step(value.size)])


def test_a_tensor_that_is_not_there_is_named(model: onnx.ModelProto) -> None:
    with pytest.raises(ModelError, match="tensor 'nowhere': got no tensor of this name"):
        tap(model, ["nowhere"])
    with pytest.raises(ModelError, match=r"not of floats|no tensor of this name"):
        tap(model, ["transformer.flatten.shape"])
