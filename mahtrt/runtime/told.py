"""What the user should know of the images that a prediction is made of."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mahtrt.data.sample import Sample
from mahtrt.data.studies import passed_over_note
from mahtrt.errors import some_of


@dataclass(frozen=True, slots=True)
class Told:
    """Collects what DICOM files say of their images, so that each note appears once.

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
