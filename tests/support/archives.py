"""Small archives of images, and data sets read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
from dicom_files import write_dicom
from PIL import Image

MAKER_OF_A_MOMENT = ["when", "node"]


def make_archive(folder: Path, images: int = 5) -> Path:
    """Pictures in folders, DICOM files with one and three frames, a bad file and one that is none.

    Gives ``images`` + 6 rows, of which one is an error.
    """
    rng = np.random.default_rng(7)
    for i in range(images):
        place = folder / f"s{i % 2}" / f"{i}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (40, 50), np.uint8)).save(place)
    pixels = rng.integers(0, 255, (3, 30, 20), np.uint8)
    write_dicom(folder / "IM1", pixels[0], PixelSpacing=[0.2, 0.3])
    write_dicom(folder / "run.dcm", pixels, NumberOfFrames=3)
    (folder / "bad.png").write_bytes(b"no picture")
    (folder / "report").write_text("no image")
    (folder / "notes.txt").write_text("no image")
    (folder / "s0" / "spacing.json").write_text('{"images": {"2.png": [0.5, 0.25]}}')
    Image.fromarray(pixels[1]).save(folder / "10.tif")
    return folder


def rows_of(data_set: Path) -> Any:
    """The rows of a data set in the order of their images."""
    return pandas.read_parquet(data_set).sort_values("image").reset_index(drop=True)


def same_rows(one: Path, other: Path) -> bool:
    """Whether two data sets hold the same rows, but for when and where each was made."""
    tables = [rows_of(each).drop(columns=MAKER_OF_A_MOMENT) for each in (one, other)]
    pandas.testing.assert_frame_equal(*tables, check_exact=True)
    return True
