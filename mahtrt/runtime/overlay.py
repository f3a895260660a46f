"""What was found, drawn on its image: a map as a tint of heat, landmarks as crosses with names.

An ellipse around a cross is the spread of its point. A landmark that the network does not take to
be visible has no ellipse, and a cross in gray.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mahtrt.atomic import write_bytes_atomic
from mahtrt.runtime.landmarks import Landmarks
from mahtrt.runtime.map_files import shades, value_range

MIN_LONG_SIDE_PX = 512
_MARK, _SPREAD, _TEXT, _OUTLINE = (255, 214, 10), (90, 200, 250), (255, 255, 255), (0, 0, 0)
_HIDDEN = (150, 150, 150)
_MOST_TINT = 0.65  # of the picture's colour, where a map is at its whitest
# Heat from dark red over orange to yellow.
_HEAT = np.array([(110, 0, 30), (230, 70, 20), (255, 230, 60)], np.float32)

Box = tuple[float, float, float, float]


class _NamedBytes(io.BytesIO):
    """A file in memory, whose name tells Pillow which kind of picture to write."""

    name: str


def write_overlay(path: Path, image: NDArray[Any], landmarks: Landmarks) -> None:
    """Draw an overlay into a picture file; the suffix of ``path`` gives its kind.

    Raises:
        BuildError: The place cannot be written.
    """
    write_bytes_atomic(path, overlay_content(path.name, image, landmarks))


def overlay_content(name: str, image: NDArray[Any], landmarks: Landmarks) -> bytes:
    """The picture file of an overlay; the suffix of its name gives its kind."""
    content = _NamedBytes()
    content.name = name
    draw_overlay(image, landmarks).save(content)
    return content.getvalue()


def draw_overlay(image: NDArray[Any], landmarks: Landmarks) -> Image.Image:
    """Draw landmarks on a copy of the image.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3), uint8 or uint16, the one that was run. 16-bit
            images are shown over the range of values they use.
        landmarks: In the image's pixels. Points that are not finite are left out. Maps are drawn
            over each other, each the more the whiter it is.

    Returns:
        An RGB picture; a small image is enlarged by a whole factor so that names can be read.
    """
    picture = Image.fromarray(_tinted(rgb_picture(image), landmarks))
    zoom = math.ceil(MIN_LONG_SIDE_PX / max(picture.size))
    if zoom > 1:
        size = (picture.width * zoom, picture.height * zoom)
        picture = picture.resize(size, Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(picture)
    line = max(1, round(max(picture.size) / 700))
    seen = [i for i in range(len(landmarks.names)) if np.isfinite(landmarks.points[i]).all()]
    # The middle of pixel x lies at (x + 0.5) * zoom from the edge of the enlarged picture.
    centres = {i: (landmarks.points[i].astype(float) + 0.5) * zoom - 0.5 for i in seen}
    hidden = [] if landmarks.visible is None else np.flatnonzero(~landmarks.visible).tolist()
    for i in seen:
        if i not in hidden:
            _draw_spread(draw, centres[i], _radii(landmarks, i) * zoom, line)
    marks = [_draw_cross(draw, centres[i], line, _HIDDEN if i in hidden else _MARK) for i in seen]
    _draw_names(draw, picture.size, [(landmarks.names[i], centres[i]) for i in seen], marks)
    return picture


def rgb_picture(image: NDArray[Any]) -> NDArray[np.uint8]:
    """An image (H, W), (H, W, 1) or (H, W, 3) as (H, W, 3) of 8 bits, over the values it uses."""
    image = image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image
    if image.dtype != np.uint8:
        low, high = int(image.min()), int(image.max())
        image = (image.astype(np.float32) - low) * (255.0 / max(1, high - low))
        image = np.round(image).astype(np.uint8)
    return np.stack([image] * 3, axis=-1) if image.ndim == 2 else np.ascontiguousarray(image)


def _tinted(picture: NDArray[np.uint8], landmarks: Landmarks) -> NDArray[np.uint8]:
    """The picture (H, W, 3) with every channel of every map over it."""
    for name in landmarks.maps:
        values = landmarks.map_in_image(name, picture.shape)
        for plane in values:
            picture = _heated(picture, shades(plane, *value_range(values)))
    return picture


def _heated(picture: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Mix the picture with the colour of heat (H, W) in [0, 1]: nothing at 0."""
    stops = np.linspace(0, 1, len(_HEAT))
    colours = np.stack([np.interp(heat, stops, _HEAT[:, k]) for k in range(3)], axis=-1)
    share = _MOST_TINT * heat[..., None]
    return np.round(picture * (1 - share) + colours * share).astype(np.uint8)


