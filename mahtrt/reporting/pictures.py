"""Pictures of the worst cases: an overview, and the landmark that moved most, enlarged.

They are JPEG inside the page, so that a page needs no other file.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mahtrt.data.sample import Dataset, Sample
from mahtrt.measure.map_cases import MapCase
from mahtrt.measure.maps import difference
from mahtrt.reporting.blocks import Case, Cases, Picture
from mahtrt.reporting.document import At
from mahtrt.reporting.sections.worst import facts_of, title_of
from mahtrt.runtime.map_files import shades, value_range
from mahtrt.runtime.overlay import rgb_picture

_SIDE = 300  # of a picture, in pixels
_QUALITY = 82
_LEAST_CROP, _CROP_OF_IMAGE, _CROP_OF_MOVE = 24.0, 1 / 20, 12.0
_REFERENCE, _ENGINE, _TRUTH, _EDGE = (90, 200, 250), (255, 214, 10), (120, 255, 120), (0, 0, 0)

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Crop:
    """A square part of an image, in its pixels."""

    left: float
    top: float
    side: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        return (self.left, self.top, self.left + self.side, self.top + self.side)

    def place(self, point: Points, size: int) -> tuple[float, float]:
        """Where a point of the image lies in the picture of ``size`` pixels.

        The middle of image pixel 0 lies half a pixel from its edge.
        """
        scale = size / self.side
        return tuple(
            float((value + 0.5 - edge) * scale - 0.5)
            for value, edge in zip(point, (self.left, self.top), strict=True)
        )  # type: ignore[return-value]


def pictured_cases(
    cases: At, dataset: Dataset, landmarks: Sequence[str], maps: Sequence[MapCase] = ()
) -> Cases:
    """The cases with their pictures.

    Args:
        cases: Of the default engine, as a bench ranked them.
        dataset: The images; cases whose image is not among them stay without pictures.
        landmarks: Names of the K landmarks, in the network's order.
        maps: The maps of the cases, in their order, of a network that has no landmarks.
    """
    wanted = {case.text("image") for case in cases.items()}
    images = _samples(dataset, wanted)
    told = []
    for number, case in enumerate(cases.items()):
        sample = images.get(case.text("image"))
        shown: tuple[Picture, ...] = ()
        if sample is not None and landmarks:
            shown = tuple(_pictures(case, sample, landmarks))
        elif sample is not None and number < len(maps):
            shown = tuple(_map_pictures(sample, maps[number]))
        told.append(Case(title_of(case), facts_of(case), shown))
    return Cases(tuple(told))


def _map_pictures(sample: Sample, case: MapCase) -> Iterable[Picture]:
    """The image, the map of the reference and of the engine, and where they differ."""
    image = Image.fromarray(rgb_picture(sample.image))
    yield _jpeg(_fitted(image), f"The image {sample.name}", "the image")
    low, high = value_range(case.reference_map)
    where = f"{case.output} of {sample.name}"
    apart = difference(case.engine_map, case.reference_map)  # (C, h, w)
    k = int(apart.mean(axis=(1, 2)).argmax())  # of several channels, the one that differs most
    for name, values in (("reference", case.reference_map), ("engine", case.engine_map)):
        yield _jpeg(_gray(shades(values[k], low, high)), f"{where} as the {name} gives it", name)
    largest = max(float(apart[k][np.isfinite(apart[k])].max(initial=0.0)), 1e-12)
    shown = np.where(np.isfinite(apart[k]), apart[k] / largest, 1.0)
    caption = "difference, white where it is largest"
    yield _jpeg(_gray(shown), f"Where engine and reference differ in {where}", caption)


def _gray(values: NDArray[np.floating]) -> Image.Image:
    """A map (H, W) in [0, 1] as a picture."""
    gray = np.asarray(np.round(255 * np.clip(np.nan_to_num(values), 0, 1)), np.uint8)
    return _fitted(Image.fromarray(np.stack([gray] * 3, axis=-1)))


def _fitted(image: Image.Image) -> Image.Image:
    """The picture with its longer side as long as pictures are."""
    scale = _SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC)


def _samples(dataset: Dataset, wanted: set[str]) -> dict[str, Sample]:
    """The wanted samples by name; none is decoded whose name is known not to be wanted."""
    names: Sequence[str] | None = getattr(dataset, "names", None)
    places: Iterable[int] = range(len(dataset))
    if names is not None:
        places = [place for place, name in enumerate(names) if name in wanted]
    found: dict[str, Sample] = {}
    for place in places:
        if len(found) == len(wanted):
            break
        sample = dataset[place]
        if sample.name in wanted:
            found[sample.name] = sample
    return found


def _pictures(case: At, sample: Sample, landmarks: Sequence[str]) -> Iterable[Picture]:
    worst = case.text("worst_landmark")
    if worst not in landmarks:
        return
    k = list(landmarks).index(worst)
    engine, reference = (_points(case[key], k) for key in ("points_px", "reference_points_px"))
    truth_of_all = case.get("annotated_points_px")
    truth = None if truth_of_all is None else _points(truth_of_all, k)
    if engine is None or reference is None:
        return
    image = Image.fromarray(rgb_picture(sample.image))
    crop = _crop_around(engine, reference, image.size)
    where = f"{worst} in {sample.name}"
    yield _overview(image, crop, f"Where {where} lies")
    for name, point, colour in (("reference", reference, _REFERENCE), ("engine", engine, _ENGINE)):
        drawn = _enlarged(image, crop, (point, colour), truth)
        caption = name + (", annotation as a ring" if truth is not None else "")
        yield _jpeg(drawn, f"{where} as the {name} finds it", caption)


def _points(place: At, k: int) -> Points | None:
    """Landmark k of a list of points; None where it is not known or not finite."""
    if place.value is None or k >= len(place.value) or place[k].value is None:
        return None
    pair = [place[k].number(axis, "px").value for axis in (0, 1)]
    if any(value is None for value in pair):
        return None
    point = np.asarray(pair, np.float64)
    return point if np.isfinite(point).all() else None


def _crop_around(engine: Points, reference: Points, size: tuple[int, int]) -> _Crop:
    """A square that holds both points with room, the larger the further they are apart."""
    moved = float(np.hypot(*(engine - reference)))
    side = max(_LEAST_CROP, max(size) * _CROP_OF_IMAGE, moved * _CROP_OF_MOVE)
    side = min(side, 4.0 * max(size))
    centre = (engine + reference) / 2 + 0.5
    return _Crop(float(centre[0] - side / 2), float(centre[1] - side / 2), side)


def _overview(image: Image.Image, crop: _Crop, alt: str) -> Picture:
    scale, picture = _SIDE / max(image.size), _fitted(image)
    draw = ImageDraw.Draw(picture)
    box = tuple(edge * scale for edge in crop.box)
    draw.rectangle(box, outline=_EDGE, width=4)
    draw.rectangle(box, outline=_ENGINE, width=2)
    return _jpeg(picture, alt, "the image")


def _enlarged(
    image: Image.Image,
    crop: _Crop,
    mark: tuple[Points, tuple[int, int, int]],
    truth: Points | None,
) -> Image.Image:
    """The crop with a cross at a point, and a ring at the annotation."""
    size = (_SIDE, _SIDE)
    scale = crop.side / _SIDE
    matrix = (scale, 0.0, crop.left, 0.0, scale, crop.top)
    picture = image.transform(
        size, Image.Transform.AFFINE, matrix, resample=Image.Resampling.BICUBIC, fillcolor=(0, 0, 0)
    )
    draw = ImageDraw.Draw(picture)
    if truth is not None:
        x, y = crop.place(truth, _SIDE)
        for radius, width, ink in ((9, 5, _EDGE), (8, 2, _TRUTH)):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=ink, width=width)
    (x, y), colour = crop.place(mark[0], _SIDE), mark[1]
    for arm, width, ink in ((15, 5, _EDGE), (14, 2, colour)):
        draw.line((x - arm, y, x + arm, y), fill=ink, width=width)
        draw.line((x, y - arm, x, y + arm), fill=ink, width=width)
    return picture


def _jpeg(picture: Image.Image, alt: str, caption: str) -> Picture:
    content = io.BytesIO()
    picture.save(content, "jpeg", quality=_QUALITY)
    coded = base64.b64encode(content.getvalue()).decode("ascii")
    return Picture(f"data:image/jpeg;base64,{coded}", alt, caption, *picture.size)
