"""Small images of the real kind: smooth, with a bright square whose place is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    """(40, 60) gray, a ramp with a square: no two quadrants alike."""
    ramp = np.linspace(0, 200, 60)[None] * np.linspace(0.4, 1, 40)[:, None]
    image = ramp.astype(np.uint8)
    image[5:12, 8:18] = 255
    return image


@pytest.fixture
def folder(tmp_path: Path, picture: NDArray[np.uint8]) -> Path:
    """A folder ``images`` with 1.png, 2.png, 10.png, a file that is no image, and sub/3.png."""
    root = tmp_path / "images"
    (root / "sub").mkdir(parents=True)
    for name in ("10.png", "2.png", "1.png", "sub/3.png", ".hidden.png"):
        Image.fromarray(picture).save(root / name)
    (root / "notes.txt").write_text("no image")
    return root
