"""The sending end: reports to the destination by pynetdicom (C-STORE), and whether they are there.

This module needs pynetdicom: import it where a service starts.
"""

from __future__ import annotations

import contextlib
import io
import random
import ssl
from collections.abc import Iterator
from enum import Enum
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ABORT_RQ
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    Comprehensive3DSRStorage,
    StudyRootQueryRetrieveInformationModelFind,
)

from mahtrt.dicom.remarks import without_remarks
from mahtrt.serving.addresses import Destination
from mahtrt.serving.options import ServeOptions
from mahtrt.serving.tls import sending_context
from mahtrt.serving.transport import MOST_OTHER_BYTES, ClosingEntity, limit_units

_PENDING = (0xFF00, 0xFF01)
# Statuses of C-STORE (DICOM PS3.4 B.2.3, PS3.7 C.5): what was stored, perhaps with a warning, or
# was there already; and what will be refused whenever it is sent.
_STORED = (0x0000, 0x0111, 0x0107, 0x0116)
# Source and diagnostic of a rejection (DICOM PS3.8 9.3.4).
_CAUSES = {
    (1, 2): "application-context",
    (1, 3): "calling-title",
    (1, 7): "called-title",
    (2, 2): "protocol-version",
    (3, 1): "congestion",
    (3, 2): "local-limit",
}
_NEVER = (range(0xA900, 0xAA00), range(0xC000, 0xD000))


class Outcome(Enum):
    """What became of a report."""

    STORED = "stored"
    REFUSED = "refused"  # and would be again
    LATER = "later"
    UNKNOWN = "unknown"  # no answer came


class DestinationDownError(Exception):
    """There is no association with the destination.

    Attributes:
        reason: Why, as docs/dicom.md lists it.
        cause: What is known beyond that, in words of machines; "" for nothing.
    """

    def __init__(self, reason: str, cause: str = "") -> None:
        super().__init__(reason)
        self.reason, self.cause = reason, cause


class Sender:
    """Reports to one destination."""

    def __init__(self, options: ServeOptions, title: str, destination: Destination) -> None:
        self._destination, self._tls = destination, sending_context(options)
        self._ae = ClosingEntity(title)
        self._timeout_s, self._is_aborted = options.timeout_s, False
        self._ae.maximum_pdu_size = options.pdu_bytes
        self._ae.connection_timeout = options.timeout_s
        self._ae.acse_timeout = self._ae.dimse_timeout = options.timeout_s
        self._ae.network_timeout = options.timeout_s

    @contextlib.contextmanager
    def connected(self) -> Iterator[Connection]:
        """An association with the destination, released when the block ends.

        Raises:
            DestinationDownError: Nobody answers, or does not take reports.
        """
        association = self._associate()
        try:
            yield Connection(association)
        finally:
            _end(association)

    def _associate(self) -> Association:
        peer = self._destination
        tls: Any = None if self._tls is None else (self._tls, peer.host)
        contexts: list[PresentationContext] = [
            build_context(Comprehensive3DSRStorage),
            build_context(StudyRootQueryRetrieveInformationModelFind),
        ]
        handlers: Any = [(evt.EVT_CONN_OPEN, self._limit), (evt.EVT_PDU_RECV, self._look)]
        self._is_aborted = False
        try:
            made = self._ae.associate(
                *(peer.host, peer.port, contexts, peer.title),
                tls_args=tls,
                evt_handlers=handlers,
            )
        except (OSError, ssl.SSLError) as error:
            raise DestinationDownError("no-such-host") from error
        if made.is_established and _takes_reports(made):
            return made
        _end(made)
        raise self._why_none(made)

    def _why_none(self, made: Association) -> DestinationDownError:
        failure, answer = self._ae.failure, made.acceptor.primitive
        if isinstance(failure, ssl.SSLError):
            told = getattr(failure, "verify_message", "") or failure.reason or ""
            return DestinationDownError("tls", told)
        if made.is_rejected:
            return DestinationDownError("refused", _cause_of(answer))
        if self._is_aborted:
            return DestinationDownError("aborted")
        if answer is not None and not _takes_reports(made):
            return DestinationDownError("no-context")
        if isinstance(failure, TimeoutError):
            return DestinationDownError("no-answer", "timed out")
        return DestinationDownError("no-answer", (failure and failure.strerror) or "")

    def _look(self, event: Any) -> None:
        self._is_aborted |= isinstance(event.pdu, A_ABORT_RQ)

    def _limit(self, event: Any) -> None:
        limit_units(event.assoc.dul.socket, MOST_OTHER_BYTES, self._timeout_s)


def _takes_reports(made: Association) -> bool:
    return any(c.abstract_syntax == Comprehensive3DSRStorage for c in made.accepted_contexts)


def _cause_of(rejection: Any) -> str:
    place = rejection.result_source, rejection.diagnostic
    return _CAUSES.get(place, "no-reason-given")


def _end(association: Association) -> None:
    """Release an association that is there, and close its connection in any case."""
    if association.is_established:
        association.release()
    if association.dul.socket is not None:
        association.dul.socket.close()


class Connection:
    """An open association with the destination."""

    def __init__(self, association: Association) -> None:
        self._association = association

    @property
    def is_open(self) -> bool:
        """Whether something can be sent."""
        return self._association.is_established

    def send(self, report: bytes) -> tuple[Outcome, str]:
        """Send a report; what became of it, and the status in hexadecimal."""
        try:
            answer = self._association.send_c_store(_read(report))
        except (RuntimeError, OSError):  # the association ended before
            return Outcome.LATER, ""
        status = answer.get("Status")
        if status is None:
            return Outcome.UNKNOWN, ""
        return _outcome(int(status)), f"{int(status):04x}"

    def holds(self, report: bytes) -> bool | None:
        """Whether the destination has a report (C-FIND of its SOP Instance UID).

        Returns:
            None where the destination does not answer that.
        """
        wanted = _read(report)
        query = Dataset()
        query.QueryRetrieveLevel = "IMAGE"
        for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(query, name, getattr(wanted, name))
        found, status = False, None
        model = StudyRootQueryRetrieveInformationModelFind
        try:
            for answer, match in self._association.send_c_find(query, model):
                status = answer.get("Status")
                if status in _PENDING and match is not None:
                    found |= match.get("SOPInstanceUID") == wanted.SOPInstanceUID
        except (RuntimeError, ValueError, OSError):  # ended, or it does not take questions
            return None
        return found if status == 0 else None


class Backoff:
    """Pauses that double, up to a longest one, and differ by chance between services."""

    def __init__(self, first_s: float, most_s: float) -> None:
        self._first_s, self._most_s = first_s, most_s
        self._count = 0

    def next_s(self) -> float:
        """How long to wait now: between half and all of what the doubling gives."""
        whole = min(self._first_s * 2.0 ** min(self._count, 60), self._most_s)
        self._count += 1
        return whole * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """The next pause is the first again."""
        self._count = 0


def _read(report: bytes) -> Dataset:
    with without_remarks():
        return dcmread(io.BytesIO(report))


def _outcome(status: int) -> Outcome:
    if status in _STORED or status >> 12 == 0xB:
        return Outcome.STORED
    return Outcome.REFUSED if any(status in each for each in _NEVER) else Outcome.LATER