def _radii(landmarks: Landmarks, i: int) -> NDArray[np.floating]:
    """Half axes (x, y) in image pixels: one standard deviation along each."""
    if landmarks.spread_xy is not None:
        return np.asarray(landmarks.spread_xy[i], float)
    return np.full(2, landmarks.spread[i] / math.sqrt(2), float)


def _draw_spread(
    draw: ImageDraw.ImageDraw, centre: NDArray[Any], radii: NDArray[Any], line: int
) -> None:
    if not np.isfinite(radii).all() or radii.min() <= 0:
        return
    # Nothing larger than the picture is worth drawing, and Pillow's time grows with it.
    radii = np.minimum(radii, 2 * max(draw.im.size))
    box = (*(centre - radii), *(centre + radii))
    draw.ellipse(box, outline=_SPREAD, width=line)


def _draw_cross(
    draw: ImageDraw.ImageDraw, centre: NDArray[Any], line: int, mark: tuple[int, int, int]
) -> Box:
    """A cross with a dark edge; returns the box it takes."""
    arm = 5 * line
    x, y = map(float, centre)
    for colour, width in ((_OUTLINE, 3 * line), (mark, line)):
        draw.line((x - arm, y, x + arm, y), fill=colour, width=width)
        draw.line((x, y - arm, x, y + arm), fill=colour, width=width)
    return (x - arm, y - arm, x + arm, y + arm)


def _draw_names(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    names: Iterable[tuple[str, NDArray[Any]]],
    marks: list[Box],
) -> None:
    height = max(12.0, max(size) / 45)
    font = ImageFont.load_default(height)
    stroke = max(1, round(height / 10))
    taken = list(marks)
    for name, centre in names:
        left, top, right, bottom = draw.textbbox((0, 0), name, font=font, stroke_width=stroke)
        box = _free_box(centre, (right - left, bottom - top), size, taken, gap=height * 0.6)
        taken.append(box)
        draw.text(
            (round(box[0] - left), round(box[1] - top)),  # Pillow clips at fractions below 0
            name,
            font=font,
            fill=_TEXT,
            stroke_width=stroke,
            stroke_fill=_OUTLINE,
        )


def _free_box(
    centre: NDArray[Any],
    text: tuple[float, float],
    size: tuple[int, int],
    taken: list[Box],
    *,
    gap: float,
) -> Box:
    """The place beside ``centre`` that covers the least of what is taken, inside the picture."""
    (x, y), (width, height) = map(float, centre), text
    places = (
        (x + gap, y - height / 2),
        (x - gap - width, y - height / 2),
        (x + gap, y - gap - height),
        (x + gap, y + gap),
        (x - gap - width, y - gap - height),
        (x - gap - width, y + gap),
        (x - width / 2, y - gap - height),
        (x - width / 2, y + gap),
    )
    boxes = []
    for left, top in places:
        left = min(max(left, 0.0), max(0.0, size[0] - width))
        top = min(max(top, 0.0), max(0.0, size[1] - height))
        boxes.append((left, top, left + width, top + height))
    return min(boxes, key=lambda box: sum(_overlap(box, other) for other in taken))


def _overlap(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)
