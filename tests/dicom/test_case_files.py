"""Reports and markups as ``predict`` writes them, and what it refuses."""

from __future__ import annotations

import errno
import json
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import PATIENT, write_patient_image
from foreign_network import run
from own_quantities import write_quantities
from PIL import Image
from tiny_network import make_image

import mahtrt
from mahtrt import files
from mahtrt.dicom.case_files import MarkupsWriter, ReportWriter
from mahtrt.errors import BuildError, ImageError, MissingComponentError, UsageError

sr = pytest.importorskip("highdicom.sr", reason="the extra dicom is not installed")


def images(folder: Path, count: int = 2) -> list[Path]:
    """DICOM images in colours, of which the landmarks are known."""
    folder.mkdir(exist_ok=True)
    made = []
    for i in range(count):
        pixels = make_image(i)[0]
        colours = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}
        size = {"Rows": pixels.shape[0], "Columns": pixels.shape[1], "PlanarConfiguration": 0}
        path = folder / f"{i}.dcm"
        made.append(write_patient_image(path, pixels, **colours, **size))
    return made


def predict(bundle: Path, paths: list[Path], *writers: ReportWriter | MarkupsWriter) -> Any:
    options = mahtrt.PredictOptions(bundle, paths, engine="onnxruntime", threads=1, writers=writers)
    return mahtrt.predict(options)


def test_each_image_has_a_report_and_points(tiny_bundle: Path, tmp_path: Path) -> None:
    paths = images(tmp_path / "in")
    out, slicer = tmp_path / "sr", tmp_path / "slicer"
    result = predict(tiny_bundle, paths, ReportWriter(out), MarkupsWriter(slicer))
    assert any("no pixel spacing" in note for note in result.notes)
    for i, prediction in enumerate(result.predictions):
        place = Path(prediction.extra["dicom_sr"])
        report = sr.srread(place)
        assert place == out / f"{report.SOPInstanceUID}.dcm"
        groups = report.content.get_planar_roi_measurement_groups()
        points = np.array([group.roi.value[0] for group in groups]) - 0.5
        assert np.abs(points - prediction.landmarks.points).max() < 0.001
        (markup,) = json.loads((slicer / f"{i}.mrk.json").read_text())["markups"]
        places = np.array([point["position"] for point in markup["controlPoints"]])
        assert np.abs(places[:, :2] - prediction.landmarks.points).max() < 1e-5
    assert len(list(out.iterdir())) == 2


def test_again_gives_the_same_files(tiny_bundle: Path, tmp_path: Path) -> None:
    paths = images(tmp_path / "in")
    for _ in range(2):
        predict(tiny_bundle, paths, ReportWriter(tmp_path / "sr"))
        names = sorted(place.name for place in (tmp_path / "sr").iterdir())
        assert len(names) == 2


def test_each_frame_has_a_report(tiny_bundle: Path, tmp_path: Path) -> None:
    frames = np.stack([make_image(i)[0].max(axis=2) for i in range(3)])
    size = {"Rows": 32, "Columns": 48, "NumberOfFrames": "3"}
    path = write_patient_image(tmp_path / "run.dcm", frames, **size)
    writers = (ReportWriter(tmp_path / "sr"), MarkupsWriter(tmp_path / "slicer"))
    result = predict(tiny_bundle, [path], *writers)
    referred = []
    for prediction in result.predictions:
        report = sr.srread(prediction.extra["dicom_sr"])
        for group in report.content.get_planar_roi_measurement_groups():
            reference = group.roi.ContentSequence[0].ReferencedSOPSequence[0]
            referred.append(int(reference.ReferencedFrameNumber))
        assert report.InstanceNumber == prediction.extra["dicom"]["frame"]
    assert referred == [1] * 3 + [2] * 3 + [3] * 3
    assert len(list((tmp_path / "slicer").iterdir())) == 3


