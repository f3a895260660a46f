"""``predict`` finds the same landmarks in every transfer syntax that is read."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_encoders import by_dcmtk, by_libjpeg, by_pydicom, codecs, packed
from dicom_files import write_dicom
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from mahtrt.data.dicom_syntaxes import COMPRESSED, NATIVE
from mahtrt.runtime.predict import PredictOptions, predict

_JPEG = "1.2.840.10008.1.2.4."
_RNG = np.random.default_rng(16)
# A bright spot aside from the middle on a noisy slope: landmarks follow every pixel around it.
_X, _Y = np.meshgrid(np.arange(64.0), np.arange(48.0))
_SCENE = 0.1 + 0.3 * _X / 64 + 0.5 * np.exp(-((_X - 40.3) ** 2 + (_Y - 17.8) ** 2) / 60)
_NOISY = _SCENE + _RNG.uniform(0, 0.02, _SCENE.shape)
EIGHT = (_NOISY * 255).astype(np.uint8)
TWELVE = (np.stack([_NOISY, _NOISY[::-1]]) * 4095).astype(np.uint16)
FIELDS = {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4096}
Pair = tuple[Path, Path]  # a file, and its uncompressed twin


def _twelve(folder: Path, frames: int = 1) -> Path:
    pixels = TWELVE if frames > 1 else TWELVE[0]
    count = {"NumberOfFrames": frames} if frames > 1 else {}
    return write_dicom(folder / "plain.dcm", pixels, **FIELDS, **count)


def _saved_as(syntax: UID, folder: Path) -> Pair:
    """Uncompressed in another coding."""
    plain = _twelve(folder)
    read, dataset = pydicom.dcmread(plain), Dataset()
    for element in read:
        dataset.add(element)  # without the coding that it was read in
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = TWELVE[0].byteswap().tobytes()
    dataset.file_meta, dataset.preamble = read.file_meta, read.preamble
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(folder / "other.dcm")
    return folder / "other.dcm", plain


def _frames(syntax: UID, folder: Path) -> Pair:
    """Several frames, by pydicom's encoder."""
    plain = _twelve(folder, frames=2)
    dataset = pydicom.dcmread(plain)
    dataset.PixelData = encapsulate(
        [get_encoder(syntax).encode(dataset, index=index) for index in (0, 1)]
    )
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(folder / "other.dcm")
    return folder / "other.dcm", plain


def _lossless_jpeg(predictor: int, syntax: UID, folder: Path) -> Pair:
    plain = _twelve(folder)
    return by_libjpeg(plain, syntax, predictor), plain


def _htj2k(syntax: UID, folder: Path) -> Pair:
    """Progression RPCL is the encoder's own."""
    plain = _twelve(folder)
    return packed(plain, syntax, [codecs().htj2k_encode(TWELVE[0], reversible=True)]), plain


def _lossy_htj2k(syntax: UID, folder: Path) -> Pair:
    frame = codecs().htj2k_encode(EIGHT, level=0.02, reversible=False)
    twin = write_dicom(folder / "plain.dcm", codecs().jpeg2k_decode(frame))
    return packed(twin, syntax, [frame]), twin


def _by_pillow(form: str, options: dict[str, Any], syntax: UID, folder: Path) -> Pair:
    stream = io.BytesIO()
    Image.fromarray(EIGHT).save(stream, format=form, **options)
    twin = write_dicom(folder / "plain.dcm", np.array(Image.open(stream)))
    return packed(twin, syntax, [stream.getvalue()]), twin


def _by_dcmtk(program: str, option: str, back: str, syntax: UID, folder: Path) -> Pair:
    path = by_dcmtk(program, option, path=_twelve(folder))
    assert pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID == syntax
    if program == "dcmcjpeg":
        codecs()  # by which 12 bits are read
    return path, by_dcmtk(back, path=path)


def _near_lossless(syntax: UID, folder: Path) -> Pair:
    """Decoded by CharLS itself, as a twin, beside what mahtrt makes of it."""
    plain = _twelve(folder)
    path = by_pydicom(plain, syntax, jls_error=7)
    decoded = pydicom.dcmread(path).pixel_array
    assert 0 < np.abs(decoded.astype(int) - TWELVE[0]).max() <= 7
    return path, write_dicom(folder / "decoded.dcm", decoded, **FIELDS)


_LOSSY_2000 = {"irreversible": True, "quality_layers": [8], "no_jp2": True}
WAYS: dict[str, Callable[[UID, Path], Pair]] = {
    ImplicitVRLittleEndian: _saved_as,
    ExplicitVRBigEndian: _saved_as,
    DeflatedExplicitVRLittleEndian: _saved_as,
    RLELossless: _frames,
    JPEGLSLossless: _frames,
    JPEG2000Lossless: _frames,
    f"{_JPEG}50": partial(_by_pillow, "JPEG", {"quality": 60}),
    f"{_JPEG}51": partial(_by_dcmtk, "dcmcjpeg", "+ee", "dcmdjpeg"),
    f"{_JPEG}57": partial(_lossless_jpeg, 7),
    f"{_JPEG}70": partial(_lossless_jpeg, 1),
    f"{_JPEG}81": _near_lossless,
    f"{_JPEG}91": partial(_by_pillow, "JPEG2000", _LOSSY_2000),
    f"{_JPEG}201": _htj2k,
    f"{_JPEG}202": _htj2k,
    f"{_JPEG}203": _lossy_htj2k,
}


@pytest.fixture(scope="module")
def found(
    tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[np.ndarray] | str]:
    """Landmarks of each syntax's file and its twin, by one session; or why there is no file."""
    pairs: dict[str, Pair | str] = {}
    for uid, way in WAYS.items():
        try:
            pairs[uid] = way(UID(uid), tmp_path_factory.mktemp("syntax"))
        except pytest.skip.Exception as skipped:  # an encoder is missing
            pairs[uid] = str(skipped)
    images = [path for pair in pairs.values() if not isinstance(pair, str) for path in pair]
    result = predict(PredictOptions(tiny_bundle, images, threads=1))
    points: dict[str, list[np.ndarray]] = {}
    for each in result.predictions:
        points.setdefault(str(each.image).split("#")[0], []).append(each.landmarks.points)
    return {
        uid: pair if isinstance(pair, str) else [np.stack(points[str(path)]) for path in pair]
        for uid, pair in pairs.items()
    }


@pytest.mark.parametrize("uid", WAYS)
def test_landmarks_equal_those_of_the_uncompressed_twin(
    uid: str, found: dict[str, list[np.ndarray] | str]
) -> None:
    both = found[uid]
    if isinstance(both, str):
        pytest.skip(both)
    of_file, of_twin = both
    assert np.isfinite(of_file).all()
    assert np.array_equal(of_file, of_twin)
    if len(of_file) > 1:
        assert not np.array_equal(of_file[0], of_file[1])


def test_every_syntax_that_is_read_is_tried() -> None:
    # Every other file of these tests is explicit VR little endian.
    inflated = {DeflatedExplicitVRLittleEndian}
    assert {*WAYS} == {*COMPRESSED, *NATIVE, *inflated} - {ExplicitVRLittleEndian}
