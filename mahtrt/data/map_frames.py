"""Maps between the pixels of an image and the grid of a network's output.

A map (C, h, w) of a network lies over the whole of its first input, which an image was fitted to
(:mod:`mahtrt.data.preprocess`). What was resized is resized back, means where it shrinks and
linear where it grows; what was padded is cut off, and what was cropped is unknown: NaN.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mahtrt.data.preprocess import Placement

Map = NDArray[np.float32]
Size = tuple[int, int]


def image_map_from_network(
    values: NDArray[np.floating], placement: Placement, input_size: Size, image_size: Size
) -> Map:
    """A network's map in the pixels of the image that it was made of.

    Args:
        values: (C, h, w), over the whole of the network's input.
        placement: Where the image lies on the input.
        input_size: (height, width) of the input in pixels.
        image_size: (height, width) of the image.

    Returns:
        (C, height, width) of the image; NaN where the image was cropped.
    """
    fitted = _fitted_size(placement, image_size)
    top, left = round(placement.offset[1]), round(placement.offset[0])
    canvas = np.full((len(values), *fitted), np.nan, np.float32)
    theirs, ours = _overlap(input_size, fitted, top, left)
    canvas[(slice(None), *ours)] = _resized(values, input_size)[(slice(None), *theirs)]
    return _resized(canvas, image_size)


def network_map_from_image(
    values: NDArray[np.floating], placement: Placement, input_size: Size, map_size: Size
) -> Map:
    """An image's map, such as an annotation, in the grid of a network's output.

    Args:
        values: (C, height, width) in the image's pixels.
        placement, input_size: As for :func:`image_map_from_network`.
        map_size: (h, w) of the network's output.

    Returns:
        (C, h, w); NaN where the input has no image, or a cell is partly beside it.
    """
    fitted = _fitted_size(placement, values.shape[1:])
    top, left = round(placement.offset[1]), round(placement.offset[0])
    canvas = np.full((len(values), *input_size), np.nan, np.float32)
    theirs, ours = _overlap(input_size, fitted, top, left)
    canvas[(slice(None), *theirs)] = _resized(values, fitted)[(slice(None), *ours)]
    return _resized(canvas, map_size)


def _fitted_size(placement: Placement, image_size: tuple[int, ...]) -> Size:
    """(rows, columns) of the image once resized, before it was padded or cropped."""
    (across, down), (rows, columns) = placement.scale, image_size
    return max(1, round(rows * down)), max(1, round(columns * across))


def _overlap(
    input_size: Size, fitted: Size, top: int, left: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where the resized image lies on the input, and the same place on the resized image."""
    starts = max(0, top), max(0, left)
    ends = min(input_size[0], top + fitted[0]), min(input_size[1], left + fitted[1])
    theirs = slice(starts[0], ends[0]), slice(starts[1], ends[1])
    ours = slice(starts[0] - top, ends[0] - top), slice(starts[1] - left, ends[1] - left)
    return theirs, ours


def _resized(values: NDArray[np.floating], size: Size) -> Map:
    """Each channel at another size: means along an axis that shrinks, linear along the other."""
    planes = [_resized_plane(np.asarray(plane, np.float32), size) for plane in values]
    return np.stack(planes)


def _resized_plane(plane: Map, size: Size) -> Map:
    least = min(size[0], plane.shape[0]), min(size[1], plane.shape[1])
    if plane.shape != least:
        plane = cv2.resize(plane, least[::-1], interpolation=cv2.INTER_AREA)
    if plane.shape != size:
        plane = cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR)
    return plane.reshape(size)
