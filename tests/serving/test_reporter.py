"""A node's report of an image is the one that ``predict`` writes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from own_quantities import write_quantities
from tiny_network import make_image

import mahtrt
from mahtrt.serving.options import ServeOptions
from mahtrt.serving.reporter import Reporter

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
pytest.importorskip("highdicom", reason="the extra dicom is not installed")
pytest.importorskip("pynetdicom", reason="the extra dicom is not installed")

TIMES = ("InstanceCreationDate", "InstanceCreationTime", "ContentDate", "ContentTime")


def without_times(content: bytes) -> Any:
    report = pydicom.dcmread(io.BytesIO(content))
    for keyword in TIMES:
        del report[keyword]
    del report.ContributingEquipmentSequence[-1].ContributionDateTime  # highdicom's
    return report


def test_a_node_and_predict_say_the_same(tiny_bundle: Path, tmp_path: Path) -> None:
    from dicom_files import write_patient_image

    from mahtrt.dicom.case_files import ReportWriter

    pixels = make_image(3)[0]
    fields = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    size = {"Rows": pixels.shape[0], "Columns": pixels.shape[1], "PixelSpacing": ["0.5", "0.25"]}
    image = write_patient_image(tmp_path / "a.dcm", pixels, **fields, **size)
    asked: dict[str, Any] = {
        "engine": "onnxruntime",
        "threads": 1,
        "quantities": write_quantities(tmp_path),
    }
    options = mahtrt.PredictOptions(
        tiny_bundle, [image], writers=[ReportWriter(tmp_path / "sr")], **asked
    )
    predicted = mahtrt.predict(options)
    written = Path(predicted.predictions[0].extra["dicom_sr"]).read_bytes()
    serving = ServeOptions(tiny_bundle, "PACS@127.0.0.1:104", queue=tmp_path / "queue", **asked)
    with mahtrt.open(tiny_bundle, engine="onnxruntime", threads=1) as session:
        made = Reporter(session, serving).report(image.read_bytes(), "image").content
    assert without_times(made) == without_times(written)
    items = without_times(made).ContentSequence[-1].ContentSequence[-1].ContentSequence
    numbers = [each for each in items if each.ValueType == "NUM"]
    points = [len(each.ContentSequence[0].GraphicData) // 2 for each in numbers]
    assert points == [3, 2]
    assert items[-3].ConceptCodeSequence[0].CodeValue == "unknown"  # a DX image, not calibrated
    assert items[-2].TextValue == "PixelSpacing"
    assert "does not tell whether it holds in the patient" in items[-1].TextValue


def test_codes_of_landmarks_that_the_network_lacks_are_told(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    from dicom_nodes import Log

    from mahtrt.serving.serve import opened

    table, log = tmp_path / "codes.toml", Log()
    table.write_text(
        'schema = "mahtrt.landmark-codes/1"\n[[landmark]]\nnames = ["pogonion"]\n'
        'code = { scheme = "99A", value = "1", meaning = "Pogonion" }\n'
    )
    options = ServeOptions(
        *(tiny_bundle, "PACS@127.0.0.1:104"),
        queue=tmp_path / "queue",
        engine="onnxruntime",
        drain=True,
        landmark_codes=table,
    )
    with opened(options, log):
        pass
    (told,) = log.of("codes-without-landmark")
    assert told.facts == {"names": "'pogonion'"}
