"""The accuracy gate's verdict on its way from the manifest to the user."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny_network as tiny
from PIL import Image

from mahtrt.bundle.bundle import read_bundle
from mahtrt.bundle.manifest import MANIFEST_NAME, text_of_manifest
from mahtrt.runtime import Session, open_session
from mahtrt.runtime.predict import PredictOptions, predict
from mahtrt.runtime.verdict import notes_of, verdict_of
from mahtrt.verbs.predict import table_of

ENGINE = "onnxruntime-fp32"
PASSED = {"passed": True, "reasons": [], "measured_on": "engine"}
FAILED = {
    "passed": False,
    "reasons": ["mean displacement 0.4 px is over its budget of 0.25 px"],
    "measured_on": "the graph through ONNX Runtime",
}
ACCURACY = {
    "images": 12,
    "mean_px": 0.4,
    "per_landmark": [
        {"name": "red", "mean_px": 0.1},
        {"name": "green", "mean_px": 0.8},
        {"name": "blue", "mean_px": 0.3},
    ],
}


@pytest.fixture
def judged(tiny_bundle: Path, tmp_path: Path) -> Any:
    """Makes a bundle whose manifest has a verdict on one engine."""

    def make(verdict: dict[str, Any], accuracy: dict[str, Any] = ACCURACY) -> Path:
        bundle = tmp_path / "tiny.mahtrt"
        shutil.copytree(tiny_bundle, bundle)
        manifest = read_bundle(bundle, verify=False).manifest
        engines = tuple(
            dataclasses.replace(e, accuracy=accuracy if e.name == ENGINE else {})
            for e in manifest.engines
        )
        gate = {"reference": "PyTorch", "engines": {ENGINE: verdict}}
        manifest = dataclasses.replace(manifest, gate=gate, engines=engines)
        (bundle / MANIFEST_NAME).write_text(text_of_manifest(manifest), encoding="utf-8")
        return bundle

    return make


def test_a_session_has_the_verdict_and_its_numbers(judged: Any) -> None:
    with open_session(judged(FAILED), engine=ENGINE, threads=1) as session:
        assert session.verdict == {
            **FAILED,
            "batch": 1,
            "reference": "PyTorch",
            "images": 12,
            "mean_px": 0.4,
            "worst_landmark": {"name": "green", "mean_px": 0.8},
        }


def test_a_mean_that_was_not_finite_is_the_worst(judged: Any) -> None:
    broken = [{"name": "red", "mean_px": 9.0}, {"name": "green", "mean_px": float("nan")}]
    bundle = read_bundle(judged(FAILED, {"mean_px": float("inf"), "per_landmark": broken}))
    found = verdict_of(bundle.manifest, bundle.engine(ENGINE))
    assert found["mean_px"] is None
    assert found["worst_landmark"] == {"name": "green", "mean_px": None}


def test_an_engine_that_was_not_judged_has_none(judged: Any, tiny_bundle: Path) -> None:
    with open_session(judged(PASSED), engine="openvino-fp32", threads=1) as session:
        assert session.verdict == {}
    with open_session(tiny_bundle, engine=ENGINE, threads=1) as session:
        assert session.verdict == {}
        assert session._backend is not None
        assert Session(session._backend, tiny.SPEC).verdict == {}


def test_notes_name_what_failed_and_what_it_was_measured_on() -> None:
    assert notes_of("x", PASSED) == notes_of("x", {}) == ()
    failed, elsewhere = notes_of("x", FAILED)
    assert failed == (
        "x did not pass its accuracy gate: mean displacement 0.4 px is over its budget of 0.25 px."
    )
    assert "measured on the graph through ONNX Runtime, not on the engine itself" in elsewhere
    assert len(notes_of("x", {**FAILED, "passed": True})) == 1


def test_a_bundle_that_does_not_say_more_than_passed(judged: Any) -> None:
    bundle = read_bundle(judged({"passed": True}, {}))
    found = verdict_of(bundle.manifest, bundle.engine(ENGINE))
    assert (found["passed"], found["measured_on"], found["worst_landmark"]) == (True, None, None)
    assert notes_of(ENGINE, found) == ()
    assert notes_of(ENGINE, {"passed": False}) == (
        f"{ENGINE} did not pass its accuracy gate: no reason was kept.",
    )


def test_predict_carries_the_verdict(judged: Any, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    Image.fromarray(tiny.make_image(0)[0]).save(picture)
    result = predict(PredictOptions(judged(FAILED), [picture], ENGINE, threads=1))
    assert [note for note in result.notes if "did not pass" in note]
    assert [note for note in result.notes if "not on the engine itself" in note]
    document = json.loads(result.to_json())
    assert list(document)[:4] == ["schema", "bundle", "engine", "verdict"]
    assert document["verdict"]["passed"] is False
    assert document["verdict"]["reasons"] == FAILED["reasons"]
    assert document["verdict"]["worst_landmark"]["name"] == "green"
    assert table_of(result).row_count == 3
