"""Predictions as JSON and CSV text."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mahtrt.errors import some_of
from mahtrt.runtime.landmarks import Landmarks

SCHEMA = "mahtrt.predict/1"


@dataclass(frozen=True, slots=True)
class Prediction:
    """The landmarks of one image.

    Attributes:
        image: What the image is called in the results (a path as the user gave it).
        extra: More facts for the JSON, e.g. ``{"overlay": "out/a.png"}``.
    """

    image: str
    landmarks: Landmarks
    extra: Mapping[str, Any] = field(default_factory=dict)


def wide_heatmaps_note(predictions: Sequence[Prediction]) -> str | None:
    """What the user should know of points whose heatmap is far too wide; None without any."""
    found = [
        f"{name} in {prediction.image}"
        for prediction in predictions
        if (doubtful := prediction.landmarks.two_peaks) is not None
        for name, doubt in zip(prediction.landmarks.names, doubtful, strict=True)
        if doubt
    ]
    if not found:
        return None
    return (
        f"{len(found)} of the points have a heatmap far wider than usual (two peaks, or no clear "
        f"one), and may be far off: {some_of(found)}."
    )


def json_from_predictions(
    predictions: Sequence[Prediction], *, about: Mapping[str, Any] | None = None
) -> str:
    """One JSON document, indented, with a newline at its end.

    Args:
        about: Facts for its head: bundle, engine and what the accuracy gate said about it.
    """
    document = {
        "schema": SCHEMA,
        **(about or {}),
        "images": [{"image": p.image, **p.landmarks.to_dict(), **p.extra} for p in predictions],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def csv_from_predictions(predictions: Sequence[Prediction]) -> str:
    """One row per image and landmark; fields stay empty where a value is unknown.

    Columns: image, landmark, x, y (image pixels), confidence, spread_px, x_mm, y_mm, two_peaks
    (true or false: whether the heatmap is far wider than usual).
    """
    text = io.StringIO(newline="")
    columns = ("x", "y", "confidence", "spread_px", "x_mm", "y_mm", "two_peaks")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image", "landmark", *columns))
    for prediction in predictions:
        for row in prediction.landmarks.to_dict()["landmarks"]:
            values = [_text(row.get(column)) for column in columns]
            writer.writerow((prediction.image, row["name"], *values))
    return text.getvalue()


def _text(value: float | bool | None) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None or not math.isfinite(value) else f"{value:.4f}"
