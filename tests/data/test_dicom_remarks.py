"""Headers that look wrong or need care, and files that are no whole DICOM: what is told of them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_files import write_dicom
from pydicom.encaps import encapsulate
from pydicom.uid import UID, JPEGLosslessSV1, JPEGLSLossless

from mahtrt.data.datasets import open_dataset
from mahtrt.data.dicom_damage import reading_dicom
from mahtrt.data.images import read_image
from mahtrt.errors import ImageError

PIXELS = np.arange(64, dtype=np.uint8).reshape(8, 8)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"BurnedInAnnotation": "YES"}, "text is burned into the pixels"),
        ({"PixelSpacing": [300, 300]}, "a pixel of 300 x 300 mm is not likely"),
        ({"WindowCenter": 30, "WindowWidth": 0}, "the window is ignored"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, "all pixels are alike"),
        ({"PresentationLUTShape": "INVERSE"}, "Presentation LUT Shape INVERSE is ignored"),
    ],
)
def test_what_needs_care_is_noted(fields: dict[str, object], expected: str, tmp_path: Path) -> None:
    found = read_image(write_dicom(tmp_path / "a.dcm", PIXELS, **fields)).dicom
    assert found is not None
    (note,) = found.remarks
    assert note.startswith(expected)
    assert note in found.to_dict()["notes"]


@pytest.mark.parametrize(
    ("pixels", "fields", "expected"),
    [
        (
            PIXELS,
            {"WindowCenter": "1e30", "WindowWidth": 10},
            "all pixels are alike: the rescaling",
        ),
        (np.full((8, 8), 5, np.uint16), {}, "all pixels are alike"),
        (np.full((8, 8, 3), 5, np.uint8), {"SamplesPerPixel": 3}, "all pixels are alike"),
    ],
)
def test_pixels_that_are_alike_are_noted(
    pixels: np.ndarray[Any, Any], fields: dict[str, object], expected: str, tmp_path: Path
) -> None:
    if "SamplesPerPixel" in fields:
        colours = {"PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
        path = write_dicom(tmp_path / "a.dcm", pixels[None], **fields, **colours)
    else:
        path = write_dicom(tmp_path / "a.dcm", pixels, **fields)
    found = read_image(path).dicom
    assert found is not None
    (remark,) = found.remarks
    assert remark.startswith(expected)
    assert (":" in remark) == (":" in expected)


def test_an_ordinary_header_has_no_remark(tmp_path: Path) -> None:
    fields = {"BurnedInAnnotation": "NO", "PixelSpacing": [0.1, 0.1], "RescaleSlope": 1}
    window = {"WindowCenter": 30, "WindowWidth": 40, "PresentationLUTShape": "IDENTITY"}
    found = read_image(write_dicom(tmp_path / "a.dcm", PIXELS, **fields, **window)).dicom
    assert found is not None
    assert found.remarks == ()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("keyword", ["WindowCenter", "RescaleSlope", "NumberOfFrames"])
def test_an_attribute_that_is_no_number_is_named(keyword: str, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(write_dicom(tmp_path / "a.dcm", PIXELS))
    dataset.WindowWidth = 30
    dataset.add_new(keyword, "LO", "Zzyzx")
    dataset.save_as(tmp_path / "a.dcm")
    name = pydicom.datadict.dictionary_description(keyword)
    with pytest.raises(ImageError, match=rf"\({name} is no number\)") as caught:
        read_image(tmp_path / "a.dcm")
    assert "Zzyzx" not in str(caught.value)


@pytest.mark.parametrize(
    ("syntax", "name"), [(JPEGLosslessSV1, "JPEG Lossless SV1"), (JPEGLSLossless, "JPEG-LS")]
)
def test_a_damaged_frame_names_its_coding(syntax: UID, name: str, tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs")
    pytest.importorskip("jpeg_ls")
    head, size = b"\xff\xd8", b"\x08\x00\x08\x00\x08\x01\x01\x11\x00"
    marker = b"\xff\xf7" if syntax == JPEGLSLossless else b"\xff\xc3"
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x01\x00\x00"
    frame = head + marker + b"\x00\x0b" + size + scan + b"\x01" * 9 + b"\xff\xd9"
    dataset = pydicom.dcmread(write_dicom(tmp_path / "a.dcm", PIXELS))
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(tmp_path / "a.dcm")
    with pytest.raises(ImageError, match=f"damaged {name}.* data, which cannot be decoded"):
        read_image(tmp_path / "a.dcm")


@pytest.mark.parametrize("place", ["value", "passed over"])
def test_a_file_that_is_cut_off_says_so(place: str, tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", PIXELS, ImageComments="x" * 100, PixelSpacing=[1, 1])
    content = path.read_bytes()
    at = content.index(b"x" * 100) + 20 if place == "passed over" else len(content) - 68
    path.write_bytes(content[:at])
    with pytest.raises(ImageError, match="got a file that ends before its pixel data do"):
        read_image(path)


@pytest.mark.parametrize("keyword", ["Rows", "Columns", "BitsAllocated", "BitsStored"])
@pytest.mark.parametrize("value", ["absent", None, [8, 8]])
def test_an_attribute_that_is_needed_is_named(keyword: str, value: object, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(write_dicom(tmp_path / "a.dcm", PIXELS))
    if value == "absent":
        del dataset[keyword]
    else:
        setattr(dataset, keyword, value)
    dataset.save_as(tmp_path / "a.dcm")
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path / "a.dcm")
    name = pydicom.datadict.dictionary_description(keyword)
    assert f"(no {name}, or several)" in str(caught.value)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("Zzyzx"), "damaged header"),
        (EOFError("Zzyzx"), "a header that ends too early"),
        (struct.error("Zzyzx"), "a header that ends too early"),
        (AttributeError("Zzyzx", name="PhotometricInterpretation"), "no Photometric Interpr"),
        (AttributeError("Zzyzx", name="Zzyzx"), "damaged header"),
    ],
)
def test_errors_of_libraries_are_words(error: Exception, words: str) -> None:
    with pytest.raises(ImageError) as caught, reading_dicom("a.dcm", "header"):
        raise error
    assert words in str(caught.value)
    assert "Zzyzx" not in str(caught.value)
    assert "Error" not in str(caught.value)


def test_frames_are_counted_from_one(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", np.stack([PIXELS] * 2), NumberOfFrames=2)
    with pytest.raises(ImageError, match="got frame 0; expected a frame from 1 to 2"):
        read_image(path.with_name("a.dcm#0"))


@pytest.mark.parametrize("left_out", [128, 132])
def test_files_without_a_preamble_are_read(left_out: int, tmp_path: Path) -> None:
    for name in ("a.dcm", "IM1"):
        path = write_dicom(tmp_path / name, PIXELS)
        path.write_bytes(path.read_bytes()[left_out:])
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 2
    assert all(np.array_equal(sample.image, PIXELS) for sample in dataset)


def test_a_file_that_begins_otherwise_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"nothing of the kind" * 20)
    with pytest.raises(ImageError, match="does not begin as DICOM files do"):
        read_image(tmp_path / "a.dcm")
