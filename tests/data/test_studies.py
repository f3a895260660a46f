"""Folders of studies: which files are images, and what they are called."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import write_dicom
from PIL import Image
from pydicom.uid import UID

from mahtrt.data.datasets import open_dataset
from mahtrt.data.dicom_header import dicom_header, start_of_file
from mahtrt.data.file_dataset import FileDataset
from mahtrt.data.readers import read_folder
from mahtrt.data.studies import hidden
from mahtrt.errors import DataError, ImageError

PIXELS = np.arange(64, dtype=np.uint8).reshape(8, 8)
SR = UID("1.2.840.10008.5.1.4.1.1.88.11")


def without_pixels(path: Path, kind: UID) -> Path:
    """A DICOM object of some class that has no image."""
    dataset = pydicom.dcmread(write_dicom(path, PIXELS))
    for keyword in ("PixelData", "Rows", "Columns"):
        del dataset[keyword]
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = kind
    dataset.save_as(path)
    return path


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """An export: folders, files without an ending, and objects that are no images."""
    series = tmp_path / "export" / "S1" / "10"
    series.mkdir(parents=True)
    write_dicom(series / "IM10", PIXELS)
    write_dicom(series / "IM9", PIXELS)
    write_dicom(series / "1.2.826.0.1.3680043.8", PIXELS)
    write_dicom(tmp_path / "export" / "S1" / "a.dcm", PIXELS)
    without_pixels(tmp_path / "export" / "DICOMDIR", UID("1.2.840.10008.1.3.10"))
    without_pixels(series / "report.dcm", SR)
    without_pixels(series / "SR2", SR)
    write_dicom(series / "seg.dcm", PIXELS, SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4")
    (series / "readme").write_text("no image " * 40)
    (series / "notes.txt").write_text("DICM")
    return tmp_path / "export"


def test_images_are_found_and_the_rest_is_counted(study: Path) -> None:
    passed_over: Counter[str] = Counter()
    entries = read_folder(study, passed_over)
    paths = [entry.path.relative_to(study).as_posix() for entry in entries]
    assert paths == ["S1/10/1.2.826.0.1.3680043.8", "S1/10/IM9", "S1/10/IM10", "S1/a.dcm"]
    assert [Path(entry.name).suffix for entry in entries] == ["", "", "", ".dcm"]
    assert [entry.name.count("/") for entry in entries] == [2, 2, 2, 1]
    assert passed_over == {
        "Basic Text SR Storage": 2,
        "Media Storage Directory Storage": 1,
        "Segmentation Storage": 1,
    }


@pytest.mark.parametrize("undefined_length", [False, True])
def test_a_directory_says_what_it_is_in_its_meta_group_alone(
    undefined_length: bool, tmp_path: Path
) -> None:
    directory = without_pixels(tmp_path / "DICOMDIR", UID("1.2.840.10008.1.3.10"))
    dataset = pydicom.dcmread(directory)
    del dataset.SOPClassUID, dataset.SOPInstanceUID  # PS3.3 F.3.2.2: it has none
    record = pydicom.Dataset()
    record.DirectoryRecordType, record.PatientName = "PATIENT", "Zzyzx^Quillan"
    dataset.FileSetID, dataset.DirectoryRecordSequence = "DISC", [record] * 20_000
    dataset["DirectoryRecordSequence"].is_undefined_length = undefined_length
    dataset.save_as(directory)
    assert directory.stat().st_size > 2**18  # more than the first look takes
    header = dicom_header(start_of_file(directory), directory.suffix)
    assert header is not None
    assert header.kind == "Media Storage Directory Storage"


@pytest.mark.skipif(shutil.which("dcmmkdir") is None, reason="no program dcmmkdir (dcmtk)")
def test_a_directory_of_dcmtk_is_no_image(tmp_path: Path) -> None:
    uids = {name: f"1.2.3.{n}" for n, name in enumerate(("StudyInstanceUID", "SeriesInstanceUID"))}
    told = {"PatientID": "1", "PatientName": "A", "StudyDate": "20200101", "StudyTime": "1200"}
    numbers = {"StudyID": "1", "SeriesNumber": 1, "InstanceNumber": 1, "Modality": "OT"}
    write_dicom(tmp_path / "IM1", PIXELS, **uids, **told, **numbers)
    subprocess.run(["dcmmkdir", "+r", "+I"], cwd=tmp_path, check=True, capture_output=True)
    passed_over: Counter[str] = Counter()
    (image,) = read_folder(tmp_path, passed_over)
    assert image.path.name == "IM1"
    assert passed_over == {"Media Storage Directory Storage": 1}


def test_a_data_set_tells_what_it_passed_over(study: Path) -> None:
    dataset = open_dataset(study)
    assert isinstance(dataset, FileDataset)
    assert len(dataset) == 4
    assert all(sample.image.shape == (8, 8) for sample in dataset)
    (note,) = dataset.notes
    assert note.startswith("passed over 4 DICOM object(s) without an image: 2 Basic Text SR Sto")


def test_annotations_beside_them_name_the_files(study: Path) -> None:
    (study / "points.csv").write_text("file,x,y\nS1/10/IM9,1,2\nS1/a.dcm,3,4\n")
    dataset = open_dataset(study / "points.csv")
    assert list(dataset.names) == ["S1/10/IM9", "S1/a.dcm"]  # named by the user
    assert dataset[0].points_px.tolist() == [[1, 2]]
    (study / "plain.csv").write_text("S1/10/IM9,1,2\n")
    assert len(open_dataset(study / "plain.csv")) == 1


def test_a_folder_of_other_objects_says_so(tmp_path: Path) -> None:
    without_pixels(tmp_path / "report.dcm", SR)
    with pytest.raises(DataError, match=r"without images \(passed over 1 DICOM object"):
        open_dataset(tmp_path)


def test_a_damaged_file_is_told_when_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(bytes(128) + b"DICM" + b"\x02\x00\xff\xff" * 100)
    write_dicom(tmp_path / "b.dcm", PIXELS)
    with pytest.raises(ImageError, match=r"[0-9a-f]{12}\.dcm: got no pixel data"):
        open_dataset(tmp_path)[0]
    rest = open_dataset(tmp_path, skip_bad=True)
    assert isinstance(rest, FileDataset)
    (hidden_name,) = rest.skipped  # nobody knows whether it names a patient
    assert re.fullmatch(r"[0-9a-f]{12}\.dcm", hidden_name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_fifo_is_not_waited_for(study: Path) -> None:
    os.mkfifo(study / "IM1")
    os.mkfifo(study / "x.dcm")
    assert len(open_dataset(study)) == 4


def test_a_large_header_is_looked_through(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "IM1", PIXELS)
    dataset = pydicom.dcmread(path)
    dataset.add_new((0x0009, 0x0010), "LO", "MAHTRT")
    dataset.add_new((0x0009, 0x1001), "OB", bytes(2**19))
    dataset.save_as(path)
    header = dicom_header(start_of_file(path), path.suffix)
    assert header is not None
    assert (header.kind, header.frames) == ("", 1)


def test_a_report_is_known_behind_a_long_sequence(tmp_path: Path) -> None:
    report = without_pixels(tmp_path / "report.dcm", SR)
    dataset, item = pydicom.dcmread(report), pydicom.Dataset()
    item.CodeMeaning = "x" * 60
    dataset.ProcedureCodeSequence = [item] * 5000
    dataset["ProcedureCodeSequence"].is_undefined_length = True  # cut off by the first look
    dataset.save_as(report)
    header = dicom_header(start_of_file(report), report.suffix)
    assert header is not None
    assert header.kind == "Basic Text SR Storage"


# A patient, a date, a number or a hospital as exports write them, which no header tells so.
TELLING = (
    *("MUELLER_JUERGEN", "mueller", "Muller", "muellerj", "17.03.2025", "17032025", "31.12.1951"),
    *("03-17-2025", "170325", "4711-88", "998877", "H_Grubenw", "Müller^Jürgen", "MRN4711-88"),
)
HEADER = {
    "PatientName": "Müller^Jürgen",
    "SpecificCharacterSet": "ISO_IR 100",
    "PatientID": "MRN4711-88",
    "PatientBirthDate": "19511231",
    "StudyDate": "20250317",
    "AccessionNumber": "ACC998877",
    "InstitutionName": "Klinik Grubenweg",
}


@pytest.mark.parametrize("telling", TELLING)
def test_no_part_of_a_path_below_a_folder_is_told(telling: str, tmp_path: Path) -> None:
    for place in (f"{telling}/IM1", f"S1/{telling}.dcm", f"S2/{telling}/a.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        write_dicom(tmp_path / place, PIXELS, **HEADER)
    dataset = open_dataset(tmp_path)
    names = sorted(dataset.names, key=len)
    assert len(names) == 3
    assert all(re.fullmatch(r"([0-9a-f]{12}/)+[0-9a-f]{12}(\.dcm|\.png)?", name) for name in names)
    assert open_dataset(tmp_path).names == dataset.names


def test_one_folder_is_called_alike_whatever_its_files_say(tmp_path: Path) -> None:
    folder = tmp_path / "MUELLER_JUERGEN"
    folder.mkdir()
    study = {"StudyInstanceUID": UID("1.2.3")}
    write_dicom(folder / "a.dcm", PIXELS, **HEADER, **study)
    write_dicom(folder / "b.dcm", PIXELS, **study)  # without its patient
    (folder / "c.dcm").write_bytes((folder / "a.dcm").read_bytes()[:200])
    (folder / "d.dcm").write_bytes(b"")
    names = [entry.name for entry in read_folder(tmp_path)]
    assert names[0].split("/")[0] == names[1].split("/")[0]
    assert not [name for name in names if "MUELLER" in name]


def test_other_files_keep_their_names(tmp_path: Path) -> None:
    (tmp_path / "S1").mkdir()
    Image.fromarray(PIXELS).save(tmp_path / "S1" / "a.png")
    write_dicom(tmp_path / "S1" / "b.dcm", PIXELS)
    names = [entry.name for entry in read_folder(tmp_path)]
    assert names[0] == "S1/a.png"
    assert not names[1].startswith("S1/")


def test_names_are_hidden_where_pydicom_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dicom(tmp_path / "mueller", PIXELS)
    monkeypatch.setitem(sys.modules, "pydicom.filereader", None)
    (entry,) = read_folder(tmp_path)
    assert re.fullmatch("[0-9a-f]{12}", entry.name)


def test_folders_that_differ_name_nobody(tmp_path: Path) -> None:
    for visit, name in (("baseline", "mueller.dcm"), ("followup", "meier.dcm")):
        (tmp_path / visit).mkdir()
        write_dicom(tmp_path / visit / name, PIXELS)
    with pytest.raises(DataError, match="lacks") as caught:
        open_dataset(tmp_path, inputs=("baseline", "followup"))
    assert "mueller" not in str(caught.value)
    assert "meier" not in str(caught.value)


def test_digests_are_salted_with_the_study() -> None:
    found = hidden("export/hans/IM1.dcm", "1.2.3")
    assert hidden("export/hans/IM2.dcm", "1.2.3").split("/")[:2] == found.split("/")[:2]
    # Nobody can look a name up in a table of digests.
    assert not {*hidden("export/hans/IM1.dcm", "1.2.4").split("/")} & {*found.split("/")}


def test_a_file_without_a_study_is_salted_with_its_content(tmp_path: Path) -> None:
    names = set()
    for number, content in enumerate((b"one", b"two")):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "hans.dcm").write_bytes(content)
        names |= {entry.name for entry in read_folder(folder)}
    assert len(names) == 2


def test_messages_and_names_of_a_study_name_no_patient(tmp_path: Path) -> None:
    folder = tmp_path / "Mueller^Hans"
    folder.mkdir()
    write_dicom(folder / "IM1", PIXELS, PatientName="Mueller^Hans")
    write_dicom(folder / "IM2", PIXELS[:, :4], PatientName="Mueller^Hans", Columns=8)
    dataset = open_dataset(tmp_path)
    assert not [name for name in dataset.names if "uelle" in name]
    assert dataset[0].image.shape == (8, 8)
    with pytest.raises(ImageError) as caught:
        dataset[1]
    assert "uelle" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_pairs_of_a_study_name_no_patient(tmp_path: Path) -> None:
    for visit in ("baseline", "followup"):
        folder = tmp_path / visit / "Mueller^Hans"
        folder.mkdir(parents=True)
        write_dicom(folder / "IM1.dcm", PIXELS, PatientName="Mueller^Hans")
        write_dicom(folder / "IM2.dcm", PIXELS, PatientName="Mueller^Hans")
    broken = tmp_path / "followup/Mueller^Hans/IM2.dcm"
    broken.write_bytes(broken.read_bytes()[:-20])
    dataset = open_dataset(tmp_path, inputs=("baseline", "followup"))
    assert len(dataset) == 2
    assert not [name for name in dataset.names if "uelle" in name]
    assert len(dataset[0].others) == 1
    with pytest.raises(ImageError) as caught:
        dataset[1]
    assert "uelle" not in str(caught.value)
