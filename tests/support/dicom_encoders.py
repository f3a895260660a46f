"""Copies of DICOM files in other transfer syntaxes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import UID


def packed(path: Path, syntax: UID, frames: list[bytes], **fields: object) -> Path:
    """The file with other, compressed frames."""
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    for name, value in fields.items():
        setattr(dataset, name, value)
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True
    out = path.with_suffix(f".{syntax.split('.')[-1]}.dcm")
    dataset.save_as(out, implicit_vr=False, little_endian=True, force_encoding=True)
    return out


def by_pydicom(path: Path, syntax: UID, **options: Any) -> Path:
    """The file, compressed by one of pydicom's encoders."""
    dataset = pydicom.dcmread(path)
    frame = get_encoder(syntax).encode(dataset, index=0, **options)
    return packed(path, syntax, [frame])


def by_libjpeg(path: Path, syntax: UID, predictor: int = 1) -> Path:
    """The file as lossless JPEG."""
    dataset = pydicom.dcmread(path)
    pixels = dataset.pixel_array
    unsigned = pixels.view(f"u{pixels.itemsize}")
    frame = codecs().jpeg8_encode(
        unsigned, lossless=True, predictor=predictor, bitspersample=8 * pixels.itemsize
    )
    return packed(path, syntax, [frame])


def codecs() -> Any:
    """What decodes lossless JPEG, and JPEG of 12 bits."""
    return pytest.importorskip("imagecodecs", reason="imagecodecs (extra dicom) is not installed")


def by_dcmtk(program: str, *options: str, path: Path) -> Path:
    """The file, worked on by a program of dcmtk."""
    if shutil.which(program) is None:
        pytest.skip(f"no program {program} (dcmtk)")
    out = path.with_suffix(f".{program}.dcm")
    subprocess.run([program, *options, str(path), str(out)], check=True, capture_output=True)
    return out
