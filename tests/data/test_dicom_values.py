"""Stored values to gray: signs, rescaling, tables and windows that are unusual."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_files import write_dicom

from mahtrt.data.images import read_image
from mahtrt.errors import ImageError

SIGNED = np.arange(-2048, 2048, dtype=np.int16).reshape(64, 64)
UNSIGNED = np.arange(4096, dtype=np.uint16).reshape(64, 64)
TWELVE = {"BitsStored": 12}


def shown(path: Path, pixels: np.ndarray[Any, Any], **fields: object) -> np.ndarray[Any, Any]:
    return read_image(write_dicom(path / "a.dcm", pixels, **fields)).pixels


def table(values: np.ndarray[Any, Any], first: int, bits: int, vr: str = "US") -> pydicom.Dataset:
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", vr, [len(values) % 65536, first, bits])
    item.add_new("LUTData", "OW", values.astype(np.uint16).tobytes())
    item.ModalityLUTType = "US"
    return item


def test_signed_pixels_are_ordered_as_their_values(tmp_path: Path) -> None:
    found = shown(tmp_path, SIGNED, **TWELVE)
    assert (found[0, 0], found[-1, -1]) == (0, 65535)
    assert (np.diff(found.ravel().astype(int)) > 0).all()


def test_unused_bits_above_signed_values_do_not_count(tmp_path: Path) -> None:
    dirty = (SIGNED.view(np.uint16) & 0x0FFF) | 0x5000
    path = write_dicom(tmp_path / "dirty.dcm", dirty, PixelRepresentation=1, **TWELVE)
    assert np.array_equal(read_image(path).pixels, shown(tmp_path, SIGNED, **TWELVE))


@pytest.mark.parametrize("slope", [-1.5, 0.25, 1])
def test_rescaled_and_windowed(slope: float, tmp_path: Path) -> None:
    fields = {
        "RescaleSlope": slope,
        "RescaleIntercept": -100,
        "WindowCenter": 50,
        "WindowWidth": 700,
    }
    values = SIGNED * float(slope) - 100
    expected = np.clip((values - 49.5) / 699 + 0.5, 0, 1) * 65535  # PS3.3 C.11.2.1.2.1
    assert np.abs(shown(tmp_path, SIGNED, **TWELVE, **fields) - expected).max() <= 0.51


@pytest.mark.parametrize(("center", "width"), [(100, 0), (100, -5), ("", ""), (100, "")])
def test_a_window_that_is_none_is_the_whole_range(
    center: object, width: object, tmp_path: Path
) -> None:
    plain = shown(tmp_path, UNSIGNED, **TWELVE)
    assert np.array_equal(
        shown(tmp_path, UNSIGNED, WindowCenter=center, WindowWidth=width, **TWELVE), plain
    )


def test_a_window_beyond_all_values_is_black(tmp_path: Path) -> None:
    found = shown(tmp_path, UNSIGNED, WindowCenter=9000, WindowWidth=100, **TWELVE)
    assert not found.any()


def test_a_constant_image_without_a_window(tmp_path: Path) -> None:
    assert not shown(tmp_path, np.full((8, 8), 700, np.uint16), **TWELVE).any()


def test_a_table_goes_before_a_window(tmp_path: Path) -> None:
    fields = {"VOILUTSequence": [table(np.arange(4095, -1, -1), 0, 12)]}
    found = shown(tmp_path, UNSIGNED, WindowCenter=9000, WindowWidth=1, **TWELVE, **fields)
    assert (found[0, 0], found[-1, -1]) == (65535, 0)


def test_a_table_of_signed_values_and_its_ends(tmp_path: Path) -> None:
    ramp = table(np.arange(0, 2000), -1000, 11, vr="SS")
    found = shown(tmp_path, SIGNED, VOILUTSequence=[ramp], **TWELVE).astype(float) / 65535 * 2047
    expected = np.clip(SIGNED.astype(float) + 1000, 0, 1999)
    assert np.abs(found - expected).max() < 0.6


def test_a_modality_table(tmp_path: Path) -> None:
    halves = table(np.arange(4096) // 2, 0, 16)
    found = shown(tmp_path, UNSIGNED, ModalityLUTSequence=[halves], **TWELVE)
    assert np.array_equal(found, shown(tmp_path, UNSIGNED // 2, **TWELVE))


def test_monochrome1_with_a_window_is_inverted_once(tmp_path: Path) -> None:
    fields = {"WindowCenter": 2000, "WindowWidth": 1000, **TWELVE}
    plain = shown(tmp_path, UNSIGNED, **fields).astype(int)
    inverse = {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}
    assert np.abs(plain + shown(tmp_path, UNSIGNED, **fields, **inverse) - 65535).max() <= 1


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(table(np.arange(4), 0, 0), id="no bits"),
        pytest.param(table(np.arange(0), 0, 12), id="no entries"),
        pytest.param(pydicom.Dataset(), id="no table"),
    ],
)
def test_tables_that_cannot_be(item: pydicom.Dataset, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be read"):
        shown(tmp_path, UNSIGNED, VOILUTSequence=[item], **TWELVE)


def test_a_table_of_very_many_items_is_refused(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", UNSIGNED, **TWELVE)
    content = path.read_bytes()
    items = b"\xfe\xff\x00\xe0\x00\x00\x00\x00" * 300_000
    head = b"\x28\x00\x10\x30SQ\x00\x00" + len(items).to_bytes(4, "little")
    place = content.index(b"\xe0\x7f\x10\x00")
    path.write_bytes(content[:place] + head + items + content[place:])
    with pytest.raises(ImageError, match="over 200000 elements"):
        read_image(path)
