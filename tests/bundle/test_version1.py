"""A bundle that mahtrt 0.1.0 wrote, ``mahtrt.bundle/1``, opens as before."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mahtrt.bundle import version1
from mahtrt.bundle.bundle import read_bundle, verify_bundle, write_bundle
from mahtrt.bundle.golden import read_golden, write_golden
from mahtrt.bundle.manifest import SCHEMA, GraphRecord, Manifest
from mahtrt.bundle.records import BuildRecord, DeviceRecord, EngineKey, VerdictRecord
from mahtrt.errors import IntegrityError
from mahtrt.inspection.bundle import describe_bundle
from mahtrt.runtime.opening import open_session
from mahtrt.runtime.verify import VerifyOptions, verify
from mahtrt.schema import dataclass_from

BUNDLE = Path(__file__).with_name("version1.mahtrt")


@pytest.fixture
def data() -> dict[str, Any]:
    """Its manifest as plain data, without the digest of its own."""
    found: dict[str, Any] = json.loads((BUNDLE / "manifest.json").read_text())
    del found["sha256"]
    return found


def read(data: dict[str, Any]) -> Manifest:
    upgraded = version1.upgraded(copy.deepcopy(data), "here")
    return dataclass_from(Manifest, upgraded, "here", error=IntegrityError)


def test_it_is_whole_and_its_parts_are_where_they_belong() -> None:
    manifest = verify_bundle(BUNDLE).manifest
    assert manifest.schema == version1.SCHEMA
    assert manifest.graphs == (
        GraphRecord("fp32", "model.onnx", "fp32"),
        GraphRecord("int8", "model.int8.onnx", "int8", weight_bits=8),
    )
    fp32, int8 = manifest.engines
    assert fp32.verdict == int8.verdict == VerdictRecord(True, (), "engine")
    assert fp32.accuracy is not None
    assert fp32.accuracy.images == 2
    assert [row.name for row in fp32.accuracy.per_landmark] == ["left", "right"]
    assert fp32.latency is not None
    assert 0 < fp32.latency.p50_ms <= fp32.latency.p90_ms
    assert fp32.device == DeviceRecord(
        "AMD EPYC", inference_precision="f32", settings={"provider": "CPUExecutionProvider"}
    )
    assert manifest.calibration is not None
    assert manifest.calibration.card.images == manifest.calibration.bias_correction_images == 8
    assert manifest.gate is not None
    assert manifest.gate.budgets.fp32_px == 0.01
    assert manifest.source.checkpoint == "weights.pt"
    assert manifest.preprocess_version == 1


def test_it_finds_its_golden_landmarks_and_predicts() -> None:
    bundle = read_bundle(BUNDLE)
    vectors = read_golden(bundle)
    assert [vector.name for vector in vectors] == ["0.png", "1.png"]
    moved = [replay.worst_px for replay in verify(VerifyOptions(BUNDLE)).replays]
    assert all(each is not None and each < 0.2 for each in moved)
    with open_session(BUNDLE) as session:
        assert session.name == "onnxruntime-fp32"
        for vector in vectors:
            found = session.run(vector.image).points
            np.testing.assert_allclose(found, vector.points_px, atol=0.01)


def test_the_ir_of_an_engine_is_not_opened(data: dict[str, Any]) -> None:
    """It is of another time than the edits that an IR holds today."""
    data["engines"][0]["files"] |= {"ir": "model.xml", "weights": "model.bin"}
    assert read(data).engines[0].files == {"onnx": "model.onnx"}


def test_it_can_be_described() -> None:
    summary = describe_bundle(BUNDLE)
    assert summary.plan is not None
    assert summary.plan.int8_blocks == ("2",)


def test_its_parts_go_into_a_bundle_of_today(tmp_path: Path) -> None:
    old = read_bundle(BUNDLE)
    engine = old.engine("onnxruntime-int8")
    with write_bundle(tmp_path / "new.mahtrt") as writer:
        writer.take(old, engine.files.values())
        writer.finish(
            Manifest(
                spec=old.spec,
                precision="int8",
                graphs=tuple(g for g in old.manifest.graphs if g.file in engine.files.values()),
                engines=(engine,),
                default_engine=engine.name,
                preprocess_version=old.manifest.preprocess_version,
                gate=old.manifest.gate,
                golden=write_golden(writer, "PyTorch", read_golden(old)),
            )
        )
    new = read_bundle(tmp_path / "new.mahtrt")
    assert new.manifest.schema == SCHEMA
    assert new.engine() == engine
    for ours, theirs in zip(read_golden(new), read_golden(old), strict=True):
        np.testing.assert_array_equal(ours.image, theirs.image)
        np.testing.assert_array_equal(ours.points_px, theirs.points_px)
        assert ours.spacing_mm == theirs.spacing_mm
    (replay,) = verify(VerifyOptions(new.path)).replays
    assert replay.worst_px is not None
    assert replay.worst_px < 0.2


# What a TensorRT-RTX engine of mahtrt 0.1.0 says of itself, built where it could not run.
KEY = {
    "onnx_sha256": "a" * 64,
    "precision": "fp16",
    "flavour": "tensorrt-rtx",
    "tensorrt": "1.7.1.116",
    "platform": "linux_x86_64",
    "gpu": "",
    "compute_capabilities": ["SM86", "SM89"],
    "cuda_driver": "",
    "workspace_mib": None,
    "optimization_level": None,
    "hardware_compatibility": "none",
    "plugin_sha256": "",
    "schema": "mahtrt.engine-key/1",
}
TENSORRT = {
    "target": "tensorrt-rtx",
    "device": {
        "flavour": "tensorrt-rtx",
        "platform": "linux_x86_64",
        "gpu": None,
        "compute_capabilities": ["SM86", "SM89"],
        "hardware_compatibility": "none",
    },
    "latency_ms": {},
    "build": {
        "key": KEY,
        "key_sha256": "b" * 64,
        "cached": False,
        "seconds": 6.34,
        "plan_bytes": 19124452,
        "plan_sha256": "c" * 64,
        "timing_cache": "off",
        "parse_s": 0.192,
        "build_s": 5.501,
        "inputs": [{"name": "image", "shape": [1, 3, 256, 256], "dtype": "FLOAT"}],
        "outputs": [{"name": "landmarks", "shape": [1, 7, 2], "dtype": "FLOAT"}],
        "layers": {"CONVOLUTION": 117},
        "warnings": [],
        "peak_memory_mib": 330,
    },
}


def test_an_engine_of_tensorrt(data: dict[str, Any]) -> None:
    data["engines"][0].update(TENSORRT)
    engine = read(data).engines[0]
    assert engine.device == DeviceRecord(
        platform="linux_x86_64",
        capabilities=("SM86", "SM89"),
        settings={"hardware_compatibility": "none"},
    )
    assert engine.latency is None
    assert isinstance(engine.build, BuildRecord)
    assert isinstance(engine.build.key, EngineKey)
    assert (engine.build.seconds, engine.build.facts.parse_s) == (6.34, 0.192)
    assert engine.build.facts.layers == {"CONVOLUTION": 117}


def test_what_openvino_tried(data: dict[str, Any]) -> None:
    device = {"name": "A CPU", "capabilities": ["BF16"], "inference_precision": "bf16"}
    data["engines"][0]["device"] = {**device, "threads": 1, "cores": 2, "tried": {"bf16": 1.5}}
    assert read(data).engines[0].device == DeviceRecord(
        "A CPU", "", ("BF16",), "bf16", threads=1, cores=2, tried_ms={"bf16": 1.5}
    )


def test_a_bundle_that_says_little(data: dict[str, Any]) -> None:
    """As it was written by hand: every part that may be empty is."""
    for name in ("host", "provenance", "plan", "calibration", "gate"):
        data[name] = {}
    data["golden"] = None
    for engine in data["engines"]:
        engine.update(device={}, accuracy={}, latency_ms={})
    manifest = read(data)
    said = (manifest.host, manifest.provenance, manifest.calibration, manifest.gate)
    assert said == (None, None, None, None)
    assert (manifest.engines[0].verdict, manifest.engines[0].accuracy) == (None, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(colour="red"), "unknown field 'colour'"),
        (lambda d: d["engines"][0].update(speed=1), "unknown field 'speed'"),
        (lambda d: d["engines"][0]["device"].update(speed=1), "device: got unknown field 'speed'"),
        (lambda d: d["gate"].update(mood="good"), "gate: got unknown field 'mood'"),
        (lambda d: d["provenance"].update(author="me"), "unknown field 'author'"),
        (lambda d: d["golden"].update(file="other.npz"), "golden images outside of golden.npz"),
        (lambda d: d["golden"].pop("reference"), "golden: got no field 'reference'"),
        (lambda d: d.pop("engines"), "a part that cannot be read"),
        (lambda d: d.update(models=[]), "a part that cannot be read"),
        (lambda d: d.update(engines=["x"]), "a part that cannot be read"),
        (lambda d: d.update(gate=[1]), "a part that cannot be read"),
        (lambda d: d["provenance"].pop("onnx_sha256"), "a part that cannot be read"),
    ],
)
def test_what_is_not_of_the_first_format_is_refused(
    data: dict[str, Any], change: Callable[[dict[str, Any]], object], message: str
) -> None:
    change(data)
    with pytest.raises(IntegrityError, match=message) as caught:
        read(data)
    assert "\n" not in str(caught.value)
