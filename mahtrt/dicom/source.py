"""The image that a report is about: what of its DICOM header the report needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mahtrt.data.dicom_damage import reading_dicom
from mahtrt.data.dicom_file import cut_off_error, inflated
from mahtrt.data.dicom_groups import CountedReads
from mahtrt.data.dicom_start import is_dicom
from mahtrt.errors import ImageError, require

NEEDED_FOR = "DICOM structured reports"
_UIDS = {
    "StudyInstanceUID": "Study Instance UID",
    "SeriesInstanceUID": "Series Instance UID",
    "SOPInstanceUID": "SOP Instance UID",
    "SOPClassUID": "SOP Class UID",
}


@dataclass(frozen=True, slots=True)
class Source:
    """A DICOM image by its header.

    Attributes:
        header: Its data set, without the pixels.
        frame: The frame that the landmarks are of, from 1; None of an image with one.
    """

    header: Any
    rows: int
    columns: int
    frame: int | None

    @property
    def frames(self) -> list[int] | None:
        """Referenced Frame Number (DICOM PS3.3, table 10-3), where there are other frames."""
        return None if self.frame is None else [self.frame]


def read_source(content: bytes, subject: str, frame: int | None = None) -> Source:
    """Read the header of the image that landmarks were found in.

    Args:
        content: The DICOM file, whose image :func:`mahtrt.data.dicom.read_dicom` could read.
        subject: Its name, for messages.
        frame: Which of its frames, from 1; None for an image with one.

    Raises:
        ImageError: No DICOM, no identifiers of study, series and image, or no such frame.
        MissingComponentError: pydicom is not installed.
    """
    header = read_header(content, subject)
    with reading_dicom(subject, "header"):
        missing = [name for key, name in _UIDS.items() if not _is_uid(header.get(key))]
    if missing:
        raise ImageError(
            subject,
            got=f"no {' and no '.join(missing)}, or none that can be one",
            expected="an image that a report can refer to, of a study and a series",
            fix="Take the image from the archive, as it was stored there.",
        )
    with reading_dicom(subject, "header"):
        rows, columns = int(header.Rows), int(header.Columns)
        frames = int(header.get("NumberOfFrames") or 1)
    return Source(header, rows, columns, _checked_frame(frame, frames, subject))


def read_header(content: bytes, subject: str) -> Any:
    """The data set of a DICOM file without its pixels.

    Raises:
        ImageError: No DICOM, or damaged.
        MissingComponentError: pydicom is not installed.
    """
    pydicom = require("pydicom", extra="dicom", needed_for=NEEDED_FOR)
    if not is_dicom(content):
        raise not_dicom(subject)
    with reading_dicom(subject, "header"):
        stream = CountedReads(inflated(content, subject))
        header = pydicom.dcmread(stream, stop_before_pixels=True)
        if stream.cut_off and "Rows" not in header:
            raise cut_off_error(subject)
    return header


def not_dicom(subject: str) -> ImageError:
    """The error about an image that is no DICOM file."""
    return ImageError(
        subject,
        got="a file that is not DICOM",
        expected="a DICOM image, to whose patient and study a report can belong",
        fix="Leave it out, or write its landmarks with --json or --csv.",
    )


def _checked_frame(frame: int | None, frames: int, subject: str) -> int | None:
    """The frame to refer to; None of a single one, as a reference is to all frames."""
    if frame is None and frames > 1:
        raise ImageError(subject, got=f"{frames} frames", expected="one of them to be named")
    if frame is not None and not 1 <= frame <= frames:
        raise ImageError(subject, got=f"frame {frame}", expected=f"a frame from 1 to {frames}")
    return frame if frames > 1 else None


def _is_uid(value: object) -> bool:
    text = str(value or "")
    return len(text) <= 64 and all(part.isdecimal() and part.isascii() for part in text.split("."))
