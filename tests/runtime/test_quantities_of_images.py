"""``predict`` and ``bench`` with a file of quantities, on a bundle of tiny graphs."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bench_fakes import FakeDataset
from own_quantities import write_quantities
from PIL import Image
from rendering import text_of
from tiny_bundle import write_tiny

from mahtrt.benchmarks.bench import bench
from mahtrt.benchmarks.options import BenchOptions
from mahtrt.errors import SpecError
from mahtrt.runtime.predict import PredictOptions, PredictResult, predict
from mahtrt.verbs.prediction_tables import table_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, an image and a file of quantities."""
    found = tmp_path_factory.mktemp("quantities")
    write_tiny(found / "tiny.mahtrt")
    image = np.random.default_rng(0).integers(0, 255, (64, 48), np.uint8)
    Image.fromarray(image).save(found / "image.png")
    write_quantities(found, ("sella", "nasion", "menton"))
    return found


def predicted(folder: Path, quantities: Path | str, spacing_mm: float | None) -> PredictResult:
    options = PredictOptions(
        folder / "tiny.mahtrt",
        [folder / "image.png"],
        engine="onnxruntime-fp32",
        spacing_mm=spacing_mm,
        threads=1,
        quantities=quantities,
    )
    return predict(options)


def test_predict_gives_them_as_json_csv_and_table(folder: Path) -> None:
    result = predicted(folder, folder / "own.toml", 0.5)
    (image,) = json.loads(result.to_json())["images"]
    red, green, blue = (complex(each["x"], each["y"]) for each in image["landmarks"])
    angle, distance = image["quantities"]
    turned = (red - green) / (blue - green)
    degrees = abs(math.degrees(math.atan2(turned.imag, turned.real)))
    assert angle == {"name": "RGB", "unit": "deg", "value": pytest.approx(degrees, abs=1e-3)}
    assert distance["value"] == pytest.approx(abs(red - green) / 2, abs=1e-3)
    rows = list(csv.DictReader(io.StringIO(result.to_csv())))
    assert [row["landmark"] for row in rows] == ["sella", "nasion", "menton", "", ""]
    assert [(row["quantity"], row["unit"]) for row in rows[3:]] == [("RGB", "deg"), ("R-G", "mm")]
    assert float(rows[4]["value"]) == pytest.approx(distance["value"], abs=1e-4)
    assert "R-G" in text_of(table_of(result))


def test_what_is_unknown_is_said(folder: Path) -> None:
    result = predicted(folder, folder / "own.toml", None)
    (image,) = json.loads(result.to_json())["images"]
    assert image["quantities"][1] == {"name": "R-G", "unit": "mm", "value": None}
    assert "unknown" in text_of(table_of(result))
    shipped = predicted(folder, "auto", None)
    assert any("without SNA, SNB, ANB and 18 more" in note for note in shipped.notes)
    none = predicted(folder, "none", None)
    assert not any("quantities" in note for note in none.notes)
    assert "quantities" not in json.loads(none.to_json())["images"][0]
    assert "quantity" not in none.to_csv()


def test_bench_compares_them_and_refuses_what_fits_nothing(
    folder: Path,
) -> None:
    (folder / "others").mkdir()
    other = write_quantities(folder / "others", ("orbitale", "gonion", "menton"))
    options = BenchOptions(
        folder / "tiny.mahtrt",
        data=FakeDataset(),
        engines=("onnxruntime-int8",),
        rounds=2,
        images=3,
        cold_starts=0,
        threads=1,
        quantities=other,
    )
    with pytest.raises(SpecError, match=r"no quantity that can be measured \(RGB: no landmark"):
        bench(options)
    report = bench(replace(options, quantities=folder / "own.toml"))
    document = report.to_dict()
    assert document["quantities"]["file"] == "own.toml"
    angle, distance = document["details"]["onnxruntime-int8"]["quantities"]
    assert (angle["name"], angle["images"], distance["unit"]) == ("RGB", 3, "mm")
    assert distance["max"] is not None
