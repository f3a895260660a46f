"""DICOM files that claim or unpack to far more than they hold."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_files import write_dicom
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from mahtrt.data import dicom_file
from mahtrt.data.images import read_image_and_spacing
from mahtrt.errors import ImageError

PIXELS = np.arange(64, dtype=np.uint8).reshape(8, 8)


def deflated(path: Path, body: bytes) -> Path:
    """A file with a whole meta group, and any deflated data set."""
    dataset = pydicom.dcmread(write_dicom(path, PIXELS))
    meta = DicomBytesIO()
    meta.is_little_endian, meta.is_implicit_VR = True, False
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    pydicom.filewriter.write_file_meta_info(meta, dataset.file_meta)
    path.write_bytes(bytes(128) + b"DICM" + meta.getvalue() + body)
    return path


def compressed(path: Path, syntax: UID, frame: bytes, **fields: object) -> Path:
    """A file whose pixels are ``frame``, in a transfer syntax that compresses."""
    dataset = pydicom.dcmread(write_dicom(path, PIXELS, **fields))
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    return path


def test_deflated_files_are_read(tmp_path: Path) -> None:
    whole = write_dicom(tmp_path / "a.dcm", PIXELS, PixelSpacing=[0.2, 0.1]).read_bytes()
    body = whole[whole.index(b"\x08\x00\x16\x00UI") :]
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    path = deflated(tmp_path / "b.dcm", packer.compress(body) + packer.flush())
    image, spacing = read_image_and_spacing(path)
    assert np.array_equal(image, PIXELS)
    assert spacing == (0.2, 0.1)


def test_a_deflated_file_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    path = deflated(tmp_path / "a.dcm", block * 300)
    with pytest.raises(ImageError, match="deflated data that unpacks to over"):
        read_image_and_spacing(path)


def test_sizes_that_are_claimed_are_checked_first(tmp_path: Path) -> None:
    for number, fields in enumerate(
        ({"Rows": 65535, "Columns": 65535}, {"Rows": 9000, "Columns": 9000, "SamplesPerPixel": 3})
    ):
        path = write_dicom(tmp_path / f"{number}.dcm", PIXELS, **fields)
        with pytest.raises(ImageError, match=r"pixels; expected at most"):
            read_image_and_spacing(path)


def picture_bytes(format: str, size: tuple[int, int]) -> bytes:
    stream = io.BytesIO()
    Image.new("L", size).save(stream, format=format)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("syntax", "format"), [(JPEGBaseline8Bit, "JPEG"), (JPEG2000Lossless, "JPEG2000")]
)
def test_a_compressed_image_larger_than_the_file_says_is_refused(
    tmp_path: Path, syntax: UID, format: str
) -> None:
    frame = picture_bytes(format, (8, 8))
    good = compressed(tmp_path / "good.dcm", syntax, frame)
    assert read_image_and_spacing(good)[0].shape == (8, 8)
    if format == "JPEG":
        place = frame.index(b"\xff\xc0") + 5
        frame = frame[:place] + struct.pack(">HH", 60_000, 60_000) + frame[place + 4 :]
    else:
        place = frame.index(b"\xff\x4f\xff\x51") + 8
        frame = frame[:place] + struct.pack(">LL", 60_000, 60_000) + frame[place + 8 :]
    with pytest.raises(ImageError, match=r"60000x60000 pixels"):
        read_image_and_spacing(compressed(tmp_path / "a.dcm", syntax, frame))


def with_size(frame: bytes, size: int) -> bytes:
    """A JPEG that tells another size."""
    place = frame.index(b"\xff\xc0") + 5
    return frame[:place] + struct.pack(">HH", size, size) + frame[place + 4 :]


def hidden_sizes() -> dict[str, tuple[UID, bytes, str]]:
    """Images that tell a size that a careless look does not find."""
    small, large = picture_bytes("JPEG", (8, 8)), with_size(picture_bytes("JPEG", (8, 8)), 60_000)
    place = large.index(b"\xff\xc0")
    jp2 = picture_bytes("JPEG2000", (8, 8))
    start = jp2.index(b"\xff\x4f\xff\x51")
    decoy = struct.pack(">L4s", 8 + 60, b"free") + jp2[start : start + 60]
    stream = jp2[start : start + 8] + struct.pack(">LL", 60_000, 60_000) + jp2[start + 16 :]
    named = jp2.index(b"ihdr") + 4
    header = jp2[:named] + struct.pack(">LL", 60_000, 60_000) + jp2[named + 8 :]
    pixels, segments = "60000x60000 pixels", "belong to no segment"
    return {
        "fill bytes": (JPEGBaseline8Bit, large[:place] + b"\xff\xff" + large[place:], pixels),
        "junk": (JPEGBaseline8Bit, large[:place] + b"\x00" + large[place:], segments),
        "a marker of no segment": (
            JPEGBaseline8Bit,
            large[:place] + b"\xff\xd0" + large[place:],
            segments,
        ),
        "two sizes": (
            JPEGBaseline8Bit,
            small[:place] + small[place : place + 13] + large[place:],
            pixels,
        ),
        "segments": (
            JPEGBaseline8Bit,
            small[:2] + b"\xff\xfe\0\2" * 20_000 + small[2:],
            "segments",
        ),
        "scans": (JPEGBaseline8Bit, small[:-2] + b"\xff\xda" * 200 + small[-2:], "201 scans"),
        "no size": (JPEGBaseline8Bit, small[:place] + small[place + 13 :], "tells no size"),
        "a box before": (
            JPEG2000Lossless,
            jp2[:12] + decoy + jp2[12:start] + stream,
            pixels,
        ),
        "the header of JP2": (JPEG2000Lossless, header, pixels),
        "neither": (JPEG2000Lossless, b"12345678", "no JPEG and no JPEG 2000"),
    }


@pytest.mark.parametrize("what", hidden_sizes())
def test_the_size_that_the_decoder_finds_is_checked(tmp_path: Path, what: str) -> None:
    syntax, frame, message = hidden_sizes()[what]
    with pytest.raises(ImageError, match=message):
        read_image_and_spacing(compressed(tmp_path / "a.dcm", syntax, frame))


def test_fill_bytes_before_a_segment_are_allowed(tmp_path: Path) -> None:
    frame = picture_bytes("JPEG", (8, 8))
    place = frame.index(b"\xff\xc0")
    path = compressed(
        tmp_path / "a.dcm", JPEGBaseline8Bit, frame[:place] + b"\xff\xff\xff" + frame[place:]
    )
    assert read_image_and_spacing(path)[0].shape == (8, 8)


def test_code_streams_without_a_jp2_file_are_read(tmp_path: Path) -> None:
    frame = picture_bytes("JPEG2000", (8, 8))
    stream = frame[frame.index(b"\xff\x4f\xff\x51") :]
    path = compressed(tmp_path / "a.dcm", JPEG2000Lossless, stream)
    assert read_image_and_spacing(path)[0].shape == (8, 8)


def run_lengths(starts: list[int], packets: bytes) -> bytes:
    header = struct.pack("<16L", len(starts), *starts, *[0] * (15 - len(starts)))
    return header + packets


def test_run_lengths_that_unpack_to_much_are_refused(tmp_path: Path) -> None:
    frame = run_lengths([64], b"\x81\x00" * (2**23 + 100))  # each 128 zeros
    path = compressed(tmp_path / "a.dcm", RLELossless, frame, Rows=8192, Columns=8192)
    with pytest.raises(ImageError, match="run lengths that unpacks to over"):
        read_image_and_spacing(path)


@pytest.mark.parametrize(
    ("starts", "packets", "message"),
    [
        pytest.param([64], b"\x80" * 2**17, "131136 bytes of run lengths", id="long"),
        pytest.param([64, 200, 64], b"\x80" * 200, "on one another", id="crossed"),
        pytest.param([64, 9000], b"\x80" * 200, "on one another", id="outside"),
    ],
)
def test_run_lengths_that_no_image_needs_are_refused(
    tmp_path: Path, starts: list[int], packets: bytes, message: str
) -> None:
    frame = run_lengths(starts, packets)
    with pytest.raises(ImageError, match=message):
        read_image_and_spacing(compressed(tmp_path / "a.dcm", RLELossless, frame))


def test_run_lengths_of_too_many_pieces_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicom_file, "_RLE_COUNTED_BYTES", 100)
    monkeypatch.setattr(dicom_file, "_MOST_RUNS", 5000)
    frame = run_lengths([64], b"\x80" * 6000)
    with pytest.raises(ImageError, match="over 5000 run lengths"):
        read_image_and_spacing(compressed(tmp_path / "a.dcm", RLELossless, frame))


def test_a_meta_group_of_many_elements_is_refused(tmp_path: Path) -> None:
    whole = write_dicom(tmp_path / "a.dcm", PIXELS).read_bytes()
    place = whole.index(b"\x08\x00\x16\x00UI")
    empty = struct.pack("<HH2sH", 0x0002, 0x0102, b"SH", 0)
    (tmp_path / "a.dcm").write_bytes(whole[:place] + empty * 2000 + whole[place:])
    with pytest.raises(ImageError, match="a meta group of over 1000 elements"):
        read_image_and_spacing(tmp_path / "a.dcm")


def nested(depth: int) -> bytes:
    """Sequences within sequences, of undefined length."""
    opened = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    opened += struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    return opened * depth


@pytest.mark.parametrize(
    "inserted",
    [
        pytest.param(nested(5000), id="depth"),
        pytest.param(nested(1) + struct.pack("<HHL", 0xFFFE, 0xE000, 0) * 300_000, id="items"),
        pytest.param(struct.pack("<HH2sHL", 0x0009, 0x1001, b"OB", 0, 0xFFFFFFF0), id="length"),
        pytest.param(struct.pack("<HH2sHL", 0x0009, 0x1001, b"UN", 0, 0xFFFFFFFF), id="no-end"),
    ],
)
def test_what_stands_before_the_pixels_is_bounded(tmp_path: Path, inserted: bytes) -> None:
    whole = write_dicom(tmp_path / "a.dcm", PIXELS).read_bytes()
    place = whole.index(b"\x08\x00\x16\x00UI")
    (tmp_path / "a.dcm").write_bytes(whole[:place] + inserted + whole[place:])
    with pytest.raises(ImageError, match=r"a\.dcm"):
        read_image_and_spacing(tmp_path / "a.dcm")


@pytest.mark.parametrize(
    "fields",
    [
        {"RescaleSlope": "1e400", "RescaleIntercept": 0},
        {"WindowCenter": "nan", "WindowWidth": 5},
        {"BitsStored": 0},
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_numbers_that_make_no_pixels_are_refused(tmp_path: Path, fields: dict[str, Any]) -> None:
    dataset = pydicom.dcmread(write_dicom(tmp_path / "a.dcm", PIXELS))
    raw = {"RescaleSlope": b"1e400 ", "RescaleIntercept": b"0 ", "WindowCenter": b"nan "}
    for name, value in fields.items():
        setattr(dataset, name, value if name not in raw else "0")
    dataset.save_as(tmp_path / "a.dcm")
    content = (tmp_path / "a.dcm").read_bytes()
    for name in fields:
        if name in raw:
            tag = pydicom.datadict.tag_for_keyword(name)
            assert tag is not None
            head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + b"DS"
            old = head + struct.pack("<H", 2) + b"0 "
            assert old in content
            content = content.replace(old, head + struct.pack("<H", len(raw[name])) + raw[name])
    (tmp_path / "a.dcm").write_bytes(content)
    with pytest.raises(ImageError, match="DICOM that cannot be read"):
        read_image_and_spacing(tmp_path / "a.dcm")


@pytest.mark.parametrize("value", [[float("inf"), 0.1], [-0.1, 0.1], [1e-300, 1e-300], ["nan", 1]])
@pytest.mark.filterwarnings("ignore")
def test_a_spacing_that_cannot_be_is_none(tmp_path: Path, value: list[Any]) -> None:
    path = write_dicom(tmp_path / "a.dcm", PIXELS, PixelSpacing=["0.1", "0.1"])
    text = "\\".join(map(str, value)).encode()
    text += b" " * (len(text) % 2)
    head = struct.pack("<HH", 0x0028, 0x0030) + b"DS"
    content = path.read_bytes()
    old = head + struct.pack("<H", 8) + b"0.1\\0.1 "
    assert old in content
    path.write_bytes(content.replace(old, head + struct.pack("<H", len(text)) + text))
    assert read_image_and_spacing(path)[1] is None
