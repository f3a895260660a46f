"""Cutting the soft-argmax off a graph: what is left, and the record of what was there."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from soft_argmax_graph import IMAGE, MAPS, OUTPUTS, make_model

from mahtrt.errors import IntegrityError, ModelError
from mahtrt.targets.kernel_decode.cut import cut_soft_argmax
from mahtrt.targets.kernel_decode.record import kernel_decode_from_json


def run(model: onnx.ModelProto, image: NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, {"x": image}), strict=True))


@pytest.mark.parametrize("from_half", [False, True])
def test_what_is_left_gives_the_heatmaps_that_were_decoded(from_half: bool) -> None:
    model = make_model(from_half=from_half)
    before = model.SerializeToString()
    cut, record = cut_soft_argmax(model)
    assert model.SerializeToString() == before
    dtype = np.float16 if from_half else np.float32
    image = np.random.default_rng(0).normal(size=MAPS).astype(dtype)
    found = run(cut, image)
    assert list(found) == [record.heatmaps]
    assert found[record.heatmaps].dtype == dtype
    np.testing.assert_array_equal(found[record.heatmaps], 2 * image.astype(np.float32))
    assert (record.dtype, record.shape) == (np.dtype(dtype).name, MAPS)
    assert record.input_size == IMAGE
    assert record.temperature == pytest.approx(0.05)
    wanted = run(model, image)
    assert record.outputs == {name: wanted[name].shape for name in OUTPUTS}


def test_heatmaps_that_are_an_output_are_not_made_twice() -> None:
    model = make_model()
    model.graph.output.append(
        onnx.helper.make_tensor_value_info("heatmaps", onnx.TensorProto.FLOAT, MAPS)
    )
    cut, record = cut_soft_argmax(model)
    assert [each.name for each in cut.graph.output] == ["heatmaps"] == [record.heatmaps]


def test_landmarks_that_the_graph_reads_stay_in_it() -> None:
    model = make_model()
    model.graph.node.append(onnx.helper.make_node("Neg", ["landmarks"], ["negative"]))
    shape = (*MAPS[:2], 2)
    model.graph.output.append(
        onnx.helper.make_tensor_value_info("negative", onnx.TensorProto.FLOAT, shape)
    )
    with pytest.raises(ModelError, match=r"one soft-argmax.*--fuse-soft-argmax"):
        cut_soft_argmax(model)


def test_the_record_survives_its_file() -> None:
    _, record = cut_soft_argmax(make_model())
    assert kernel_decode_from_json(record.to_json(), "decode.json") == record


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("kernel-decode/1", "kernel-decode/2"),
        ('"temperature": 0.05', '"temperature": 0'),
        ('"float32"', '"int8"'),
        ('"heatmaps": "heatmaps",', ""),
        ('"kernel": "soft_argmax"', '"kernel": "dark"'),
        ('"sigma": null', '"sigma": 2.0'),
        ("{", "["),
    ],
)
def test_a_damaged_record_is_refused(old: str, new: str) -> None:
    _, record = cut_soft_argmax(make_model())
    text = record.to_json().replace("0.05000000074505806", "0.05")
    assert old in text
    damaged = text.replace(old, new) if new != "[" else "[]"
    with pytest.raises(IntegrityError):
        kernel_decode_from_json(damaged, "decode.json")
