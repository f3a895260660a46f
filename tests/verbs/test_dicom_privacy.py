"""Nothing that names a patient gets out of a header: not into results, pictures, logs or errors.

Names, identifiers and dates stand in 50 headers, in their own attributes and in those that mahtrt
reads, where they make the file wrong.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_files import write_dicom
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, RLELossless
from tiny_bundle import write_tiny

HEADERS = 50
PIXELS = np.random.default_rng(5).integers(0, 4096, (48, 64)).astype(np.uint16)
_FIRST = ("Quillan", "Octavia", "Zdenka", "Ferdinand", "Ysolde", "Thaddeus")
_LAST = ("Zzyzxberg", "Wrenmoore", "Krzyzewska", "Oyelaran", "Bjornstad", "Vandermolen")


def secrets_of(number: int) -> dict[str, str]:
    """What nobody may read of one patient."""
    draw = random.Random(number)
    digits = draw.randrange(10**6, 10**7)
    year, month, day = draw.randrange(1931, 1999), draw.randrange(1, 13), draw.randrange(1, 29)
    return {
        "last": f"{draw.choice(_LAST)}{number:02}",
        "first": f"{draw.choice(_FIRST)}{number:02}",
        "id": f"PID-{digits}",
        "accession": f"ACC{digits + 17}",
        "born": f"{year}{month:02}{day:02}",
        "study": f"{year + 60}{day % 12 + 1:02}{month:02}",
        "uid": f"1.2.826.0.1.3680043.{digits}.{number}",
    }


def named(path: Path, secret: dict[str, str], **fields: object) -> Path:
    """An image whose header is full of them."""
    name = f"{secret['last']}^{secret['first']}"
    note = f"{name} {secret['id']} {secret['born']}"
    other = Dataset()
    other.PatientID, other.PatientName = secret["id"], name
    window = {"WindowCenter": 2000, "WindowWidth": 3000, "WindowCenterWidthExplanation": note[:60]}
    return write_dicom(
        path,
        PIXELS,
        **{
            "PatientName": name,
            "PatientID": secret["id"],
            "PatientBirthDate": secret["born"],
            "StudyDate": secret["study"],
            "ContentDate": secret["study"],
            "AccessionNumber": secret["accession"],
            "StudyInstanceUID": UID(secret["uid"]),
            "SeriesInstanceUID": UID(f"{secret['uid']}.1"),
            "PatientComments": note,
            "ImageComments": note,
            "StudyDescription": note[:60],
            "OtherPatientIDsSequence": [other],
            "ReferencedPatientSequence": [other],
            "BitsStored": 12,
            **window,
            **fields,
        },
    )


def spoil(path: Path, secret: dict[str, str], number: int) -> None:
    """Write what names the patient where mahtrt, or pydicom for it, reads something else."""
    dataset = pydicom.dcmread(path)
    name = secret["last"]
    wrong: list[tuple[str, str, Any]] = [
        ("Modality", "CS", name),
        ("RescaleSlope", "LO", name),
        ("WindowCenter", "LO", [name, secret["id"]]),
        ("PixelSpacing", "LO", [name, secret["born"]]),
        ("PhotometricInterpretation", "CS", name),
        ("NumberOfFrames", "LO", name),
        ("VOILUTFunction", "CS", name),
        ("PatientOrientation", "CS", [name, secret["first"]]),
        ("ImageOrientationPatient", "LO", [name] * 6),
        ("BitsStored", "LO", name),
        ("Rows", "LO", name),
        ("SpecificCharacterSet", "CS", name),
        ("ModalityLUTSequence", "LO", name),
        ("SharedFunctionalGroupsSequence", "LO", name),
        ("FieldOfViewHorizontalFlip", "CS", name),
        ("SOPClassUID", "UI", f"{secret['uid']}.7"),
    ]
    keyword, vr, value = wrong[number % len(wrong)]
    dataset.add_new(keyword, vr, value)
    dataset.save_as(path)


def damage(path: Path, secret: dict[str, str], number: int) -> None:
    """Make the file one that cannot be decoded, in one of several ways."""
    dataset = pydicom.dcmread(path)
    content = path.read_bytes()
    match number % 5:
        case 0:
            path.write_bytes(content[:-1000])
        case 1:
            dataset.file_meta.TransferSyntaxUID = UID(secret["uid"])
            dataset.save_as(path, implicit_vr=False, little_endian=True, force_encoding=True)
        case 2:
            dataset.PixelData = encapsulate([secret["last"].encode() * 40])
            dataset.file_meta.TransferSyntaxUID = RLELossless
            dataset["PixelData"].is_undefined_length = True
            dataset.save_as(path)
        case 3:
            place = content.index(secret["last"].encode()) - 2
            path.write_bytes(content[:place] + b"\xff\x7f" + content[place + 2 :])
        case _:
            path.write_bytes(content[:700])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, and studies in folders that are called by their patients."""
    found = tmp_path_factory.mktemp("privacy")
    write_tiny(found / "tiny.mahtrt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of what is written here
        write_studies(found / "study")
    return found


def write_studies(top: Path) -> None:
    """The files of all patients."""
    for number in range(HEADERS):
        secret = secrets_of(number)
        folder = top / f"{secret['last']}_{secret['first']}" / secret["study"]
        folder.mkdir(parents=True)
        path = named(folder / f"{secret['uid']}.dcm", secret)
        if number % 3 == 1:
            spoil(path, secret, number // 3)
        elif number % 3 == 2:
            damage(path, secret, number // 3)


def told(text: str | bytes) -> list[str]:
    """What of all patients stands in a text."""
    plain = text if isinstance(text, bytes) else text.encode()
    found = [
        each
        for number in range(HEADERS)
        for each in secrets_of(number).values()
        if each.encode() in plain
    ]
    return sorted(set(found))


def contents(folder: Path) -> Iterator[bytes]:
    """Names and contents of all files, texts in pictures unpacked."""
    for path in sorted(folder.rglob("*")):
        yield path.relative_to(folder).as_posix().encode()
        if path.is_file():
            content = path.read_bytes()
            yield content
            place = content.find(b"zTXt")
            if place >= 0:
                yield zlib.decompress(content[content.index(b"\0\0", place) + 2 :])


def run(world: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    cache = {"MAHTRT_CACHE_DIR": str(world / "out" / "cache")}
    return subprocess.run(
        [sys.executable, "-m", "mahtrt.cli", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **cache},
        cwd=world,
        check=False,
    )


def test_predict_writes_and_says_nothing_of_patients(world: Path) -> None:
    out = world / "out"
    found = run(
        world,
        *("predict", "tiny.mahtrt", "study", "--skip-bad", "--debug"),
        *("--json", "out/found.json", "--csv", "out/found.csv", "--overlay", "out/overlays"),
    )
    assert found.returncode == 0, found.stderr
    images = json.loads((out / "found.json").read_text())["images"]
    counts = re.findall(r"left out(?: (\d+) images)?:", found.stderr)
    left_out = sum(int(count or 1) for count in counts)
    assert len(images) >= HEADERS // 3
    assert left_out >= HEADERS // 3
    assert len(images) + left_out <= HEADERS
    assert told(found.stdout + found.stderr) == []
    for content in contents(out):
        assert told(content) == []


def test_errors_and_traces_say_nothing_of_patients(world: Path) -> None:
    from mahtrt.data.datasets import open_dataset
    from mahtrt.errors import ImageError, MissingComponentError

    dataset = open_dataset(world / "study")
    assert told("".join(dataset.names)) == []
    wrong = 0
    for index in range(len(dataset)):
        try:
            assert told(str(dataset[index].dicom)) == []
        except (ImageError, MissingComponentError) as error:
            wrong += 1
            whole: BaseException | None = error
            while whole is not None:
                assert told(str(whole)) == []
                shown = None if whole.__suppress_context__ else whole.__context__
                whole = whole.__cause__ or shown
    assert wrong >= HEADERS // 3
    bad = next(index for index in range(len(dataset)) if _fails(dataset, index))
    found = run(world, "predict", "tiny.mahtrt", "study", "--debug")
    assert found.returncode == 1
    assert "Traceback" in found.stderr
    assert told(found.stdout + found.stderr) == []
    assert bad >= 0


def _fails(dataset: Any, index: int) -> bool:
    from mahtrt.errors import MahtrtError

    try:
        dataset[index]
    except MahtrtError:
        return True
    return False
