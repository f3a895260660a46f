from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny_maps
from PIL import Image

import mahtrt
from mahtrt.errors import ModelError
from mahtrt.models import families
from mahtrt.models.demo_recipe import DemoRecipe
from mahtrt.verbs import demo


@pytest.mark.slow
def test_the_demo_of_a_family_goes_the_whole_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one with two inputs and a map; the contract suite takes all families through the verbs."""
    family = "longitudinal"
    sizes = {"PARITY": ":1@3", "CALIBRATION": ":8@11", "CHECK": ":2@12", "BENCH": ":2@13"}
    for name, value in {**sizes, "SHOWN_CASES": 2, "BENCH_SECONDS": 1.0, "COLD_STARTS": 0}.items():
        monkeypatch.setattr(demo, name, value)
    module = families._family(family)
    monkeypatch.setattr(module, "DEMO", DemoRecipe(steps=2, batch_size=4))
    # Two steps teach nothing; that the engines compute the same is what is looked at here.
    wide = mahtrt.Limits(map_mean=1.0, map_ssim=-1.0)
    monkeypatch.setattr(demo, "_LIMITS", wide)
    result = mahtrt.demo(mahtrt.DemoOptions(tmp_path / "demo", family))
    predicted = json.loads((tmp_path / "demo/predictions.json").read_text())
    assert len(predicted["images"]) == 2
    assert len(list(result.overlays.glob("*.png"))) == 2
    assert {row.precision for row in result.report.rows} == {"fp32", "int8"}
    maps = list((tmp_path / "demo/maps").glob("*.png"))
    assert len(maps) == 2
    assert all(np.asarray(Image.open(place)).dtype == np.uint16 for place in maps)


def test_the_last_lines_say_what_cases_of_several_images_are(tmp_path: Path) -> None:
    def lines(*inputs: str) -> str:
        spec = tiny_maps.spec_of(*inputs)
        family = {"image": "maht-net", "baseline": "longitudinal"}[inputs[0]]
        report: Any = SimpleNamespace(passed=True)
        images = (tmp_path / "images",)
        made = demo.DemoResult(
            tmp_path / "b", images, tmp_path, report, tmp_path, replace(spec, family=family)
        )
        return "\n".join(demo._farewell(made))

    pairs = lines("baseline", "followup")
    assert "--calib YOUR_CASES" in pairs
    assert "a folder with baseline/ and followup/" in pairs
    assert "a CSV whose header has the columns baseline, followup" in pairs
    assert "--calib YOUR_IMAGES" in lines("image")
    assert "CSV" not in lines("image")


def test_a_family_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="got an unknown model family"):
        mahtrt.demo(mahtrt.DemoOptions(tmp_path / "demo", "swin-net"))
    assert not (tmp_path / "demo").exists()
