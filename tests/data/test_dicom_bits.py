"""High Bit: where stored values lie within the bits that are allocated for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_encoders import by_pydicom
from dicom_files import write_dicom
from pydicom.uid import ExplicitVRBigEndian, JPEGLSLossless, RLELossless

from mahtrt.data.images import read_image
from mahtrt.errors import ImageError

SIGNED = np.arange(-2048, 2048, dtype=np.int16).reshape(64, 64)
TWELVE = {"BitsStored": 12}


def as_big_endian(path: Path) -> Path:
    read, dataset = pydicom.dcmread(path), pydicom.Dataset()
    for element in read:
        dataset.add(element)  # without the coding that it was read in
    dataset.PixelData = np.frombuffer(read.PixelData, "<u2").byteswap().tobytes()
    dataset.file_meta, dataset.preamble = read.file_meta, read.preamble
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("encoding", ["plain", "big", "rle"])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("high", [11, 13, 15])
def test_values_lie_where_high_bit_says(
    high: int, signed: bool, encoding: str, tmp_path: Path
) -> None:
    values = SIGNED if signed else SIGNED + 2048
    below = high - 11
    mask = 0x0FFF << below
    words = (values.astype(np.uint16) << below & mask) | (0x5A5A & ~mask)  # overlays around it
    path = write_dicom(
        tmp_path / "a.dcm",
        words.astype(np.uint16),
        **TWELVE,
        HighBit=high,
        PixelRepresentation=int(signed),
    )
    if encoding == "rle":
        path = by_pydicom(path, RLELossless)
    elif encoding == "big":
        path = as_big_endian(path)
    plain = write_dicom(
        tmp_path / "b.dcm", values.astype(np.int16 if signed else np.uint16), **TWELVE
    )
    assert np.array_equal(read_image(path).pixels, read_image(plain).pixels)


def test_a_code_stream_holds_the_values_whatever_high_bit_says(tmp_path: Path) -> None:
    values = (SIGNED + 2048).astype(np.uint16)
    path = by_pydicom(write_dicom(tmp_path / "a.dcm", values, **TWELVE), JPEGLSLossless)
    expected = read_image(path).pixels
    dataset = pydicom.dcmread(path)
    dataset.HighBit = 15
    dataset.save_as(path)
    assert np.array_equal(read_image(path).pixels, expected)


@pytest.mark.parametrize(
    "fields",
    [
        {"BitsStored": 12, "HighBit": 10},
        {"BitsStored": 12, "HighBit": 16},
        {"BitsStored": 12, "HighBit": 15, "SamplesPerPixel": 2},
    ],
)
def test_a_high_bit_that_cannot_be(fields: dict[str, object], tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", np.ones((4, 4), np.uint16), **fields)
    told = f"High Bit {fields['HighBit']} with 12 bits stored of 16 allocated; expected 11"
    with pytest.raises(ImageError, match=told):
        read_image(path)


def test_compressed_samples_of_more_bits_than_are_stored(tmp_path: Path) -> None:
    values = (SIGNED + 2048).astype(np.uint16) << 4
    path = by_pydicom(write_dicom(tmp_path / "a.dcm", values, BitsStored=16), JPEGLSLossless)
    dataset = pydicom.dcmread(path)
    dataset.BitsStored = 12  # and High Bit 15
    dataset.save_as(path)
    with pytest.raises(ImageError, match=r"High Bit 15 .* and compressed samples of 16"):
        read_image(path)
