"""The image endpoint's work: the bytes of an image file to the document of ``mahtrt predict``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mahtrt.data.dicom_spacing import SpacingChoice
from mahtrt.data.images import ReadImage, image_from_bytes
from mahtrt.data.limits import at_most_pixels
from mahtrt.data.preprocess import check_image
from mahtrt.data.spacing import Spacing, spacing_pair
from mahtrt.dicom.remarks import without_remarks
from mahtrt.errors import InputError, shown
from mahtrt.http.multipart import boundary_of, parts_of
from mahtrt.http.served import Opened
from mahtrt.runtime.landmarks import Landmarks
from mahtrt.runtime.predict import PredictResult
from mahtrt.runtime.results import Prediction

_MOST_FRAME = 10**6


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for beside the landmarks.

    Attributes:
        spacing_mm: (row, column) millimetres per pixel; None leaves it to the file.
        quantities: "auto" or "none".
        frame: Which of several frames of a DICOM file, counted from 1.
    """

    spacing_mm: Spacing | None = None
    quantities: str = "none"
    frame: int | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """The decoded images of a request, in the order of the network's inputs."""

    images: tuple[ReadImage, ...]
    spacing: SpacingChoice


@dataclass(frozen=True, slots=True)
class ImageWork:
    """The bytes of a request to the image endpoint.

    Attributes:
        body: An image file, or several as ``multipart/form-data``, each named as an input.
        content_type: What the request says they are; only whether there are several matters.
        most_pixels: Of one image.
    """

    body: bytes
    content_type: str
    asked: Asked
    most_pixels: int

    def prepare(self, opened: Opened) -> Case:
        names = opened.spec.input_names
        files = self._files(names)
        with at_most_pixels(self.most_pixels), without_remarks():
            images = tuple(image_from_bytes(files[n], n, self.asked.frame) for n in names)
            for name, image in zip(names, images, strict=True):
                check_image(image.pixels, name)
        return Case(images, self._spacing(images[0]))

    def cases(self, prepared: Case) -> int:
        return 1

    def run(self, opened: Opened, prepared: Sequence[Case]) -> Sequence[Landmarks]:
        cases = [tuple(image.pixels for image in case.images) for case in prepared]
        spacings = [case.spacing.spacing_mm for case in prepared]
        return opened.session.run_batch(cases, spacing_mm=spacings)

    def answer(self, opened: Opened, prepared: Case, found: Landmarks) -> bytes:
        names, session = opened.spec.input_names, opened.session
        opened.observe(prepared.images[0].pixels, prepared.spacing.spacing_mm, found)
        selection = opened.selection(self.asked.quantities)
        spacing = prepared.spacing
        values = (
            selection.values(found.points, found.names, spacing.spacing_mm) if selection else ()
        )
        extra: dict[str, Any] = {"spacing_source": spacing.source or None}
        if (dicom := prepared.images[0].dicom) is not None:
            extra["dicom"] = dicom.to_dict()
        if len(names) > 1:
            extra["other_images"] = list(names[1:])
        maps, found = found.map_summaries(), replace(found, maps={}, outputs=None)
        prediction = Prediction(names[0], found, extra, maps, quantities=values)
        name = opened.bundle.path.name
        result = PredictResult(
            name, session.name, (prediction,), (), session.verdict, session.device
        )
        return result.to_json().encode()

    def _files(self, names: Sequence[str]) -> Mapping[str, bytes]:
        """The bytes of each input's image."""
        boundary = boundary_of(self.content_type)
        if boundary is None:
            if len(names) == 1:
                return {names[0]: self.body}
            got, expected = "one image", f"multipart/form-data with {', '.join(names)}"
            raise InputError("body", got=got, expected=expected)
        parts = parts_of(self.body, boundary)
        if len(parts) == len(names) == 1:
            return dict(zip(names, parts.values(), strict=True))
        if set(parts) != set(names):
            got = f"parts named {shown(sorted(parts))}"
            raise InputError("body", got=got, expected=f"parts named {', '.join(names)}")
        return parts

    def _spacing(self, image: ReadImage) -> SpacingChoice:
        if self.asked.spacing_mm is not None:
            return SpacingChoice(self.asked.spacing_mm, "spacing_mm")
        return SpacingChoice() if image.dicom is None else image.dicom.spacing


def asked_from_query(query: Mapping[str, str], quantities: str) -> Asked:
    """``?spacing_mm=0.1&quantities=auto&frame=1`` as what is asked for.

    Args:
        quantities: Those of the service, where the request names none.

    Raises:
        InputError: An unknown name, or a value that cannot be.
    """
    if unknown := sorted(set(query) - {"spacing_mm", "quantities", "frame"}):
        expected = "spacing_mm, quantities or frame"
        raise InputError(f"query {shown(unknown[0])}", expected=expected)
    chosen = query.get("quantities", quantities)
    if chosen not in ("auto", "none"):
        raise InputError("quantities", got=shown(chosen), expected="auto or none")
    frame = query.get("frame")
    if frame is not None and not (frame.isdecimal() and 0 < int(frame[:7]) <= _MOST_FRAME):
        raise InputError("frame", got=shown(frame), expected="a number from 1")
    return Asked(_spacing_from_text(query.get("spacing_mm")), chosen, int(frame) if frame else None)


def _spacing_from_text(text: str | None) -> Spacing | None:
    """``0.1`` or ``0.1,0.12`` (row, column) in millimetres."""
    if text is None:
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        expected = "millimetres per pixel, as 0.1 or as ROW,COLUMN"
        raise InputError("spacing_mm", got=shown(text), expected=expected)
    return spacing_pair((numbers[0], numbers[-1]))
