"""What the user should know of the images that a prediction is made of."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mahtrt.data.alike import ALL_ALIKE, is_alike
from mahtrt.data.sample import Sample
from mahtrt.data.studies import passed_over_note
from mahtrt.errors import ImageError, some_of


@dataclass(frozen=True, slots=True)
class Told:
    """Collects what is to be said of images, such as what DICOM files say, each note once.

    Attributes:
        passed_over: Kind of a DICOM object without an image, to how many a folder held.
        images: A note, to the images that it is about.
    """

    passed_over: Counter[str] = field(default_factory=Counter)
    images: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def of_image(self, image: str, sample: Sample, spacing_source: str) -> dict[str, Any]:
        """What the JSON says of an image, and notes of it.

        Args:
            image: What results call it.
            spacing_source: What the spacing that was used comes from; "" without a spacing.
        """
        extra: dict[str, Any] = {"spacing_source": spacing_source or None}
        # What a DICOM file says of the first image tells that, too.
        if any(is_alike(each) for each in sample.images[sample.dicom is not None :]):
            self.images[ALL_ALIKE].append(image)
        if sample.dicom is None:
            return extra
        own = not spacing_source or spacing_source == sample.dicom.spacing.source
        for note in sample.dicom.notes if own else sample.dicom.other_notes:
            self.images[note].append(image)
        return {**extra, "dicom": sample.dicom.to_dict()}

    @property
    def notes(self) -> Iterator[str]:
        """Each note once, with the images that it is about."""
        if self.passed_over:
            yield passed_over_note(self.passed_over)
        for note, images in self.images.items():
            yield f"{some_of(images)}: {note}"


def left_out_notes(errors: Sequence[ImageError]) -> list[str]:
    """What is told of images that were left out: each reason once, with the images it is about."""
    alike: defaultdict[tuple[str, str, str], list[ImageError]] = defaultdict(list)
    for error in errors:
        alike[error.got, error.expected, error.fix].append(error)
    return [_left_out(each) for each in alike.values()]


def _left_out(errors: Sequence[ImageError]) -> str:
    if len(errors) == 1:
        return f"left out: {errors[0]}"
    names = some_of([error.subject for error in errors])
    first = errors[0]
    told = ImageError(names, got=first.got, expected=first.expected, fix=first.fix)
    return f"left out {len(errors)} images: {told}"
