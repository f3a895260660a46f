"""Manifests that say what cannot be, with digests that are right: every use names the field."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from sealing import change_manifest, seal

from mahtrt.benchmarks.bench import bench
from mahtrt.benchmarks.options import BenchOptions
from mahtrt.build.compile import CompileOptions
from mahtrt.build.compile import compile as compile_bundle
from mahtrt.bundle.pack import PackOptions, pack
from mahtrt.errors import IntegrityError
from mahtrt.inspection.inspect import InspectOptions, inspect
from mahtrt.runtime import open_session
from mahtrt.runtime.predict import PredictOptions, predict
from mahtrt.runtime.verify import VerifyOptions, verify

BUDGETS = {"budget_px": 0.25, "worst_landmark_px": 1.0, "fp32_px": 0.01, "fp32_max_px": 0.1}

# One field after the other of a sealed manifest is given what cannot be there.
SEALED: dict[str, tuple[tuple[str | int, ...], object]] = {
    "gate as a text": (("gate",), "passed"),
    "gate without budgets": (("gate", "budgets"), None),
    "gate with another type": (("gate", "budgets", "budget_px"), "0.25"),
    "a negative budget": (("gate", "budgets", "budget_px"), -1),
    "a negative budget in mm": (("gate", "budgets", "budget_mm"), -1e-9),
    "a huge budget": (("gate", "budgets", "budget_px"), 10**40),
    "a reference that clears the screen": (("gate", "reference"), "\x1b[2J"),
    "no batch": (("engines", 0, "batch"), 0),
    "a negative batch": (("engines", 0, "batch"), -1),
    "a huge batch": (("engines", 0, "batch"), 2**40),
    "a batch beyond 64 bits": (("engines", 0, "batch"), 2**70),
    "a true batch": (("engines", 0, "batch"), True),
    "device as a list": (("engines", 0, "device"), []),
    "a device's name": (("engines", 0, "device", "name"), "\x1b]0;x\x07"),
    "a device's huge threads": (("engines", 0, "device", "threads"), 10**9),
    "a device's negative threads": (("engines", 0, "device", "threads"), -4),
    "times as text": (("engines", 0, "device", "tried_ms"), {"a": "1"}),
    "a setting's name": (("engines", 0, "device", "settings"), {"\x9b": "1"}),
    "capabilities as a number": (("engines", 0, "device", "capabilities"), 8),
    "an engine's name": (("engines", 0, "name"), "a\nb"),
    "files as a list": (("engines", 0, "files"), ["model.onnx"]),
    "a note": (("engines", 0, "notes"), ["\r"]),
    "a version": (("versions",), {"mahtrt": "\x00"}),
    "a verdict": (("engines", 0, "verdict"), {"passed": 1}),
    "accuracy as a number": (("engines", 0, "accuracy"), 1.5),
    "accuracy with huge images": (("engines", 0, "accuracy"), {"images": 10**30}),
    "latency as a number": (("engines", 0, "latency"), 1),
    "half a latency": (("engines", 0, "latency"), {"p50_ms": 1.5}),
    "created": (("created",), "2026\x1b[0m"),
    "a host": (("host",), {"cpu": 5}),
    "a landmark's name": (("spec", "landmarks"), ["\u202e"]),
    "a huge input": (("spec", "inputs", 0, "size"), [2**31, 2**31]),
    "an empty input": (("spec", "inputs", 0, "size"), [0, 8]),
    "a spec with tables in tables": (("spec", "config"), {"a": [{"b": 2**80}]}),
    "a size below nothing": (("files", 0, "size"), -1),
    "a size beyond everything": (("files", 0, "size"), 2**60),
    "a golden reference": (("golden",), {"reference": "\x07"}),
    "a plan": (("calibration",), {"data": []}),
    "a version of preprocessing": (("preprocess_version",), 1.5),
    "a newer version of preprocessing": (("preprocess_version",), 4),
    "no version of preprocessing": (("preprocess_version",), 0),
    "a huge text": (("created",), "x" * 70_000),
}


@pytest.mark.parametrize("name", SEALED)
def test_a_sealed_manifest_is_bounded(bundle_copy: Path, name: str) -> None:
    path, value = SEALED[name]

    def put(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    def full(data: dict[str, Any]) -> None:
        data["gate"] = data["gate"] or {"reference": "x", "budgets": dict(BUDGETS)}
        put(data)

    change_manifest(bundle_copy, full)
    uses = (
        lambda: open_session(bundle_copy),
        lambda: verify(VerifyOptions(bundle_copy)),
        lambda: inspect(InspectOptions(bundle_copy)),
        lambda: predict(PredictOptions(bundle_copy, (bundle_copy / "golden/0.png",))),
        lambda: pack(PackOptions(bundle_copy, bundle_copy.parent / "packed.mahtrt")),
        lambda: compile_bundle(CompileOptions(bundle=bundle_copy, target="openvino")),
        lambda: bench(BenchOptions(bundle_copy)),
    )
    field = next(part for part in reversed(path) if isinstance(part, str))
    for use in uses:
        with pytest.raises(IntegrityError) as caught:
            use()
        assert field in str(caught.value)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 70])
def test_a_sealed_number_that_json_does_not_have(bundle_copy: Path, number: str) -> None:
    change_manifest(bundle_copy, lambda d: d["engines"][0].update(batch=123454321))
    place = bundle_copy / "manifest.json"
    text = place.read_text().replace("123454321", number)
    digest = text.rpartition('"sha256": "')[2][:64]
    zeroed = text.replace(digest, "0" * 64)
    place.write_text(zeroed.replace("0" * 64, hashlib.sha256(zeroed.encode()).hexdigest()))
    with pytest.raises(IntegrityError, match="text that is not JSON"):
        open_session(bundle_copy)


def test_an_engine_without_its_file_is_refused(bundle_copy: Path) -> None:
    change_manifest(bundle_copy, lambda d: [engine.update(files={}) for engine in d["engines"]])
    for engine in ("openvino", "onnxruntime"):
        with pytest.raises(IntegrityError, match="got files none; expected one of role onnx"):
            open_session(bundle_copy, engine=engine)


def test_a_sealed_plan_that_is_none_is_refused(bundle_copy: Path) -> None:
    (bundle_copy / "plan.json").write_text('{"blocks": [{"name": "a\\u001b"}]}')
    record = {"path": "plan.json", "sha256": "", "size": 0}
    change_manifest(bundle_copy, lambda d: d["files"].append(record))
    seal(bundle_copy)
    with pytest.raises(IntegrityError, match=r"plan\.json"):
        inspect(InspectOptions(bundle_copy))
