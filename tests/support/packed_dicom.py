"""DICOM files with compressed frames, which a fuzzer starts from."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from dicom_files import write_dicom
from PIL import Image


def write_packed_dicom(folder: Path) -> None:
    """Two frames in each of several transfer syntaxes, and two with functional groups."""
    import pydicom
    from pydicom.dataset import Dataset
    from pydicom.pixels.encoders.base import get_encoder
    from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

    folder.mkdir()
    slope = np.add.outer(np.arange(32) * 3, np.arange(48) * 2).astype(np.uint8)
    frames = np.stack([slope, slope[::-1]])
    plain = write_dicom(folder / "groups.dcm", frames, NumberOfFrames=2)
    stream = io.BytesIO()
    Image.fromarray(slope).save(stream, format="JPEG")
    for number, syntax in enumerate((RLELossless, JPEG2000Lossless, JPEGBaseline8Bit)):
        dataset = pydicom.dcmread(plain)
        if syntax == JPEGBaseline8Bit:
            packed = [stream.getvalue()] * 2
        else:
            packed = [get_encoder(syntax).encode(dataset, index=index) for index in (0, 1)]
        dataset.PixelData = pydicom.encaps.encapsulate(packed, has_bot=bool(number % 2))
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(folder / f"{number}.dcm")
    dataset = pydicom.dcmread(plain)
    groups = Dataset()
    groups.PixelMeasuresSequence = [Dataset()]
    groups.PixelMeasuresSequence[0].PixelSpacing = [0.2, 0.1]
    groups.FrameVOILUTSequence = [Dataset()]
    groups.FrameVOILUTSequence[0].WindowCenter = 100
    groups.FrameVOILUTSequence[0].WindowWidth = 150
    dataset.PerFrameFunctionalGroupsSequence = [groups, groups]
    dataset.save_as(plain)
