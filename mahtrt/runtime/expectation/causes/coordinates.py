"""Other ways from the network's pixels to the image's: half pixels, scales, sizes, offsets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mahtrt.runtime.expectation.causes.cause import Cause
from mahtrt.runtime.expectation.pipeline import Move, Points, View, image_points

_DEFINITION = (
    "With pixel centres at integers, x_network = (x_heatmap + 0.5) * width / heatmap_width - 0.5, "
    "and x_image = (x_network - left + 0.5) / scale - 0.5 (docs/preprocessing.md). Compute so in "
    "your pipeline."
)
_FRAME = _DEFINITION + (
    " If the network itself gives its points that way, correct them in its last layer: frames of "
    "the spec's outputs count from pixel centres."
)


def _in_image(name: str, words: str, move: Move, advice: str = _DEFINITION) -> Cause:
    return Cause(name, words, advice, lambda pipeline: replace(pipeline, to_image=move))


def _in_network(name: str, words: str, move: Move, advice: str = _FRAME) -> Cause:
    """A cause that acts before network pixels become image pixels."""

    def to_image(points: Points, view: View) -> Points:
        return image_points(move(points, view), view)

    return _in_image(name, words, to_image, advice)


def _scale(view: View) -> Points:
    return np.array(view.placement.scale, np.float64)


def _offset(view: View) -> Points:
    return np.array(view.placement.offset, np.float64)


def _index(points: Points, view: View) -> Points:
    """Points in heatmap cells, the first cell's centre at 0."""
    cell = view.cell_xy
    return points if cell is None else (points + 0.5) / cell - 0.5


def _cell_corners(points: Points, view: View) -> Points:
    cell = view.cell_xy
    return points if cell is None else _index(points, view) * cell


def _cells_aligned(points: Points, view: View) -> Points:
    if view.cells is None:
        return points
    cells_xy = np.array(view.cells[::-1], np.float64)
    return _index(points, view) * (view.network_xy - 1) / np.maximum(cells_xy - 1, 1)


def _without_half(points: Points, view: View) -> Points:
    return (points - _offset(view)) / _scale(view)


def _cell_to_image(points: Points, view: View) -> Points:
    return _without_half(_cell_corners(points, view), view)


def _cells_aligned_to_image(points: Points, view: View) -> Points:
    return _size_minus_one(_cells_aligned(points, view), view)


def _size_minus_one(points: Points, view: View) -> Points:
    content = view.image_xy * _scale(view)
    return (points - _offset(view)) * (view.image_xy - 1) / np.maximum(content - 1, 1)


def _sizes_swapped(points: Points, view: View) -> Points:
    share = (points - _offset(view) + 0.5) / (_scale(view) * view.image_xy)
    return np.asarray(share * view.image_xy[::-1] - 0.5, np.float64)


def _offset_left(points: Points, view: View) -> Points:
    return (points + 0.5) / _scale(view) - 0.5


def _as_stretched(points: Points, view: View) -> Points:
    return np.asarray((points + 0.5) * view.image_xy / view.network_xy - 0.5, np.float64)


def _one_scale(axis: int) -> Move:
    def move(points: Points, view: View) -> Points:
        return np.asarray((points - _offset(view) + 0.5) / _scale(view)[axis] - 0.5, np.float64)

    return move


def _unrounded(points: Points, view: View) -> Points:
    """The exact factor of a letterbox, and the exact half of what it adds."""
    scale = float((view.network_xy / view.image_xy).min())
    offset = (view.network_xy - view.image_xy * scale) / 2
    return (points - offset + 0.5) / scale - 0.5


def _moved(by: float) -> Move:
    return lambda points, view: points + by


def _moved_in_image(by: float) -> Move:
    return lambda points, view: image_points(points, view) + by


def _rounded(points: Points, view: View) -> Points:
    return np.asarray(np.rint(image_points(points, view)), np.float64)


def _cut(points: Points, view: View) -> Points:
    return np.asarray(np.trunc(image_points(points, view)), np.float64)


