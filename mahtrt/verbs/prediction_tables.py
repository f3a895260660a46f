"""Predictions as tables for a terminal."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from mahtrt.verbs.tables import Column, FittedTable, numbers

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
    title = f"{result.bundle}, {result.engine} on {result.device}"
    found[0] = replace(found[0], title=title)
    if len(found) == 1:
        return found[0]
    parts: list[RenderableType] = []
    for table in found:
        parts += [Text(), table] if parts else [table]
    return Group(*parts)


def _landmark_table(result: PredictResult) -> FittedTable:
    has_visibility = any(p.landmarks.visibility is not None for p in result.predictions)
    seen = ("visible",) if has_visibility else ()
    columns = (
        *(Column("image"), Column("landmark"), *numbers("x px", "y px", "confidence")),
        *(*numbers("spread px", *seen), Column("")),  # the last is a remark
    )
    rows = []
    for prediction in result.predictions:
        for row in prediction.landmarks.to_dict()["landmarks"]:
            found = [row["x"], row["y"], row["confidence"], row["spread_px"]]
            found += [row.get("visibility")] if seen else []
            remark = "wide heatmap" if row["two_peaks"] else ""
            rows.append((_name(prediction), row["name"], *map(_number, found), remark))
    return FittedTable(columns, rows, repeats_names=False)


def _label_table(result: PredictResult) -> FittedTable:
    columns = (Column("image"), Column("label"), *numbers("probability"), Column(""))
    rows = []
    for prediction in result.predictions:
        labels = prediction.landmarks.to_dict().get("labels", {})
        for row in (row for rows in labels.values() for row in rows):
            present = "present" if row["present"] else ""
            found = _number(row["probability"])
            rows.append((_name(prediction), row["name"], found, present))
    return FittedTable(columns, rows, repeats_names=False)


def _quantity_table(result: PredictResult) -> FittedTable:
    columns = (Column("image"), Column("quantity"), *numbers("value"), Column(""))  # the unit
    rows = []
    for prediction in result.predictions:
        for each in prediction.quantities:
            value = "unknown" if math.isnan(each.value) else f"{each.value:.2f}"
            rows.append((_name(prediction), each.name, value, each.unit))
    return FittedTable(columns, rows, repeats_names=False)


def _map_table(result: PredictResult) -> FittedTable:
    columns = (Column("image"), Column("map"), *numbers("size", "min", "mean", "max"))
    rows = []
    for prediction in result.predictions:
        for name, row in prediction.maps.items():
            size = "x".join(map(str, row["size"][-2:]))
            found = (_number(row[each]) for each in ("min", "mean", "max"))
            rows.append((_name(prediction), name, size, *found))
    return FittedTable(columns, rows, repeats_names=False)


def _name(prediction: Prediction) -> str:
    return prediction.case or prediction.image


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
