"""Landmark x block matrices as a picture: one coloured square per cell, its number inside."""

from __future__ import annotations

import io
import math
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from mahtrt.atomic import write_bytes_atomic
from mahtrt.measure.distances import PX_OF
from mahtrt.planning.matrix import BlockRow, Cell, Sensitivity

_CELL = (62, 20)  # width, height
_MARGIN, _GAP, _TEXT = 12, 8, 12
_SLOPE = 45  # degrees of the landmarks' names
# Colours from 1/1000 px to 1 px, by the logarithm: what a tenth of the budget is can be seen.
_LOW_PX, _HIGH_PX = 1e-3, 1.0
_STOPS = ((247, 251, 255), (253, 219, 141), (240, 112, 74), (122, 4, 64))
_INK, _FAINT, _PAPER = (20, 20, 20), (120, 120, 120), (255, 255, 255)

# What the numbers are, where all columns have one unit.
_SAID = {"px": "Mean displacement in network px"}

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Colour = tuple[int, int, int]


def write_picture(path: Path, sensitivity: Sensitivity) -> None:
    """Draw a matrix into a PNG file.

    Raises:
        BuildError: The place cannot be written.
    """
    content = io.BytesIO()
    draw_picture(sensitivity).save(content, "png")
    write_bytes_atomic(path, content.getbuffer())


def draw_picture(sensitivity: Sensitivity) -> Image.Image:
    """The matrix of INT8 as an RGB picture, and below it that of half precision: what was measured.

    Rows are blocks in the order of the graph, those that the rules keep in floating point in
    gray; columns are landmarks, and last the mean over them. A cell is the mean displacement in
    network pixels, or the mean distance of another target; ``*`` says that two-peaked points are
    among it.
    """
    font = ImageFont.load_default(_TEXT)
    said = f"{_SAID.get(sensitivity.unit, 'Mean distance')}, one block in "
    images = f"{sensitivity.images} images"
    int8 = f"{said}INT8 ({sensitivity.method}, {sensitivity.weight_bits}-bit weights, {images})"
    half = f"{said}{sensitivity.half.upper()} ({images})"
    matrices = [(int8, sensitivity.blocks), (half, sensitivity.half_blocks)]
    matrices = [each for each in matrices if each[1]] or matrices[:1]
    columns = [*sensitivity.landmarks, "mean"]
    names = [row.name for _, rows in matrices for row in rows]
    left = _MARGIN + max((_width(n, font) for n in names), default=0) + _GAP
    lean = math.ceil(max(_width(c, font) for c in columns) * math.sin(math.radians(_SLOPE)))
    head = 2 * _TEXT + _GAP + lean + _GAP  # of a matrix: its title, and the landmarks' names
    most = max(_width(title, font) for title, _ in matrices)
    right = max(left + len(columns) * _CELL[0] + lean, _MARGIN + most) + _MARGIN
    bottom = sum(_MARGIN + head + len(rows) * _CELL[1] for _, rows in matrices) + _MARGIN
    picture = Image.new("RGB", (right, bottom), _PAPER)
    draw, y = ImageDraw.Draw(picture), 0
    for title, rows in matrices:
        draw.text((_MARGIN, y + _MARGIN), title, _INK, font)
        y += _MARGIN + head
        for k, name in enumerate(columns):
            _lean(picture, name, (left + k * _CELL[0] + _CELL[0] // 2, y - _GAP // 2), font)
        for row in rows:
            _draw_row(draw, row, (left, y), font)
            y += _CELL[1]
    return picture


def colour_of(px: float) -> Colour:
    """The colour of a displacement."""
    if not math.isfinite(px):
        return _STOPS[-1]
    span = math.log(_HIGH_PX / _LOW_PX)
    place = math.log(max(px, _LOW_PX) / _LOW_PX) / span
    place = min(place, 1.0) * (len(_STOPS) - 1)
    low = min(int(place), len(_STOPS) - 2)
    share = place - low
    pairs = zip(_STOPS[low], _STOPS[low + 1], strict=True)
    red, green, blue = (round(a + share * (b - a)) for a, b in pairs)
    return red, green, blue


def _draw_row(draw: ImageDraw.ImageDraw, row: BlockRow, at: tuple[int, int], font: Font) -> None:
    left, top = at
    middle = top + _CELL[1] // 2
    ink = _FAINT if row.ruled_out else _INK
    draw.text((left - _GAP, middle), row.name, ink, font, anchor="rm")
    units = {cell.unit for cell in row.cells}
    mean = Cell(row.mean_px, *(0.0,) * 4, unit=units.pop() if len(units) == 1 else "px")
    for k, cell in enumerate((*row.cells, mean)):
        x = left + k * _CELL[0]
        fill = colour_of(cell.mean_px * PX_OF[cell.unit])
        draw.rectangle((x, top, x + _CELL[0] - 2, top + _CELL[1] - 2), fill=fill)
        text = f"{cell.mean_px:.3f}{'*' if cell.two_peaked else ''}"
        dark = sum(fill) < 3 * 128
        place = (x + _CELL[0] // 2 - 1, middle - 1)
        draw.text(place, text, _PAPER if dark else _INK, font, anchor="mm")


def _lean(picture: Image.Image, text: str, at: tuple[int, int], font: Font) -> None:
    """Text that climbs from a point to the upper right."""
    size = (_width(text, font) + 2, 2 * _TEXT)
    strip = Image.new("L", size, 0)
    ImageDraw.Draw(strip).text((0, size[1] // 2), text, 255, font, anchor="lm")
    turned = strip.rotate(_SLOPE, expand=True, resample=Image.Resampling.BICUBIC)
    # The text began at the middle of the strip's left side.
    angle = math.radians(_SLOPE)
    down = size[0] * math.sin(angle) + size[1] / 2 * math.cos(angle)
    along = size[1] / 2 * math.sin(angle)
    place = (round(at[0] - along), round(at[1] - down))
    picture.paste(_INK, place, turned)


def _width(text: str, font: Font) -> int:
    return math.ceil(font.getlength(text))
