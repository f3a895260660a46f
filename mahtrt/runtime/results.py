"""Predictions as JSON and CSV text."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mahtrt.errors import UsageError, some_of
from mahtrt.measure.quantities import QuantityValue
from mahtrt.runtime.landmarks import Landmarks
from mahtrt.schema import plain

SCHEMA = "mahtrt.predict/1"

_LANDMARKS = ("landmark", "x", "y", "confidence", "spread_px", "x_mm", "y_mm", "two_peaks")
_VISIBILITY = ("visibility", "visible")
_LABELS = ("label", "probability", "logit", "present")
_QUANTITIES = ("quantity", "value", "unit")
_MAKER = ("engine", "device")


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was found in one image.

    Attributes:
        image: What the image is called in the results (a path as the user gave it).
        landmarks: What was found, but for maps.
        extra: More facts for the JSON, e.g. ``{"overlay": "out/a.png"}``.
        case: Name of a case of several images, which no other case of the results has; "" for one
            image.
        maps: Size and least, mean and largest value of each map, as
            :meth:`Landmarks.map_summaries` gives them. The maps themselves are not kept: of many
            images they would fill the memory.
        quantities: Clinical quantities of the landmarks, where they were asked for.
    """

    image: str
    landmarks: Landmarks
    extra: Mapping[str, Any] = field(default_factory=dict)
    maps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    case: str = ""
    quantities: tuple[QuantityValue, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        case = {"case": self.case} if self.case else {}
        maps = {"maps": self.maps} if self.maps else {}
        told = {"quantities": plain(self.quantities)} if self.quantities else {}
        found = self.landmarks.to_dict()
        return {"image": self.image, **case, **found, **told, **maps, **self.extra}


def wide_heatmaps_note(predictions: Sequence[Prediction]) -> str | None:
    """What the user should know of points whose heatmap is far too wide; None without any."""
    found = [
        f"{name} in {prediction.case or prediction.image}"
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
        "images": [prediction.to_dict() for prediction in predictions],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def csv_from_predictions(predictions: Sequence[Prediction]) -> str:
    """One row per image and landmark or label; fields stay empty where a value is unknown.

    Columns of cases of several images begin with image and case, the name of the case; others with
    image. Columns of landmarks: landmark, x, y (image pixels), confidence, spread_px, x_mm, y_mm,
    two_peaks (true or false: whether the heatmap is far wider than usual), and visibility and
    visible (true or false) where the network gives them. Where it gives labels: label, probability,
    logit, present (true or false) in rows of their own. Where there are quantities: quantity,
    value, unit (deg, mm or ratio) in rows of their own. At the end of each row: engine and
    device, which made it.

    Raises:
        UsageError: There are only maps, which no row can hold.
    """
    check_rows(any(p.landmarks.names or p.landmarks.labels for p in predictions))
    parts = (_LANDMARKS, _VISIBILITY, _LABELS, _QUANTITIES, _MAKER)
    given = (
        any(p.landmarks.names for p in predictions),
        any(p.landmarks.visibility is not None for p in predictions),
        any(p.landmarks.labels for p in predictions),
        any(p.quantities for p in predictions),
        any(p.landmarks.engine for p in predictions),
    )
    columns = [name for part, there in zip(parts, given, strict=True) if there for name in part]
    text = io.StringIO(newline="")
    about = ("image", "case") if any(p.case for p in predictions) else ("image",)
    writer = csv.DictWriter(text, (*about, *columns), restval="", lineterminator="\n")
    writer.writeheader()
    for prediction in predictions:
        for row in _rows(prediction):
            values = {name: _text(row.get(name)) for name in columns}
            writer.writerow({**{name: getattr(prediction, name) for name in about}, **values})
    return text.getvalue()


def check_rows(has_rows: bool) -> None:
    """Refuse a CSV of a network that gives neither landmarks nor labels.

    Raises:
        UsageError: It is one.
    """
    if not has_rows:
        raise UsageError(
            "--csv",
            got="a network that gives no landmarks and no labels",
            expected="something that fits into rows",
            fix="Write its maps with --maps FOLDER, and their numbers with --json.",
        )


def _rows(prediction: Prediction) -> Iterator[Mapping[str, Any]]:
    """A row per landmark, then one per label, then one per quantity."""
    found = prediction.landmarks.to_dict()
    maker = {name: found.get(name) for name in _MAKER}
    for row in found["landmarks"]:
        yield {**row, **maker, "landmark": row["name"]}
    for rows in found.get("labels", {}).values():
        yield from ({**row, **maker, "label": row["name"]} for row in rows)
    for each in prediction.quantities:
        yield {"quantity": each.name, "value": each.value, "unit": each.unit, **maker}


def _text(value: float | bool | str | None) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None or not math.isfinite(value) else f"{value:.4f}"
