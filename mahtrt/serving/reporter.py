"""From the file of an image to the file of its report, by one open session."""

from __future__ import annotations

from mahtrt.data.dicom import read_dicom_image
from mahtrt.dicom.algorithm import algorithm_of
from mahtrt.dicom.case_files import check_landmarks
from mahtrt.dicom.codes import codes_for, entries_without_landmark
from mahtrt.dicom.remarks import without_remarks
from mahtrt.dicom.report_groups import load_highdicom_sr
from mahtrt.dicom.structured_report import Report, ReportContent, make_report
from mahtrt.errors import (
    ImageError,
    MahtrtError,
    MissingComponentError,
    UsageError,
)
from mahtrt.measure.quantity_file import quantities_for
from mahtrt.runtime.case_writers import points_of_quantities
from mahtrt.runtime.decode import landmark_names
from mahtrt.runtime.session import Session
from mahtrt.serving.options import ServeOptions
from mahtrt.serving.watch import Watch

DEFECT = "defect"  # of mahtrt, or of what it uses
# Reasons that are kept with an image of which no report can be made; none names anything in it.
_REASONS = (
    (MissingComponentError, "no-decoder"),
    (ImageError, "image"),
    (MahtrtError, "network"),
    (MemoryError, "memory"),
)


class Reporter:
    """Makes reports.

    Args:
        session: The open engine.
        options: Where it was opened from, and what the reports hold besides landmarks.
        watch: Is shown every image; None where nobody watches.

    Attributes:
        unmatched: Names of the user's table of codes that no landmark of the network has.

    Raises:
        UsageError: The network gives no landmarks, or takes several images.
        MissingComponentError: highdicom is not installed.
        SpecError: A file of quantities or codes that is not clear.
    """

    def __init__(self, session: Session, options: ServeOptions, watch: Watch | None = None) -> None:
        check_network(session)
        load_highdicom_sr()
        self._session, self._watch = session, watch
        self._algorithm = algorithm_of(session, options.bundle)
        self._codes = codes_for(options.landmark_codes)
        names = landmark_names(session.spec)
        table = options.landmark_codes
        self.unmatched = entries_without_landmark(table, names) if table is not None else []
        self._asked = quantities_for(options.quantities, names)
        self._points = points_of_quantities(self._asked, names) if self._asked else {}

    def test_if_due(self) -> None:
        """Replay the golden images where it is time.

        Raises:
            GateError: The engine is further from them than it may be.
        """
        if self._watch is not None:
            self._watch.test_if_due()

    def report(self, image: bytes, subject: str) -> Report:
        """The report of a DICOM image.

        Raises:
            MahtrtError: It cannot be read, or no report can be made of it.
        """
        with without_remarks():
            read = read_dicom_image(image, subject)
            spacing = read.spacing_mm
            found = self._session.run(read.pixels, spacing_mm=spacing)
            if self._watch is not None:
                self._watch.observe(read.pixels, spacing, found)
            asked = self._asked
            content = ReportContent(
                quantities=asked.values(found.points, found.names, spacing) if asked else (),
                quantity_points=self._points,
                codes=self._codes,
                spacing=read.facts.spacing,
                subject=subject,
            )
            return make_report(image, found, self._algorithm, content)


def reason_of(error: Exception) -> str:
    """Why no report was made, in a word that names nothing."""
    if isinstance(error, ImageError) and error.reason:
        return error.reason
    found = (reason for kind, reason in _REASONS if isinstance(error, kind))
    return next(found, DEFECT)


def check_network(session: Session) -> None:
    """Refuse networks that no report can be made by.

    Raises:
        UsageError: It is one.
    """
    check_landmarks("mahtrt serve", session.spec)
    if (count := len(session.spec.input_names)) != 1:
        got = f"a network of {count} images"
        raise UsageError("mahtrt serve", got=got, expected="one that takes one image")
