"""Both ends of a DICOM node: a modality that sends images, and an archive that keeps reports."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation as XRay
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    Comprehensive3DSRStorage,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from mahtrt.serving.events import ServeEvent
from mahtrt.serving.options import ServeOptions
from mahtrt.serving.transport import ClosingEntity, close_surely

UID = "1.2.826.0.1.3680043.8.498"
PATIENCE_S = 20.0


def make_image(number: int, side: int = 40, **fields: object) -> Dataset:
    """A digital X-ray of one patient; ``fields`` replace or add."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = XRay
    meta.MediaStorageSOPInstanceUID = pydicom.uid.UID(f"{UID}.{number}.3")
    image = Dataset()
    image.file_meta = meta
    image.SOPClassUID, image.SOPInstanceUID = XRay, meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID, image.SeriesInstanceUID = f"{UID}.{number}.1", f"{UID}.{number}.2"
    image.PatientName, image.PatientID = f"Roe^Jane{number}", f"PID{number:05}"
    image.PatientBirthDate, image.PatientSex = "19700203", "O"
    image.StudyDate, image.StudyTime, image.AccessionNumber = "20240504", "101112", f"ACC{number}"
    image.StudyID, image.ReferringPhysicianName, image.Modality = "1", "Poe^Ann", "DX"
    image.SeriesNumber, image.InstanceNumber = 1, 1
    image.Rows = image.Columns = side
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.PixelRepresentation, image.ImagerPixelSpacing = 0, [0.2, 0.2]
    pixels = np.random.default_rng(number).integers(0, 4096, (side, side), np.uint16)
    image.PixelData = pixels.tobytes()
    for name, value in fields.items():
        setattr(image, name, value)
    return image


def free_port() -> int:
    """A port of the loopback interface that nobody has just now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def is_open(port: int) -> bool:
    """Whether somebody listens on a port of the loopback interface."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def until(happens: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Wait until something is true."""
    end = time.monotonic() + patience_s
    while not happens():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@dataclass
class Archive:
    """An SCP that keeps reports, and answers questions if it is told to.

    Attributes:
        answer: From a report to the status that it is answered with.
        stored: SOP Instance UID to its report.
        count: How often each was stored.
    """

    port: int = 0
    title: str = "PACS"
    can_find: bool = True
    takes_reports: bool = True
    answer: Callable[[Dataset], int] = lambda report: 0x0000
    stored: dict[str, Dataset] = field(default_factory=dict)
    count: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    tls: Any = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def open(self) -> Iterator[Archive]:
        """Listen while the block runs."""
        entity = AE(self.title)
        entity.require_called_aet = True
        if self.takes_reports:
            entity.add_supported_context(Comprehensive3DSRStorage)
        entity.add_supported_context(Verification)
        if self.can_find:
            entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        handlers = [
            *((evt.EVT_C_STORE, self._store), (evt.EVT_C_FIND, self._find)),
            (evt.EVT_CONN_OPEN, lambda event: close_surely(event.assoc.dul.socket)),
        ]
        server = entity.start_server(
            ("127.0.0.1", self.port),
            block=False,
            evt_handlers=handlers,  # type: ignore[arg-type]
            ssl_context=self.tls,
        )
        assert server is not None
        self.port = int(server.server_address[1])
        try:
            yield self
        finally:
            entity.shutdown()

    def _store(self, event: Any) -> int:
        report = event.dataset
        report.file_meta = event.file_meta
        status = self.answer(report)
        if status == 0:
            with self._lock:
                self.stored[str(report.SOPInstanceUID)] = report
                self.count[str(report.SOPInstanceUID)] += 1
        return status

    def _find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        self.asked += 1
        wanted = str(event.identifier.SOPInstanceUID)
        if wanted in self.stored:
            match = Dataset()
            match.QueryRetrieveLevel, match.SOPInstanceUID = "IMAGE", wanted
            yield 0xFF00, match
        yield 0x0000, None


def send(
    images: Sequence[Dataset],
    port: int,
    *,
    calling: str = "CT1",
    called: str = "MAHTRT",
    tls: Any = None,
) -> list[int | None]:
    """Send images in one association; the status of each, None where no answer came."""
    entity = ClosingEntity(calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
    for image in images:
        entity.requested_contexts = [
            c for c in entity.requested_contexts if c.abstract_syntax != image.SOPClassUID
        ]
        entity.add_requested_context(image.SOPClassUID, image.file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", port, ae_title=called, tls_args=tls)
    found: list[int | None] = []
    for image in images:
        status = None
        if association.is_established:
            with contextlib.suppress(RuntimeError):
                status = association.send_c_store(image).get("Status")
        found.append(None if status is None else int(status))
    if association.is_established:
        association.release()
    if association.dul.socket is not None:
        association.dul.socket.close()
    return found


def send_all(images: Sequence[Dataset], port: int, patience_s: float = 60.0) -> None:
    """Send images one after the other, each until it is taken, as modalities do."""
    end = time.monotonic() + patience_s
    for image in images:
        while send([image], port) != [0]:
            assert time.monotonic() < end, "an image was never taken"
            time.sleep(0.05)


@dataclass
class Log:
    """Keeps events."""

    events: list[ServeEvent] = field(default_factory=list)

    def __call__(self, event: ServeEvent, /) -> None:
        self.events.append(event)

    def of(self, name: str) -> list[ServeEvent]:
        """The events of a name."""
        return [event for event in self.events if event.name == name]


def options_for(bundle: Path, queue: Path, archive: Archive, **named: Any) -> ServeOptions:
    """A node on a free port that sends to an archive, with short pauses."""
    usual: dict[str, Any] = {
        "dicom": "MAHTRT:0",
        "engine": "onnxruntime-fp32",
        "threads": 1,
        "retry_s": 0.05,
        "retry_most_s": 0.2,
        "timeout_s": 10.0,
    }
    send_to = f"PACS@127.0.0.1:{archive.port}"
    return ServeOptions(bundle, send_to, queue=queue, **(usual | named))
