"""Files that ``mahtrt predict`` writes for each image: structured reports and Slicer's markups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mahtrt.atomic import write_bytes_atomic, write_text_atomic
from mahtrt.data.dicom_start import START_BYTES, is_dicom
from mahtrt.data.file_dataset import Entry
from mahtrt.data.frames import split_frame
from mahtrt.data.limits import MOST_IMAGE_BYTES
from mahtrt.destination import check_output
from mahtrt.dicom.algorithm import Algorithm, algorithm_of
from mahtrt.dicom.codes import CodeTable, codes_for, entries_without_landmark
from mahtrt.dicom.image_plane import plane_of_image
from mahtrt.dicom.markups import markups_from_landmarks
from mahtrt.dicom.remarks import without_remarks
from mahtrt.dicom.report_groups import load_highdicom_sr
from mahtrt.dicom.source import not_dicom, read_header, read_source
from mahtrt.dicom.structured_report import ReportContent, make_report
from mahtrt.errors import ImageError, UsageError, shown, some_of
from mahtrt.names import text_of_path
from mahtrt.reading import Wanted, open_regular, read_regular
from mahtrt.runtime.case_writers import CaseResult
from mahtrt.runtime.decode import landmark_names
from mahtrt.runtime.named_cases import image_name
from mahtrt.runtime.session import Session
from mahtrt.spec import ModelSpec

_WANTED = Wanted("an image file", ImageError)


@dataclass(slots=True)
class ReportWriter:
    """A DICOM structured report of each image, in files named by their SOP Instance UID.

    The name of an image may name its patient; the UID of its report does not.

    Attributes:
        folder: Where the reports go.
        landmark_codes: The user's table of codes; None for the shipped one alone.
    """

    folder: Path
    landmark_codes: Path | None = None
    _algorithm: Algorithm | None = field(default=None, init=False, repr=False)
    _codes: CodeTable | None = field(default=None, init=False, repr=False)
    _uids: dict[Path, str] = field(default_factory=dict, init=False, repr=False)
    _images: dict[tuple[str, int | None], Entry] = field(
        default_factory=dict, init=False, repr=False
    )
    _unmatched: list[str] = field(default_factory=list, init=False, repr=False)
    _left_out: dict[str, int] = field(default_factory=dict, init=False, repr=False)

    def begin(self, session: Session, bundle: Path, cases: Sequence[Entry]) -> None:
        """Refuse what no report can be made of.

        Raises:
            UsageError: A network without landmarks, or a file where the folder should be.
            SpecError: A table of codes that is not clear.
            MissingComponentError: highdicom is not installed.
        """
        check_landmarks("--dicom-sr", session.spec)
        load_highdicom_sr()
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError("--dicom-sr", got=f"the file {self.folder}", expected="a folder")
        check_output(self.folder / "report.dcm")
        self._codes = codes_for(self.landmark_codes)
        self._uids, self._images = {}, {}
        if self.landmark_codes is not None:
            names = landmark_names(session.spec)
            self._unmatched = entries_without_landmark(self.landmark_codes, names)
        self._algorithm = algorithm_of(session, bundle)

    def check(self, case: Entry) -> None:
        """Refuse an image that no report can belong to, or that another file claims to be.

        Raises:
            ImageError: It is one.
        """
        file, frame = split_frame(case.path)
        subject = image_name(case)
        if file not in self._uids:
            with open_regular(file, _WANTED) as opened:
                start = opened.read(START_BYTES)
            if not is_dicom(start):
                raise not_dicom(subject)
            with without_remarks():
                content = read_regular(file, _WANTED, MOST_IMAGE_BYTES)
                self._uids[file] = str(read_source(content, subject, frame).header.SOPInstanceUID)
        other = self._images.setdefault((self._uids[file], frame), case)
        if other.path != case.path:
            raise ImageError(
                subject,
                got=f"the same SOP Instance UID as {image_name(other)}",
                expected="another one for another image",
                fix="Leave one of them out.",
            )

    def write(self, case: CaseResult) -> Mapping[str, Any]:
        """Write the report of a case.

        Raises:
            ImageError: The header is not one that a report can belong to.
        """
        assert self._algorithm is not None
        file, frame = split_frame(case.entry.path)
        subject = image_name(case.entry)
        content = ReportContent(
            frame=frame,
            quantities=case.quantities,
            quantity_points=case.quantity_points,
            codes=self._codes,
            spacing=case.spacing,
            subject=subject,
        )
        source = read_regular(file, _WANTED, MOST_IMAGE_BYTES)
        report = make_report(source, case.found, self._algorithm, content)
        for what, why in report.left_out.items():
            self._left_out[f"{what} ({why})"] = self._left_out.get(f"{what} ({why})", 0) + 1
        place = self.folder / f"{report.sop_instance_uid}.dcm"
        write_bytes_atomic(place, report.content)
        return {"dicom_sr": text_of_path(place)}

    def notes(self) -> Iterator[str]:
        """What reports leave out, and codes that no landmark has."""
        if self._unmatched:
            names = some_of([shown(name) for name in self._unmatched], 5)
            yield f"{self.landmark_codes}: {names} matches no landmark of the network."
        if self._left_out:
            told = [
                what if count == 1 else f"{what} in {count} images"
                for what, count in self._left_out.items()
            ]
            yield f"left out of the DICOM reports: {some_of(told, 5)}."


@dataclass(slots=True)
class MarkupsWriter:
    """Landmarks of each image as a point list of 3D Slicer.

    Attributes:
        place: A file whose name ends in ``.json``, for one image; else a folder, in which each
            image has a file named as the image is.
    """

    place: Path
    _without_spacing: int = field(default=0, init=False, repr=False)

    def begin(self, session: Session, bundle: Path, cases: Sequence[Entry]) -> None:
        """Refuse what cannot be written.

        Raises:
            UsageError: A network without landmarks, or one file for several images.
        """
        check_landmarks("--slicer", session.spec)
        if self._is_file() and len(cases) != 1:
            raise UsageError(
                "--slicer",
                got=f"the file {self.place} for {len(cases)} images",
                expected="a folder: Slicer reads one list of points from a file",
                fix="Name a folder, which gets a file for each image.",
            )
        check_output(self.place if self._is_file() else self.place / "points.mrk.json")

    def check(self, case: Entry) -> None:
        """Nothing: points can be written of any image."""

    def write(self, case: CaseResult) -> Mapping[str, Any]:
        """Write the list of a case."""
        file, frame = split_frame(case.entry.path)
        content = read_regular(file, _WANTED, MOST_IMAGE_BYTES)
        with without_remarks():
            header = read_header(content, image_name(case.entry)) if is_dicom(content) else None
            plane = plane_of_image(header, frame, case.found.spacing_mm)
        self._without_spacing += not plane.has_spacing
        place = self.place if self._is_file() else self.place / f"{case.stem}.mrk.json"
        write_text_atomic(place, markups_from_landmarks(case.found, plane))
        return {"slicer": text_of_path(place)}

    def notes(self) -> Iterator[str]:
        """Images whose points are no millimetres."""
        if self._without_spacing:
            images = "image has" if self._without_spacing == 1 else "images have"
            yield (
                f"{self._without_spacing} {images} no pixel spacing: in the files of --slicer a "
                "pixel counts as 1 mm, as Slicer itself takes it."
            )

    def _is_file(self) -> bool:
        return self.place.suffix.lower() == ".json"


def check_landmarks(option: str, spec: ModelSpec) -> None:
    """Refuse a network without landmarks.

    Raises:
        UsageError: It is one.
    """
    if not landmark_names(spec):
        given = ", ".join(dict.fromkeys(output.kind for output in spec.outputs))
        raise UsageError(option, got=f"a network that gives {given}", expected="one with landmarks")