def _rounded_in_network(points: Points, view: View) -> Points:
    return np.asarray(np.rint(points), np.float64)


COORDINATES = (
    _in_network(
        "heatmap_index_times_stride",
        "Your pipeline takes a heatmap cell's index times the stride for its place, which is the "
        "cell's corner and not its centre.",
        _cell_corners,
    ),
    _in_network(
        "heatmap_corners_aligned",
        "Your pipeline scales heatmap cells to network pixels by (size - 1) / (heatmap size - 1).",
        _cells_aligned,
    ),
    _in_image(
        "heatmap_index_to_image",
        "Your pipeline scales a heatmap cell's index to image pixels without the half pixels "
        "between corners and centres.",
        _cell_to_image,
        _FRAME,
    ),
    _in_image(
        "heatmap_to_image_by_size_minus_one",
        "Your pipeline scales heatmap cells to image pixels by sizes less one.",
        _cells_aligned_to_image,
        _FRAME,
    ),
    _in_network(
        "network_pixels_plus_half",
        "Your pipeline counts network pixels from their corner: its points lie half a network "
        "pixel to the right and down.",
        _moved(0.5),
    ),
    _in_network(
        "network_pixels_minus_half",
        "Your pipeline's points lie half a network pixel to the left and up.",
        _moved(-0.5),
    ),
    _in_network(
        "network_pixels_plus_one",
        "Your pipeline counts network pixels from 1.",
        _moved(1.0),
    ),
    _in_network(
        "network_pixels_rounded",
        "Your pipeline rounds points to whole network pixels.",
        _rounded_in_network,
        "Keep fractions of pixels in your pipeline.",
    ),
    _in_image(
        "image_pixels_without_half",
        "Your pipeline divides network pixels by the scale without the half pixel between corners "
        "and centres.",
        _without_half,
    ),
    _in_image(
        "image_pixels_by_size_minus_one",
        "Your pipeline scales network pixels to image pixels by (width - 1), not by the width.",
        _size_minus_one,
    ),
    _in_image(
        "image_pixels_plus_half",
        "Your pipeline counts image pixels from their corner: its points lie half an image pixel "
        "to the right and down.",
        _moved_in_image(0.5),
    ),
    _in_image(
        "image_pixels_minus_half",
        "Your pipeline's points lie half an image pixel to the left and up.",
        _moved_in_image(-0.5),
    ),
    _in_image(
        "image_pixels_plus_one",
        "Your pipeline counts image pixels from 1.",
        _moved_in_image(1.0),
    ),
    _in_image(
        "image_pixels_rounded",
        "Your pipeline rounds points to whole image pixels.",
        _rounded,
        "Write fractions of pixels to the file of predictions.",
    ),
    _in_image(
        "image_pixels_cut",
        "Your pipeline cuts points to whole image pixels, as int() does.",
        _cut,
        "Write fractions of pixels to the file of predictions.",
    ),
    _in_image(
        "sizes_swapped",
        "Your pipeline swaps width and height of the image where it scales points back.",
        _sizes_swapped,
        "Scale x by the width and y by the height in your pipeline (shape is height first).",
    ),
    _in_image(
        "offset_not_removed",
        "Your pipeline does not subtract the padding (or add the crop) where it scales points "
        "back.",
        _offset_left,
    ),
    _in_image(
        "scaled_back_as_stretched",
        "Your pipeline scales points back as if images were stretched; it prepares them by "
        "{resize}.",
        _as_stretched,
    ),
    _in_image(
        "scaled_back_by_width",
        "Your pipeline scales y back by the factor of x.",
        _one_scale(0),
    ),
    _in_image(
        "scaled_back_by_height",
        "Your pipeline scales x back by the factor of y.",
        _one_scale(1),
    ),
    _in_image(
        "letterbox_unrounded",
        "Your pipeline scales points back by the letterbox's exact factor and padding, where "
        "images were resized to whole pixels.",
        _unrounded,
    ),
)
