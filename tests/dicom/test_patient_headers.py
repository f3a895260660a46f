"""Patient and study of headers as archives have them: taken as they stand, and told to nobody."""

from __future__ import annotations

import io
import logging
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import PATIENT, write_patient_image
from outside_readers import dicom3tools_faults

from mahtrt.dicom.algorithm import Algorithm
from mahtrt.dicom.source import read_source
from mahtrt.dicom.structured_report import make_report
from mahtrt.errors import ImageError
from mahtrt.runtime.landmarks import Landmarks

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
pytest.importorskip("highdicom", reason="the extra dicom is not installed")

MADE_BY = Algorithm("net.mahtrt", "0.1.0", "ab" * 32, "fp32", "cpu", "It passed.")
_ONE_FRAME, _MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.7.2"
PLAIN, GREEK = ("sella",), ("φ",)


def landmarks(names: tuple[str, ...]) -> Landmarks:
    one = np.ones(1, np.float32)
    return Landmarks(np.array([[3, 4]], np.float32), one, one, names)


def image(folder: Path, *absent: str, **fields: object) -> bytes:
    """An image whose header has these values, however wrong they are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = write_patient_image(folder / "a.dcm", np.zeros((8, 8), np.uint8), **fields)
        dataset = pydicom.dcmread(path)
        for keyword in absent:
            del dataset[keyword]
        content = io.BytesIO()
        dataset.save_as(content, enforce_file_format=True)
    return content.getvalue()


def both(source: bytes, names: tuple[str, ...]) -> tuple[Any, Any]:
    """The header of an image and that of its report; nothing may be warned of on the way."""
    content = make_report(source, landmarks(names), MADE_BY).content
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = [pydicom.dcmread(io.BytesIO(each)) for each in (source, content)]
        for dataset in read:
            dataset.decode()
    return read[0], read[1]


HEADERS: dict[str, dict[str, object]] = {
    "one name": {"PatientName": "Zzyzx"},
    "Latin": {"PatientName": "Müller^Jürgen", "SpecificCharacterSet": "ISO_IR 100"},
    "Japanese": {
        "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう",
        "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
    },
    "Chinese": {"PatientName": "Wang^XiaoDong=王^小东", "SpecificCharacterSet": "GB18030"},
    "UTF-8": {"PatientName": "Wang^XiaoDong=王^小东", "SpecificCharacterSet": "ISO_IR 192"},
    "no such set": {"SpecificCharacterSet": "latin1"},
    "no such sex": {"PatientSex": "female"},
    "dots in a date": {"PatientBirthDate": "1961.07.04"},
    "no such date": {"StudyDate": "20191399", "StudyTime": "99"},
    "too long": {"PatientID": "7" * 80, "AccessionNumber": "9" * 30},
}


@pytest.mark.parametrize("fields", HEADERS.values(), ids=HEADERS)
def test_values_are_those_of_the_image(tmp_path: Path, fields: dict[str, object]) -> None:
    source = image(tmp_path, **fields)
    for names in (PLAIN, GREEK):
        header, report = both(source, names)
        assert [k for k in PATIENT if str(header[k].value) != str(report[k].value)] == []
        group = report.ContentSequence[-1].ContentSequence[0]
        assert group.ContentSequence[0].TextValue == names[0]


def test_texts_within_sequences_are_recoded(tmp_path: Path) -> None:
    other = pydicom.Dataset()
    other.PatientID, other.TypeOfPatientID = "Äö-1", "TEXT"
    source = image(tmp_path, SpecificCharacterSet="ISO_IR 100", OtherPatientIDsSequence=[other])
    for names in (PLAIN, GREEK):
        assert both(source, names)[1].OtherPatientIDsSequence[0].PatientID == "Äö-1"


def test_what_is_absent_is_empty(tmp_path: Path) -> None:
    _, report = both(image(tmp_path, *PATIENT), PLAIN)
    assert all(not report[keyword].value for keyword in PATIENT)


@pytest.mark.parametrize("syntax", ["ImplicitVRLittleEndian", "DeflatedExplicitVRLittleEndian"])
def test_every_way_to_encode_a_header(tmp_path: Path, syntax: str) -> None:
    dataset = pydicom.dcmread(io.BytesIO(image(tmp_path)))
    dataset.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
    content = io.BytesIO()
    dataset.save_as(content, implicit_vr=syntax.startswith("Implicit"), little_endian=True)
    header, report = both(content.getvalue(), PLAIN)
    assert report.PatientName == header.PatientName


def test_errors_and_logs_hold_no_value(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    unknown = image(tmp_path, SOPClassUID="1.2.3.4.5", PatientSex="female", PatientName="Zzyzx")
    broken = image(tmp_path).replace(b"PID-7781", b"PID-\xff\xfe81")[:500]
    caplog.clear()  # of what pydicom said as these were written
    for source in (unknown, broken):
        with pytest.raises(ImageError) as caught:
            make_report(source, landmarks(PLAIN), MADE_BY)
        told = str(caught.value) + caplog.text
        sought = ("Zzyzx", "female", "7781", "1.2.3.4.5", *map(str, PATIENT.values()))
        assert not [value for value in sought if len(value) > 3 and value in told]


@pytest.mark.parametrize("frames", ["0", "1", "", None])
@pytest.mark.parametrize("kind", [_ONE_FRAME, _MULTI_FRAME])
def test_a_single_frame_is_no_frame(kind: str, frames: str | None, tmp_path: Path) -> None:
    number = {} if frames is None else {"NumberOfFrames": frames}
    report = make_report(image(tmp_path, SOPClassUID=kind, **number), landmarks(PLAIN), MADE_BY)
    dataset = pydicom.dcmread(io.BytesIO(report.content))
    assert not [each for each in dataset.iterall() if each.keyword == "ReferencedFrameNumber"]
    assert dataset.InstanceNumber == 1
    if shutil.which("dciodvfy") is not None:
        (tmp_path / "report.dcm").write_bytes(report.content)
        assert dicom3tools_faults(tmp_path / "report.dcm") == []


@pytest.mark.parametrize(
    ("absent", "words"),
    [
        (("SOPInstanceUID",), "got no SOP Instance UID, or none that can be one"),
        (("SOPInstanceUID", "Rows", "Columns"), "got no SOP Instance UID, or none that"),
        (("Rows",), r"got DICOM that cannot be read \(no Rows\)"),
    ],
)
def test_what_is_missing_is_named(absent: tuple[str, ...], words: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=words):
        read_source(image(tmp_path, *absent), "a.dcm")


@pytest.mark.parametrize("length", [300, 400, 480, 500, 700])
def test_a_header_that_is_cut_off(length: int, tmp_path: Path) -> None:
    words = "ends before its pixel data do|ends too early|got no .* UID"
    with pytest.raises(ImageError, match=words):
        read_source(image(tmp_path)[:length], "a.dcm")


def test_a_frame_is_referred_to(tmp_path: Path) -> None:
    from mahtrt.dicom.structured_report import ReportContent

    source = image(tmp_path, NumberOfFrames="3", PixelData=bytes(8 * 8 * 3))
    report = make_report(source, landmarks(PLAIN), MADE_BY, ReportContent(frame=2))
    other = make_report(source, landmarks(PLAIN), MADE_BY, ReportContent(frame=3))
    assert report.sop_instance_uid != other.sop_instance_uid
    dataset = pydicom.dcmread(io.BytesIO(report.content))
    point = dataset.ContentSequence[-1].ContentSequence[0].ContentSequence[-1]
    assert point.ContentSequence[0].ReferencedSOPSequence[0].ReferencedFrameNumber == 2
    for frame, mentions in ((None, "3 frames"), (4, "frame 4"), (0, "frame 0")):
        with pytest.raises(ImageError, match=mentions):
            make_report(source, landmarks(PLAIN), MADE_BY, ReportContent(frame=frame))
