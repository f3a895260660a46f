"""Predictions as text."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path

import numpy as np

from mahtrt.data.file_dataset import Entry
from mahtrt.runtime.landmarks import Landmarks
from mahtrt.runtime.named_cases import file_stems
from mahtrt.runtime.results import (
    Prediction,
    csv_from_predictions,
    json_from_predictions,
    wide_heatmaps_note,
)

KNOWN = Prediction(
    "a.png",
    Landmarks(
        np.array([[1.25, 2], [3, 4]], np.float32),
        np.array([0.9, 0.8], np.float32),
        np.array([1, 2], np.float32),
        ("sella", "point, A"),
        spacing_mm=(0.1, 0.1),
        two_peaks=np.array([False, True]),
    ),
    {"overlay": "out/a.png"},
)
UNKNOWN = Prediction(
    "b ä.png",
    Landmarks(
        np.array([[np.nan, 5]], np.float32),
        np.array([np.nan], np.float32),
        np.array([np.nan], np.float32),
        ("sella",),
    ),
)


def test_json_is_one_document() -> None:
    text = json_from_predictions([KNOWN, UNKNOWN], about={"bundle": "m.mahtrt"})
    document = json.loads(text)
    assert list(document) == ["schema", "bundle", "images"]
    assert document["schema"] == "mahtrt.predict/1"
    first, second = document["images"]
    assert first["overlay"] == "out/a.png"
    assert first["landmarks"][0]["x_mm"] == 0.125
    assert second["image"] == "b ä.png"
    assert second["landmarks"][0]["x"] is None
    flags = [row["two_peaks"] for row in (*first["landmarks"], *second["landmarks"])]
    assert flags == [False, True, None]
    assert "NaN" not in text


def test_csv_has_a_row_per_landmark() -> None:
    text = csv_from_predictions([KNOWN, UNKNOWN])
    assert text.splitlines()[:2] == [
        "image,landmark,x,y,confidence,spread_px,x_mm,y_mm,two_peaks",
        "a.png,sella,1.2500,2.0000,0.9000,1.0000,0.1250,0.2000,false",
    ]
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["landmark"] for row in rows] == ["sella", "point, A", "sella"]
    assert (rows[2]["x"], rows[2]["y"], rows[2]["x_mm"]) == ("", "5.0000", "")
    assert [row["two_peaks"] for row in rows] == ["false", "true", ""]


def test_points_with_a_wide_heatmap_are_named() -> None:
    note = wide_heatmaps_note([KNOWN, UNKNOWN])
    assert note is not None
    assert note.startswith("1 of the points have a heatmap far wider than usual")
    assert note.endswith("point, A in a.png.")
    assert wide_heatmaps_note([UNKNOWN]) is None


def test_many_images_of_one_name_get_pictures_of_their_own() -> None:
    images = [Path(f"{n}/a.png") for n in range(1000)]
    images[1] = Path("a-2.png")
    started = time.monotonic()
    names = file_stems([Entry(str(path), path) for path in images])
    assert time.monotonic() - started < 2
    assert names[:3] == ["a", "a-2", "a-3"]
    assert len(set(names)) == len(images)
