"""Files of predictions in other units or frames: what stands there, as image pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mahtrt.runtime.expectation.causes.cause import Cause
from mahtrt.runtime.expectation.pipeline import Move, Points, View


def _file(name: str, words: str, advice: str, move: Move) -> Cause:
    return Cause(name, words, advice, lambda pipeline: replace(pipeline, as_image=move))


def _from_network(points: Points, view: View) -> Points:
    return view.placement.image_from_network(points).astype(np.float64)


def _from_cells(points: Points, view: View) -> Points:
    cell = view.cell_xy
    return points if cell is None else _from_network((points + 0.5) * cell - 0.5, view)


def _from_shares(points: Points, view: View) -> Points:
    return points * view.image_xy - 0.5


def _from_shares_of_corner(points: Points, view: View) -> Points:
    return points * view.image_xy


def _from_network_shares(points: Points, view: View) -> Points:
    return _from_network(points * view.network_xy - 0.5, view)


def _from_signed_shares(points: Points, view: View) -> Points:
    return (points + 1) / 2 * view.image_xy - 0.5


def _from_mm(points: Points, view: View) -> Points:
    if view.spacing_mm is None:
        return points
    return points / np.array(view.spacing_mm[::-1], np.float64)


def _swapped(points: Points, view: View) -> Points:
    return points[:, ::-1]


def _mirrored(points: Points, view: View) -> Points:
    return np.stack([view.image_xy[0] - 1 - points[:, 0], points[:, 1]], 1)


def _upwards(points: Points, view: View) -> Points:
    return np.stack([points[:, 0], view.image_xy[1] - 1 - points[:, 1]], 1)


_WRITE = "Write image pixels to the file of predictions, pixel centres at integers."

UNITS = (
    _file(
        "in_network_pixels",
        "The file has pixels of the network's input, not of the image.",
        _WRITE,
        _from_network,
    ),
    _file(
        "in_heatmap_cells",
        "The file has cells of the heatmaps, not image pixels.",
        _WRITE,
        _from_cells,
    ),
    _file(
        "in_shares_of_image",
        "The file has shares of the image's width and height from 0 to 1, not pixels.",
        "Write x * width - 0.5 and y * height - 0.5 to the file of predictions.",
        _from_shares,
    ),
    _file(
        "in_shares_of_image_from_corner",
        "The file has pixels divided by the image's width and height.",
        "Write them undivided to the file of predictions.",
        _from_shares_of_corner,
    ),
    _file(
        "in_shares_of_network",
        "The file has shares of the network's input from 0 to 1, not image pixels.",
        _WRITE,
        _from_network_shares,
    ),
    _file(
        "in_signed_shares",
        "The file has places from -1 to 1, not image pixels.",
        _WRITE,
        _from_signed_shares,
    ),
    _file("in_millimetres", "The file has millimetres, not image pixels.", _WRITE, _from_mm),
    _file(
        "x_and_y_swapped",
        "The file has y before x.",
        "Write x, the column, first.",
        _swapped,
    ),
    _file(
        "x_from_the_right",
        "The file counts x from the right border.",
        _WRITE,
        _mirrored,
    ),
    _file("y_from_below", "The file counts y from the lower border.", _WRITE, _upwards),
)