def test_without_a_spacing_angles_are_there_and_lengths_are_not(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    for spacing_mm, kept in ((None, ["RGB"]), (0.5, ["RGB", "R-G"])):
        out = tmp_path / str(spacing_mm)
        options = mahtrt.PredictOptions(
            tiny_bundle,
            images(tmp_path / "in", 1),
            engine="onnxruntime",
            threads=1,
            quantities=write_quantities(tmp_path),
            spacing_mm=spacing_mm,
            writers=[ReportWriter(out)],
        )
        result = mahtrt.predict(options)
        (place,) = out.iterdir()
        (group,) = sr.srread(place).content.get_image_measurement_groups()
        assert [each.name.value for each in group.get_measurements()] == kept
        rests = group.get_measurements()[0].referenced_coordinates[0]
        assert np.abs(rests.value - 0.5 - result.predictions[0].landmarks.points).max() < 0.001
        told = "left out of the DICOM reports: R-G (no value)."
        assert (told in result.notes) == (spacing_mm is None)


def test_what_names_the_patient_is_in_the_report_alone(
    tiny_bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    paths = images(tmp_path / "in", 1)
    single = write_patient_image(
        tmp_path / "in/one.dcm", np.zeros((32, 48), np.uint8), PatientName="Zzyzx", PatientSex="X"
    )
    out = (f"--dicom-sr={tmp_path / 'sr'}", f"--slicer={tmp_path / 'slicer'}", "--json=-")
    result = run("predict", tiny_bundle, *paths, single, *out, "--threads=1")
    assert result.exit_code == 0, result.output
    told = result.stdout + result.stderr + caplog.text
    told += "".join(place.read_text() for place in (tmp_path / "slicer").iterdir())
    told += " ".join(place.name for place in tmp_path.rglob("*"))
    sought = [str(value) for value in PATIENT.values() if len(str(value)) > 4]
    assert not [value for value in ("Zzyzx", *sought) if value in told]
    reports = b"".join(place.read_bytes() for place in (tmp_path / "sr").iterdir())
    assert all(value.encode() in reports for value in sought)


def test_an_image_that_is_no_dicom_is_named(tiny_bundle: Path, tmp_path: Path) -> None:
    picture = tmp_path / "head.png"
    Image.fromarray(make_image(0)[0]).save(picture)
    with pytest.raises(ImageError, match=r"head\.png: got a file that is not DICOM"):
        predict(tiny_bundle, [*images(tmp_path / "in"), picture], ReportWriter(tmp_path / "sr"))
    assert not (tmp_path / "sr").exists()
    predict(tiny_bundle, [picture], MarkupsWriter(tmp_path / "head.mrk.json"))
    assert (tmp_path / "head.mrk.json").is_file()


def test_a_file_where_the_folder_of_reports_should_be(tiny_bundle: Path, tmp_path: Path) -> None:
    (image,) = images(tmp_path / "in", 1)
    with pytest.raises(UsageError, match=r"--dicom-sr: got the file .*0\.dcm; expected a folder"):
        predict(tiny_bundle, [image], ReportWriter(image))


def test_codes_of_no_landmark_are_told(tiny_bundle: Path, tmp_path: Path) -> None:
    table = tmp_path / "codes.toml"
    code = 'code = { scheme = "99X", value = "1", meaning = "One" }'
    names = ('["Menton", "Me"]', '["Red", "red_one"]')
    entries = "".join(f"[[landmark]]\nnames = {each}\n{code}\n" for each in names)
    table.write_text(f'schema = "mahtrt.landmark-codes/1"\n{entries}')
    result = predict(tiny_bundle, images(tmp_path / "in", 1), ReportWriter(tmp_path / "sr", table))
    (note,) = (note for note in result.notes if "codes.toml" in note)
    assert "Menton" in note
    assert "Red" not in note


def test_a_network_without_landmarks(maps_bundle: Path, tmp_path: Path) -> None:
    for writer in (ReportWriter(tmp_path / "sr"), MarkupsWriter(tmp_path / "a.mrk.json")):
        with pytest.raises(UsageError, match="gives map, logits; expected one with landmarks"):
            predict(maps_bundle, images(tmp_path / "in"), writer)


def test_one_file_of_points_is_for_one_image(tiny_bundle: Path, tmp_path: Path) -> None:
    writer = MarkupsWriter(tmp_path / "a.mrk.json")
    with pytest.raises(UsageError, match="for 2 images"):
        predict(tiny_bundle, images(tmp_path / "in"), writer)


def test_two_images_that_claim_to_be_one(tiny_bundle: Path, tmp_path: Path) -> None:
    first, second = images(tmp_path / "in")
    copied = tmp_path / "copied.dcm"
    copied.write_bytes(first.read_bytes())
    predict(tiny_bundle, [first, first], ReportWriter(tmp_path / "sr"))
    ran: list[str] = []

    def note(stage: str, done: int, total: int, detail: str = "") -> None:
        ran.append(stage)

    options = mahtrt.PredictOptions(
        tiny_bundle,
        [first, second, copied],
        engine="onnxruntime",
        threads=1,
        writers=[ReportWriter(tmp_path / "sr")],
    )
    with pytest.raises(ImageError, match=r"copied\.dcm: got the same SOP Instance UID as .*0\.dcm"):
        mahtrt.predict(options, note)
    assert "predicting" not in ran  # before the work, not after it
    result = mahtrt.predict(replace(options, skip_bad=True))
    assert [Path(each.image).name for each in result.predictions] == ["0.dcm", "1.dcm"]
    assert any("copied.dcm: got the same SOP Instance UID" in note for note in result.notes)


@pytest.mark.parametrize("content", [b"", b"no image", b"\0" * 128 + b"DICM" + b"\xff" * 60])
def test_a_broken_image_is_left_out_with_reports_too(
    tiny_bundle: Path, tmp_path: Path, content: bytes
) -> None:
    good, broken = *images(tmp_path / "in", 1), tmp_path / "in" / "broken.dcm"
    broken.write_bytes(content)
    (tmp_path / "in" / "text.txt").write_text("no image")
    out = (f"--dicom-sr={tmp_path / 'sr'}", f"--overlay={tmp_path / 'drawn'}", "--threads=1")
    result = run("predict", tiny_bundle, good, broken, *out)
    assert result.exit_code == 1
    assert "broken.dcm" in result.stderr
    assert not (tmp_path / "sr").exists()
    result = run("predict", tiny_bundle, good, broken, *out, "--skip-bad")
    assert result.exit_code == 0, result.output
    assert "note: left out: " in result.stderr
    assert len(list((tmp_path / "sr").iterdir())) == len(list((tmp_path / "drawn").iterdir())) == 1


def test_an_image_that_no_report_can_belong_to_is_left_out_with_its_picture(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    pixels = make_image(0)[0].max(axis=2)
    strange = write_patient_image(tmp_path / "strange.dcm", pixels, SOPClassUID="1.2.3.4")
    out = (f"--dicom-sr={tmp_path / 'sr'}", f"--overlay={tmp_path / 'drawn'}", "--threads=1")
    result = run("predict", tiny_bundle, strange, *images(tmp_path / "in", 1), *out, "--skip-bad")
    assert result.exit_code == 0, result.output
    assert "strange.dcm: got an SOP Class UID that the DICOM standard does not" in result.stderr
    assert "KeyError" not in result.stderr
    assert len(list((tmp_path / "sr").iterdir())) == len(list((tmp_path / "drawn").iterdir())) == 1


def test_a_report_says_what_its_millimetres_rest_on(tiny_bundle: Path, tmp_path: Path) -> None:
    pixels = make_image(0)[0].max(axis=2)
    image = write_patient_image(
        tmp_path / "a.dcm", pixels, ImagerPixelSpacing=["0.5", "0.5"], Modality="DX"
    )
    for given, plane, source, notes in (
        (None, "detector", "ImagerPixelSpacing", 1),
        (0.4, "unknown", "--spacing-mm", 0),
    ):
        out = tmp_path / str(given)
        options = mahtrt.PredictOptions(
            tiny_bundle,
            [image],
            engine="onnxruntime",
            threads=1,
            quantities=write_quantities(tmp_path),
            spacing_mm=given,
            writers=[ReportWriter(out)],
        )
        mahtrt.predict(options)
        (place,) = out.iterdir()
        (group,) = sr.srread(place).content.get_image_measurement_groups()
        (evaluation,) = group.get_qualitative_evaluations()
        assert evaluation.value.value == plane
        texts = [str(each.TextValue) for each in group[0].ContentSequence if "TextValue" in each]
        assert source in texts
        assert sum("lengths in the patient are smaller" in text for text in texts) == notes


def test_a_full_disk_leaves_what_was_there(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, out = images(tmp_path / "in"), tmp_path / "sr"
    predict(tiny_bundle, paths[:1], ReportWriter(out))
    (old,) = out.iterdir()
    before, write = old.read_bytes(), files.write_bytes
    written: list[Path] = []

    def full(path: Path, data: bytes) -> None:
        written.append(path)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, data)

    monkeypatch.setattr(files, "write_bytes", full)
    with pytest.raises(BuildError, match="full disk"):
        predict(tiny_bundle, paths, ReportWriter(out))
    assert [place.read_bytes() for place in out.iterdir()] == [before]


def test_without_highdicom(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    for name in [name for name in sys.modules if name.partition(".")[0] == "highdicom"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(MissingComponentError, match=r"mahtrt\[dicom\]"):
        predict(tiny_bundle, images(tmp_path / "in"), ReportWriter(tmp_path / "sr"))


def test_codes_without_a_report(tiny_bundle: Path, tmp_path: Path) -> None:
    result = run("predict", tiny_bundle, "x.dcm", f"--landmark-codes={tmp_path / 'a.toml'}")
    assert result.exit_code == 2
    assert "error: --landmark-codes: got no --dicom-sr" in result.stderr
