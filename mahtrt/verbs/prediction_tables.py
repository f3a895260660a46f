"""Predictions as tables for a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table

from mahtrt.verbs.rendering import line

if TYPE_CHECKING:
    from mahtrt.runtime.predict import PredictResult
    from mahtrt.runtime.results import Prediction


def table_of(result: PredictResult) -> RenderableType:
    """A row per image and landmark, quantity, label or map: a table for each that there are."""
    tables = (
        _landmark_table(result),
        _quantity_table(result),
        _label_table(result),
        _map_table(result),
    )
    found = [table for table in tables if table.row_count] or [tables[0]]
    found[0].title = line(f"{result.bundle} · {result.engine} · {result.device}")
    return found[0] if len(found) == 1 else Group(*found)


def _landmark_table(result: PredictResult) -> Table:
    has_visibility = any(p.landmarks.visibility is not None for p in result.predictions)
    seen = ("visible",) if has_visibility else ()
    table = _table(("image", "landmark"), ("x px", "y px", "confidence", "spread px", *seen))
    table.add_column("")  # a remark
    for prediction in result.predictions:
        for index, row in enumerate(prediction.landmarks.to_dict()["landmarks"]):
            numbers = [row["x"], row["y"], row["confidence"], row["spread_px"]]
            numbers += [row.get("visibility")] if seen else []
            table.add_row(
                line(_name(prediction) if index == 0 else ""),
                line(row["name"]),
                *map(_number, numbers),
                "wide heatmap" if row["two_peaks"] else "",
            )
    return table


def _label_table(result: PredictResult) -> Table:
    table = _table(("image", "label"), ("probability",))
    table.add_column("")  # a remark
    for prediction in result.predictions:
        labels = prediction.landmarks.to_dict().get("labels", {})
        for index, row in enumerate(row for rows in labels.values() for row in rows):
            image = line(_name(prediction) if index == 0 else "")
            present = "present" if row["present"] else ""
            table.add_row(image, line(row["name"]), _number(row["probability"]), present)
    return table


def _quantity_table(result: PredictResult) -> Table:
    table = _table(("image", "quantity"), ("value",))
    table.add_column("")  # the unit
    for prediction in result.predictions:
        for index, each in enumerate(prediction.quantities):
            image = line(_name(prediction) if index == 0 else "")
            value = "unknown" if math.isnan(each.value) else f"{each.value:.2f}"
            table.add_row(image, line(each.name), value, each.unit)
    return table


def _map_table(result: PredictResult) -> Table:
    table = _table(("image", "map"), ("size", "min", "mean", "max"))
    for prediction in result.predictions:
        for index, (name, row) in enumerate(prediction.maps.items()):
            image = line(_name(prediction) if index == 0 else "")
            size = "x".join(map(str, row["size"][-2:]))
            numbers = (_number(row[each]) for each in ("min", "mean", "max"))
            table.add_row(image, line(name), size, *numbers)
    return table


def _name(prediction: Prediction) -> str:
    return prediction.case or prediction.image


def _table(names: tuple[str, ...], numbers: tuple[str, ...]) -> Table:
    """A table with columns of text and of numbers."""
    # Text and not str: brackets in a file's name are no markup.
    table = Table(title_justify="left")
    for column in names:
        table.add_column(column)
    for column in numbers:
        table.add_column(column, justify="right")
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
