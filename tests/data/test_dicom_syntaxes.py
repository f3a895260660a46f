"""Every transfer syntax gives the pixels of the uncompressed file."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_encoders import by_dcmtk, by_libjpeg, by_pydicom, codecs, packed
from dicom_files import write_dicom
from PIL import Image
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import (
    UID,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from mahtrt.data.dicom_syntaxes import COMPRESSED
from mahtrt.data.images import read_image
from mahtrt.errors import ImageError, MissingComponentError

Pixels = np.ndarray[Any, Any]
RNG = np.random.default_rng(16)
_HILL = np.hypot(*np.meshgrid(np.linspace(-1, 1, 40), np.linspace(-1, 1, 32)))
KINDS: dict[str, tuple[Pixels, dict[str, object]]] = {
    "8 bits": ((250 * (1 - _HILL / 2)).astype(np.uint8), {}),
    "12 bits": (
        (4000 * (1 - _HILL / 2) + RNG.integers(0, 30, _HILL.shape)).astype(np.uint16),
        {"BitsStored": 12, "WindowCenter": 2000, "WindowWidth": 3000},
    ),
    "16 bits": (RNG.integers(0, 65536, _HILL.shape).astype(np.uint16), {}),
    "signed": (
        (2000 * (0.5 - _HILL)).astype(np.int16),
        {"RescaleSlope": 2, "RescaleIntercept": -5, "WindowCenter": 0, "WindowWidth": 3000},
    ),
    "colours": (
        RNG.integers(0, 256, (1, 32, 40, 3)).astype(np.uint8),
        {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_lossless_syntaxes_give_the_uncompressed_image(
    kind: str, syntax: UID, tmp_path: Path
) -> None:
    pixels, fields = KINDS[kind]
    path = write_dicom(tmp_path / "plain.dcm", pixels, **fields)
    options = {"use_mct": False} if (syntax, kind) == (JPEG2000Lossless, "colours") else {}
    got = read_image(by_pydicom(path, syntax, **options))
    assert np.array_equal(got.pixels, read_image(path).pixels)


@pytest.mark.parametrize("kind", ["8 bits", "12 bits", "16 bits", "signed", "colours"])
@pytest.mark.parametrize("syntax", [JPEGLossless, JPEGLosslessSV1])
def test_lossless_jpeg_gives_the_uncompressed_image(kind: str, syntax: UID, tmp_path: Path) -> None:
    pixels, fields = KINDS[kind]
    path = write_dicom(tmp_path / "plain.dcm", pixels, **fields)
    assert np.array_equal(read_image(by_libjpeg(path, syntax)).pixels, read_image(path).pixels)


@pytest.mark.parametrize("kind", ["8 bits", "12 bits", "signed", "colours"])
@pytest.mark.parametrize(
    ("program", "options"),
    [
        ("dcmcjpeg", ("+el",)),
        ("dcmcjpeg", ("+el", "+sv", "7")),
        ("dcmcjpeg", ("+e1",)),
        ("dcmcjpls", ("+el",)),
        ("dcmcrle", ()),
    ],
    ids=["jpeg-lossless", "jpeg-predictor-7", "jpeg-sv1", "jpeg-ls", "rle"],
)
def test_what_dcmtk_packs_without_loss(
    kind: str, program: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    pixels, fields = KINDS[kind]
    path = write_dicom(tmp_path / "plain.dcm", pixels, **fields)
    if program == "dcmcjpeg":
        codecs()
    got = read_image(by_dcmtk(program, *options, path=path))
    assert np.array_equal(got.pixels, read_image(path).pixels)


@pytest.mark.parametrize(
    ("kind", "program", "option", "back"),
    [
        ("8 bits", "dcmcjpeg", "+eb", "dcmdjpeg"),
        ("8 bits", "dcmcjpeg", "+ee", "dcmdjpeg"),
        ("12 bits", "dcmcjpeg", "+ee", "dcmdjpeg"),
        ("12 bits", "dcmcjpls", "+en", "dcmdjpls"),
    ],
)
def test_lossy_syntaxes_give_what_dcmtk_decodes(
    kind: str, program: str, option: str, back: str, tmp_path: Path
) -> None:
    pixels, fields = KINDS[kind]
    if (kind, program) == ("12 bits", "dcmcjpeg"):
        codecs()
    path = by_dcmtk(program, option, path=write_dicom(tmp_path / "plain.dcm", pixels, **fields))
    assert np.array_equal(read_image(path).pixels, read_image(by_dcmtk(back, path=path)).pixels)


def test_baseline_gives_what_pillow_decodes(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(KINDS["8 bits"][0]).save(stream, format="JPEG", quality=60)
    path = write_dicom(tmp_path / "plain.dcm", KINDS["8 bits"][0])
    got = read_image(packed(path, JPEGBaseline8Bit, [stream.getvalue()]))
    assert np.array_equal(got.pixels, np.array(Image.open(stream)))


def test_near_lossless_stays_within_its_error(tmp_path: Path) -> None:
    pixels, fields = KINDS["8 bits"]
    path = write_dicom(tmp_path / "plain.dcm", pixels, **fields)
    got = read_image(by_pydicom(path, JPEGLSNearLossless, jls_error=3)).pixels
    assert 0 < np.abs(got.astype(int) - pixels).max() <= 3


def test_lossy_jpeg_2000_gives_what_pillow_decodes(tmp_path: Path) -> None:
    pixels = KINDS["8 bits"][0]
    stream = io.BytesIO()
    Image.fromarray(pixels).save(
        stream, format="JPEG2000", irreversible=True, quality_layers=[8], no_jp2=True
    )
    path = write_dicom(tmp_path / "plain.dcm", pixels)
    got = read_image(packed(path, UID("1.2.840.10008.1.2.4.91"), [stream.getvalue()]))
    assert np.array_equal(got.pixels, np.array(Image.open(stream)))


@pytest.mark.parametrize("uid", COMPRESSED)
def test_a_syntax_without_its_decoder_names_the_package(
    uid: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syntax = COMPRESSED[uid]
    decoder = syntax.decoder_of(16)
    if not decoder.modules:
        pytest.skip("decoded by what is always installed")
    find = importlib.util.find_spec
    gone = {*decoder.modules}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name in gone else find(name, *rest)
    )
    from mahtrt.data.dicom_syntaxes import need_decoder

    with pytest.raises(MissingComponentError, match=decoder.packages) as caught:
        need_decoder(syntax, 16, "a.dcm")
    assert "pip install 'mahtrt[dicom]'" in str(caught.value)
    assert caught.value.exit_code == 6


@pytest.mark.parametrize(
    ("uid", "told"),
    [
        # Its name is known to pydicom only where highdicom was imported before.
        ("1.2.840.10008.1.2.4.110", r"(JPEG XL Lossless \()?1.2.840.10008.1.2.4.110\)?;"),
        ("1.2.840.10008.1.2.4.100", "MPEG2"),
        ("1.2.826.0.1.4711", "that is not of the standard"),
    ],
)
def test_other_syntaxes_are_refused(uid: str, told: str, tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "plain.dcm", KINDS["8 bits"][0])
    with pytest.raises(ImageError, match=f"transfer syntax {told}"):
        read_image(packed(path, UID(uid), [b"1234"]))


@pytest.mark.parametrize(
    ("kind", "syntax", "fields", "told"),
    [
        ("8 bits", JPEGLSLossless, {"Rows": 33}, "pixel data of 40x32 .*expected 40x33"),
        ("8 bits", JPEG2000Lossless, {"Columns": 39}, "pixel data of 40x32 .*expected 39x32"),
        ("16 bits", JPEGLSLossless, {"BitsAllocated": 8, "BitsStored": 8}, "1 x 16 bits"),
        ("8 bits", RLELossless, {"Rows": 64}, "cannot be read"),
    ],
)
def test_pixel_data_that_do_not_fit_the_header(
    kind: str, syntax: UID, fields: dict[str, object], told: str, tmp_path: Path
) -> None:
    path = write_dicom(tmp_path / "plain.dcm", KINDS[kind][0])
    frame = get_encoder(syntax).encode(pydicom.dcmread(path), index=0)
    with pytest.raises(ImageError, match=told):
        read_image(packed(path, syntax, [frame], **fields))


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless])
def test_a_codestream_of_another_syntax_is_refused(syntax: UID, tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "plain.dcm", KINDS["8 bits"][0])
    frame = get_encoder(JPEGLSLossless).encode(pydicom.dcmread(path), index=0)
    with pytest.raises(ImageError, match="SOF55 in a transfer syntax of jpeg"):
        read_image(packed(path, syntax, [frame]))


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("kept", [0.6, 0.95])
def test_truncated_frames_are_refused(syntax: UID, kept: float, tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "plain.dcm", KINDS["16 bits"][0])
    frame = get_encoder(syntax).encode(pydicom.dcmread(path), index=0)
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(packed(path, syntax, [frame[: int(len(frame) * kept)]]))


def test_truncated_lossless_jpeg_is_refused(tmp_path: Path) -> None:
    path = by_libjpeg(write_dicom(tmp_path / "plain.dcm", KINDS["16 bits"][0]), JPEGLosslessSV1)
    dataset = pydicom.dcmread(path)
    frame = pydicom.encaps.get_frame(dataset.PixelData, 0, number_of_frames=1)
    with pytest.raises(ImageError, match="a JPEG without an end"):
        read_image(packed(path, JPEGLosslessSV1, [frame[: len(frame) // 2]]))


def test_truncated_baseline_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(KINDS["8 bits"][0]).save(stream, format="JPEG")
    path = write_dicom(tmp_path / "plain.dcm", KINDS["8 bits"][0])
    with pytest.raises(ImageError, match="a JPEG without an end"):
        read_image(packed(path, JPEGBaseline8Bit, [stream.getvalue()[:-100]]))


@pytest.mark.parametrize("kind", ["8 bits", "12 bits"])
def test_high_throughput_jpeg_2000(kind: str, tmp_path: Path) -> None:
    pixels, fields = KINDS[kind]
    path = write_dicom(tmp_path / "plain.dcm", pixels, **fields)
    frame = codecs().htj2k_encode(pixels, reversible=True)
    got = read_image(packed(path, UID("1.2.840.10008.1.2.4.201"), [frame]))
    assert np.array_equal(got.pixels, read_image(path).pixels)


def test_a_file_of_others_with_12_bits(tmp_path: Path) -> None:
    codecs()
    theirs = Path(pydicom.__file__).parent / "data/test_files/JPGExtended.dcm"
    if not theirs.exists():
        pytest.skip("this pydicom has no files for tests")
    path = tmp_path / "theirs.dcm"
    path.write_bytes(theirs.read_bytes())
    back = by_dcmtk("dcmdjpeg", path=path)
    assert np.array_equal(read_image(path).pixels, read_image(back).pixels)
