"""How often a build decodes the images it calibrates on.

Some of them, at most ``MOST_IMAGES`` with those that judge, are decoded once more for the engine
that was chosen, to describe what a service will get, however many images there are.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from build_options import make_options
from foreign_network import ForeignNetwork
from PIL import Image

from mahtrt.build import watched
from mahtrt.build.build import build
from mahtrt.data import file_dataset
from mahtrt.data.images import ReadImage, read_image
from mahtrt.data.phantom import make_phantom

pytestmark = pytest.mark.slow

AT_MOST = 2  # once to look at all of them before anything is computed, once to calibrate
DESCRIBED = 5  # of the 15 images: the 3 that judge, and 2 that calibrate


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Calibration and evaluation images as files."""
    for folder, count, seed in (("calib", 12, 1), ("eval", 3, 2)):
        (tmp_path / folder).mkdir()
        for number in range(count):
            image = make_phantom(np.random.SeedSequence([seed, number]), size=(64, 64)).image
            Image.fromarray(image).save(tmp_path / folder / f"{number}.png")
    return tmp_path / "calib", tmp_path / "eval"


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"method": "auto"},
        {"plan": "auto", "plan_minutes": 0.001},
        {"skip_bad": True},
    ],
    ids=lambda asked: " ".join(asked) or "as it is",
)
def test_calibration_images_are_decoded_at_most_twice(
    asked: dict[str, Any],
    foreign_network: ForeignNetwork,
    folders: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calib, evaluation = folders
    decode, times = read_image, Counter[str]()

    def counted(path: Path, called: str = "") -> ReadImage:
        times[f"{path.parent.name}/{path.name}"] += 1
        return decode(path, called)

    monkeypatch.setattr(file_dataset, "read_image", counted)
    monkeypatch.setattr(watched, "MOST_IMAGES", DESCRIBED)
    options = {"calib": str(calib), "eval": str(evaluation), "points": None, **asked}
    build(make_options(foreign_network, tmp_path / "b.mahtrt", keep_failed=True, **options))
    of_calib = {name: count for name, count in times.items() if name.startswith("calib/")}
    assert len(of_calib) == 12
    described = [count for count in of_calib.values() if count > AT_MOST]
    assert len(described) == DESCRIBED - 3
    assert max(described) == AT_MOST + 1
