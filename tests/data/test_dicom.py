from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_files import write_dicom
from pydicom.pixels.processing import apply_windowing

from mahtrt.data.dicom import window_to_unit
from mahtrt.data.images import read_image_and_spacing
from mahtrt.errors import ImageError, MissingComponentError


@pytest.fixture
def ramp() -> np.ndarray[Any, np.dtype[np.uint16]]:
    return np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)  # 0 … 4095


def test_eight_bits_without_a_window_pass_unchanged(tmp_path: Path) -> None:
    pixels = np.arange(20, 84, dtype=np.uint8).reshape(8, 8)
    image, spacing = read_image_and_spacing(write_dicom(tmp_path / "a.dcm", pixels))
    assert image.dtype == np.uint8
    assert np.array_equal(image, pixels)
    assert spacing is None


def test_more_bits_without_a_window_fill_uint16(tmp_path: Path, ramp: np.ndarray[Any, Any]) -> None:
    image, _ = read_image_and_spacing(write_dicom(tmp_path / "a.dcm", ramp, BitsStored=12))
    assert image.dtype == np.uint16
    assert (image.min(), image.max()) == (0, 65535)
    assert np.array_equal(np.argsort(image.ravel(), kind="stable"), np.arange(4096))


def test_monochrome1_is_inverted(tmp_path: Path, ramp: np.ndarray[Any, Any]) -> None:
    plain, _ = read_image_and_spacing(write_dicom(tmp_path / "a.dcm", ramp))
    inverted, _ = read_image_and_spacing(
        write_dicom(tmp_path / "b.dcm", ramp, PhotometricInterpretation="MONOCHROME1")
    )
    assert np.abs(plain.astype(int) + inverted - 65535).max() <= 1


def test_window_and_rescale(tmp_path: Path, ramp: np.ndarray[Any, Any]) -> None:
    fields = {"RescaleSlope": 2, "RescaleIntercept": -1000, "BitsStored": 12}
    window = {"WindowCenter": [1000, 0], "WindowWidth": [1000, 1]}
    image, _ = read_image_and_spacing(write_dicom(tmp_path / "a.dcm", ramp, **fields, **window))
    values = ramp * 2.0 - 1000
    expected = np.clip((values - 999.5) / 999 + 0.5, 0, 1) * 65535
    assert np.abs(image.astype(np.float64) - expected).max() <= 0.51
    assert (image == 0).mean() > 0.15  # what lies outside the window is cut


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_window_agrees_with_pydicom(function: str) -> None:
    dataset = pydicom.Dataset()
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsStored, dataset.PixelRepresentation = 12, 0
    dataset.WindowCenter, dataset.WindowWidth = 1500, 800
    dataset.VOILUTFunction = function
    values = np.arange(0, 4096, 7, dtype=np.uint16)
    theirs = apply_windowing(values, dataset) / 4095
    assert np.abs(window_to_unit(values.astype(np.float64), 1500, 800, function) - theirs).max() < (
        1e-9
    )


def test_window_of_width_one_is_a_threshold() -> None:
    assert window_to_unit(np.array([9.0, 9.6, 11.0]), 10, 1).tolist() == [0, 1, 1]


def test_voi_table(tmp_path: Path) -> None:
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "US", [256, 0, 8])
    item.add_new("LUTData", "OW", np.arange(255, -1, -1, dtype=np.uint16).tobytes())
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = write_dicom(tmp_path / "a.dcm", pixels, VOILUTSequence=[item])
    assert np.array_equal(read_image_and_spacing(path)[0], 255 - pixels)


def test_colours(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 6, 5, 3), dtype=np.uint8)
    fields = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    image, _ = read_image_and_spacing(write_dicom(tmp_path / "a.dcm", pixels, **fields))
    assert np.array_equal(image, pixels[0])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"PixelSpacing": [0.2, 0.1], "ImagerPixelSpacing": [0.3, 0.3]}, (0.2, 0.1)),
        ({"ImagerPixelSpacing": [0.3, 0.15]}, (0.3, 0.15)),
        (
            {"ImagerPixelSpacing": [0.3, 0.15], "EstimatedRadiographicMagnificationFactor": 1.5},
            (0.2, 0.1),
        ),
        ({"NominalScannedPixelSpacing": [0.1, 0.1]}, (0.1, 0.1)),
        ({"PixelSpacing": [0, 0]}, None),
    ],
)
def test_spacing(
    tmp_path: Path, fields: dict[str, object], expected: tuple[float, float] | None
) -> None:
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    _, spacing = read_image_and_spacing(write_dicom(tmp_path / "a.dcm", pixels, **fields))
    assert spacing == (pytest.approx(expected) if expected else None)


def test_magic_word_is_enough(tmp_path: Path) -> None:
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    path = write_dicom(tmp_path / "IM000001", pixels)
    assert np.array_equal(read_image_and_spacing(path)[0], pixels)


def test_refused_files(tmp_path: Path) -> None:
    frames = np.zeros((3, 8, 8), np.uint8)
    with pytest.raises(ImageError, match=r"a\.dcm: got 3 frames; expected one image per file"):
        read_image_and_spacing(write_dicom(tmp_path / "a.dcm", frames, NumberOfFrames=3))
    (tmp_path / "b.dcm").write_bytes(b"nothing of the kind" * 20)
    with pytest.raises(ImageError, match=r"b\.dcm: got DICOM that cannot be read"):
        read_image_and_spacing(tmp_path / "b.dcm")
    whole = write_dicom(tmp_path / "c.dcm", np.zeros((64, 64), np.uint8))
    whole.write_bytes(whole.read_bytes()[:-2000])
    with pytest.raises(ImageError, match=r"c\.dcm"):
        read_image_and_spacing(whole)
    with pytest.raises(ImageError, match="palette"):
        read_image_and_spacing(
            write_dicom(tmp_path / "d.dcm", frames[0], PhotometricInterpretation="PALETTE COLOR")
        )


def test_without_pydicom_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_dicom(tmp_path / "a.dcm", np.zeros((8, 8), np.uint8))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(MissingComponentError, match=r"mahtrt\[dicom\]"):
        read_image_and_spacing(path)
