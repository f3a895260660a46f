"""config.pbtxt: Triton's own protocol buffer reads it, and every name, type and shape is right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_triton import ModelConfig, read_config
from google.protobuf import text_format

from mahtrt import files
from mahtrt.bundle.bundle import read_bundle, write_bundle
from mahtrt.errors import UsageError
from mahtrt.triton.config import ModelConfig as Written
from mahtrt.triton.config import Tensor
from mahtrt.triton.export import export_triton
from mahtrt.triton.options import TritonOptions

IMAGES = {
    "image": ("TYPE_STRING", [1]),
    "pixels_uint8": ("TYPE_UINT8", [-1, -1, -1]),
    "pixels_uint16": ("TYPE_UINT16", [-1, -1, -1]),
    "spacing_mm": ("TYPE_FP64", [2]),
}
FOUND = {
    "landmarks": ("TYPE_FP32", [3, 2]),
    "confidence": ("TYPE_FP32", [3]),
    "spread_px": ("TYPE_FP32", [3]),
    "document": ("TYPE_STRING", [1]),
}
BETWEEN = {"placement": ("TYPE_FP64", [-1, 4]), "spacing_of_image": ("TYPE_FP64", [-1, 2])}


def tensors(listed: Any) -> dict[str, tuple[str, list[int]]]:
    enum = ModelConfig.DESCRIPTOR.fields_by_name["input"].message_type.fields_by_name["data_type"]
    kinds = enum.enum_type.values_by_number
    return {each.name: (kinds[each.data_type].name, list(each.dims)) for each in listed}


def of_several(found: dict[str, tuple[str, list[int]]]) -> dict[str, tuple[str, list[int]]]:
    return {name: (kind, [-1, *dims]) for name, (kind, dims) in found.items()}


@pytest.mark.parametrize(("name", "batch"), [("tiny", 1), ("four", 4)])
def test_a_model_of_the_python_backend(models: Path, name: str, batch: int) -> None:
    config = read_config(models / name)
    assert (config.name, config.backend, config.max_batch_size) == (name, "python", batch)
    assert tensors(config.input) == IMAGES
    assert tensors(config.output) == FOUND
    assert all(each.optional for each in config.input)
    assert [each.allow_ragged_batch for each in config.input] == [False, True, True, False]
    assert config.HasField("dynamic_batching") == (batch > 1)
    (group,) = config.instance_group
    assert (group.count, group.kind) == (1, group.KIND_CPU)


def test_an_ensemble_between_its_models(models: Path) -> None:
    config = read_config(models / "onnx-four")
    assert (config.platform, config.max_batch_size) == ("ensemble", 0)
    assert tensors(config.input) == of_several(IMAGES)
    assert tensors(config.output) == of_several(FOUND)
    network = read_config(models / "onnx-four_network")
    assert (network.backend, network.default_model_filename) == ("onnxruntime", "model.onnx")
    assert tensors(network.input) == {"image": ("TYPE_FP32", [4, 3, 32, 48])}
    read = {name: ("TYPE_FP32", [4, 3]) for name in ("confidence", "spread")}
    assert tensors(network.output) == {"landmarks": ("TYPE_FP32", [4, 3, 2]), **read}
    prepare, decode = (read_config(models / f"onnx-four_{part}") for part in ("prepare", "decode"))
    assert tensors(prepare.output) == {**tensors(network.input), **BETWEEN}
    assert tensors(decode.input) == {**tensors(network.output), **BETWEEN}
    assert tensors(decode.output) == tensors(config.output)


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_every_step_of_an_ensemble_is_fed(models: Path, name: str) -> None:
    config = read_config(models / name)
    known = {each.name for each in config.input}
    for step in config.ensemble_scheduling.step:
        model = read_config(models / step.model_name)
        assert set(step.input_map) == {each.name for each in model.input}
        assert set(step.output_map) == {each.name for each in model.output}
        assert set(step.input_map.values()) <= known
        assert known.isdisjoint(step.output_map.values())
        assert step.model_version == 1
        known |= set(step.output_map.values())
    assert {each.name for each in config.output} <= known


def test_the_openvino_backend_is_told_threads_and_opens_the_ir(models: Path) -> None:
    network = read_config(models / "openvino_network")
    told = {key: value.string_value for key, value in network.parameters.items()}
    assert told == {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": "1"}
    assert network.default_model_filename == "model.xml"
    assert {place.name for place in (models / "openvino_network/1").iterdir()} == {
        "model.xml",
        "model.bin",
    }


def with_tensorrt(bundle: Path, out: Path, *more: str) -> Path:
    """A bundle that says of itself that it has a TensorRT engine."""
    old = read_bundle(bundle)
    with write_bundle(out) as writer:
        writer.take(old, [record.path for record in old.manifest.files])
        roles = {"onnx": "model.onnx"}
        for role in ("plan", *more):
            roles[role] = f"engines/tensorrt-fp16/{role}"
            files.write_bytes(writer.place(roles[role]), role.encode())
        engine = replace(
            old.engine("onnxruntime"),
            name="tensorrt-fp16",
            target="tensorrt",
            files=roles,
            versions={"tensorrt": "10.16.1"},
        )
        engines = (*old.manifest.engines, engine)
        writer.finish(replace(old.manifest, engines=engines, files=()))
    return out


def test_the_tensorrt_backend_gets_the_plan_and_a_gpu(
    tiny_batch_bundle: Path, tmp_path: Path
) -> None:
    bundle = with_tensorrt(tiny_batch_bundle, tmp_path / "b.mahtrt")
    result = export_triton(TritonOptions(bundle, tmp_path / "models", backend="tensorrt"))
    assert "tensorrt 10.16.1" in " ".join(result.notes)
    network = read_config(tmp_path / "models/b_network")
    (group,) = network.instance_group
    assert (network.backend, group.kind, list(group.gpus)) == ("tensorrt", group.KIND_GPU, [0])
    assert (tmp_path / "models/b_network/1/model.plan").read_bytes() == b"plan"
    assert tensors(network.output)["heatmaps"] == ("TYPE_FP32", [4, 3, 16, 24])
    steps = read_config(tmp_path / "models/b").ensemble_scheduling.step
    assert set(steps[1].output_map) == set(tensors(network.output))
    assert "heatmaps" not in tensors(read_config(tmp_path / "models/b_decode").input)


def test_an_engine_whose_decoding_is_ours_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = with_tensorrt(tiny_bundle, tmp_path / "b.mahtrt", "decode")
    with pytest.raises(UsageError, match="a kernel of mahtrt's own"):
        export_triton(TritonOptions(bundle, tmp_path / "models", backend="tensorrt"))


def test_golden_images_warm_a_model_up_and_landmarks_are_its_labels(models: Path) -> None:
    config = read_config(models / "tiny")
    assert (models / "tiny/landmarks.txt").read_text("utf-8") == "red\ngreen\nblue\n"
    assert config.model_warmup
    for request in config.model_warmup:
        file = models / "tiny/warmup" / request.inputs["image"].input_data_file
        content = file.read_bytes()
        assert int.from_bytes(content[:4], "little") == len(content) - 4
        assert content[4:].startswith(b"\x89PNG")


def test_any_name_survives_the_text_form() -> None:
    name = 'a "quoted"\\name\nünïcode\x00'
    tensor = Tensor(name, "TYPE_FP32", (-1, 2))
    written = Written("x", "python", (tensor,), (tensor,), parameters={name: name})
    read = text_format.Parse(written.to_text(), ModelConfig())
    assert read.input[0].name == read.parameters[name].string_value == name
