"""The accuracy gate's verdict on its way from the manifest to the user."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny_network as tiny
from PIL import Image

from mahtrt.build.records import gate_record
from mahtrt.bundle.bundle import read_bundle
from mahtrt.bundle.manifest import MANIFEST_NAME, text_of_manifest
from mahtrt.bundle.records import AccuracyRecord, LandmarkRecord, VerdictRecord
from mahtrt.measure.limits import Limits
from mahtrt.runtime import Session, open_session
from mahtrt.runtime.predict import PredictOptions, predict
from mahtrt.runtime.verdict import EngineVerdict, WorstLandmark, notes_of, verdict_of
from mahtrt.verbs.prediction_tables import table_of

ENGINE = "onnxruntime-fp32"
PASSED = VerdictRecord(True)
FAILED = VerdictRecord(
    False,
    ("mean displacement 0.4 px is over its budget of 0.25 px",),
    "the graph through ONNX Runtime",
)


def accuracy(mean_px: float, **landmarks_px: float) -> AccuracyRecord:
    rows = tuple(LandmarkRecord(name, moved, moved) for name, moved in landmarks_px.items())
    worst = max(landmarks_px.values())
    return AccuracyRecord(12, 0, mean_px, worst, worst, worst, rows)


ACCURACY = accuracy(0.4, red=0.1, green=0.8, blue=0.3)


@pytest.fixture
def judged(tiny_bundle: Path, tmp_path: Path) -> Any:
    """Makes a bundle whose manifest has a verdict on one engine."""

    def make(verdict: VerdictRecord, accuracy: AccuracyRecord | None = ACCURACY) -> Path:
        bundle = tmp_path / "tiny.mahtrt"
        shutil.copytree(tiny_bundle, bundle)
        manifest = read_bundle(bundle, verify=False).manifest
        engines = tuple(
            dataclasses.replace(e, verdict=verdict, accuracy=accuracy) if e.name == ENGINE else e
            for e in manifest.engines
        )
        gate = gate_record("PyTorch", Limits())
        manifest = dataclasses.replace(manifest, gate=gate, engines=engines)
        (bundle / MANIFEST_NAME).write_text(text_of_manifest(manifest), encoding="utf-8")
        return bundle

    return make


def test_a_session_has_the_verdict_and_its_numbers(judged: Any) -> None:
    with open_session(judged(FAILED), engine=ENGINE, threads=1) as session:
        assert session.verdict == EngineVerdict(
            passed=False,
            reasons=FAILED.reasons,
            measured_on=FAILED.measured_on,
            batch=1,
            reference="PyTorch",
            images=12,
            mean_px=0.4,
            worst_landmark=WorstLandmark("green", 0.8),
        )


def test_a_mean_that_was_not_finite_is_the_worst(judged: Any) -> None:
    broken = accuracy(math.inf, red=9.0, green=math.nan)
    bundle = read_bundle(judged(FAILED, broken))
    found = verdict_of(bundle.manifest, bundle.engine(ENGINE))
    assert found is not None
    assert found.mean_px is None
    assert found.worst_landmark == WorstLandmark("green", None)


def test_an_engine_that_was_not_judged_has_none(judged: Any, tiny_bundle: Path) -> None:
    with open_session(judged(PASSED), engine="openvino-fp32", threads=1) as session:
        assert session.verdict is None
    with open_session(tiny_bundle, engine=ENGINE, threads=1) as session:
        assert session.verdict is None
        assert session._backend is not None
        assert Session(session._backend, tiny.SPEC).verdict is None


def on_its_own(verdict: VerdictRecord) -> EngineVerdict:
    return EngineVerdict(
        verdict.passed, verdict.reasons, verdict.measured_on, 1, None, None, None, None
    )


def test_notes_name_what_failed_and_what_it_was_measured_on() -> None:
    assert notes_of("x", on_its_own(PASSED)) == notes_of("x", None) == ()
    failed, elsewhere = notes_of("x", on_its_own(FAILED))
    assert failed == (
        "x did not pass its accuracy gate: mean displacement 0.4 px is over its budget of 0.25 px."
    )
    assert "measured on the graph through ONNX Runtime, not on the engine itself" in elsewhere
    assert len(notes_of("x", on_its_own(dataclasses.replace(FAILED, passed=True)))) == 1


def test_a_bundle_that_does_not_say_more_than_passed(judged: Any) -> None:
    bundle = read_bundle(judged(PASSED, None))
    found = verdict_of(bundle.manifest, bundle.engine(ENGINE))
    assert found is not None
    assert (found.passed, found.images, found.worst_landmark) == (True, None, None)
    assert notes_of(ENGINE, found) == ()
    assert notes_of(ENGINE, on_its_own(VerdictRecord(False))) == (
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
    assert document["verdict"]["reasons"] == list(FAILED.reasons)
    assert document["verdict"]["worst_landmark"]["name"] == "green"
    assert table_of(result).row_count == 3


def test_predict_flags_points_whose_heatmap_is_wide(judged: Any, tmp_path: Path) -> None:
    usual = tuple(
        dataclasses.replace(row, usual_spread_px=0.1 if row.name != "blue" else None)
        for row in ACCURACY.per_landmark
    )
    image = tiny.make_image(0)[0]
    image[:2, :2], image[-2:, -2:] = (255, 0, 255), (255, 0, 255)  # two red blocks, two blue ones
    picture = tmp_path / "a.png"
    Image.fromarray(image).save(picture)
    bundle = judged(PASSED, dataclasses.replace(ACCURACY, per_landmark=usual))
    result = predict(PredictOptions(bundle, [picture], ENGINE, threads=1))
    rows = json.loads(result.to_json())["images"][0]["landmarks"]
    assert [row["two_peaks"] for row in rows] == [True, False, False]
    (note,) = (note for note in result.notes if "far wider" in note)
    assert note.endswith(f"red in {picture}.")
