"""The receiving end: C-STORE and C-ECHO by pynetdicom, each object on the disk before its answer.

Status codes are those of DICOM PS3.4 B.2.3 and PS3.7 C. A sender that gets 0xA700 (out of
resources) keeps the object and sends it again; after 0xC001 and 0xC002 it knows that it need not.

This module needs pynetdicom: import it where a service starts.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom import AE, evt, sop_class
from pynetdicom.association import Association
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dsutils import create_file_meta, encode_file_meta
from pynetdicom.pdu import P_DATA_TF

from mahtrt.data.dicom_syntaxes import COMPRESSED, need_decoder
from mahtrt.data.limits import MOST_IMAGE_BYTES
from mahtrt.errors import MissingComponentError, UsageError
from mahtrt.names import visible
from mahtrt.serving.addresses import Listener, checked_title
from mahtrt.serving.disk_queue import TROUBLE, DiskQueue, QueueFullError
from mahtrt.serving.events import ServeEvent, Tell, short
from mahtrt.serving.incoming import Heading, IncomingObject
from mahtrt.serving.listening import Server, Setup
from mahtrt.serving.options import ServeOptions
from mahtrt.serving.summing import RefusedConnections
from mahtrt.serving.tls import listening_context
from mahtrt.serving.transport import MOST_OTHER_BYTES, close_surely, limit_units
from mahtrt.serving.unusable import why_never

TAKEN, OUT_OF_RESOURCES, CANNOT_UNDERSTAND, NEVER_A_REPORT = 0x0000, 0xA700, 0xC001, 0xC002
_SPARE_CONNECTIONS = 8  # that wait for an answer beside those that have one
_POLL_S = 0.05
_MOST_BITS = 16  # of a sample
_UNCOMPRESSED = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
CLASSES = (
    *("ComputedRadiographyImageStorage", "DigitalXRayImageStorageForPresentation"),
    *("DigitalXRayImageStorageForProcessing", "DigitalMammographyXRayImageStorageForPresentation"),
    *("DigitalMammographyXRayImageStorageForProcessing", "SecondaryCaptureImageStorage"),
    *("DigitalIntraOralXRayImageStorageForPresentation", "CTImageStorage", "MRImageStorage"),
    *("DigitalIntraOralXRayImageStorageForProcessing", "EnhancedCTImageStorage"),
    *("EnhancedMRImageStorage", "XRayAngiographicImageStorage", "EnhancedXAImageStorage"),
    *("XRayRadiofluoroscopicImageStorage", "EnhancedXRFImageStorage", "RTImageStorage"),
    *("XRay3DAngiographicImageStorage", "XRay3DCraniofacialImageStorage"),
    *("MultiFrameGrayscaleByteSecondaryCaptureImageStorage", "NuclearMedicineImageStorage"),
    "MultiFrameGrayscaleWordSecondaryCaptureImageStorage",
    "PositronEmissionTomographyImageStorage",
    *("MultiFrameTrueColorSecondaryCaptureImageStorage", "UltrasoundImageStorage"),
    *("UltrasoundMultiFrameImageStorage", "VLPhotographicImageStorage"),
)  # fmt: skip


@dataclass
class Counts:
    """What came in since the start."""

    received: int = 0
    repeated: int = 0
    refused: int = 0


class Receiver:
    """A port on which images come in; ours from :meth:`bind`, open from :meth:`start`."""

    def __init__(
        self, options: ServeOptions, listener: Listener, queue: DiskQueue, tell: Tell
    ) -> None:
        self.counts = Counts()
        self._options, self._listener, self._queue, self._tell = options, listener, queue, tell
        self._tls = listening_context(options)
        self._refused = RefusedConnections(tell)
        self._is_stopping = False
        self._most_bytes = min(options.object_mib * 2**20, MOST_IMAGE_BYTES)
        self._ae = _entity(options, listener.title)
        self._server: Server | None = None
        self._coming_in: dict[Association, IncomingObject] = {}

    @property
    def port(self) -> int:
        """The port that is listened on."""
        assert self._server is not None
        return int(self._server.server_address[1])

    def bind(self) -> None:
        """Take the port, on which nobody is answered yet.

        Raises:
            UsageError: It is in use, may not be opened, or the host is none of this machine.
        """
        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, self._open_connection),
            (evt.EVT_CONN_CLOSE, self._close_connection),
            (evt.EVT_PDU_RECV, self._to_disk),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_REJECTED, self._rejected),
        ]
        address = (self._options.host, self._listener.port)
        try:
            server = Server(
                *(self._ae, address, self._listener.title, self._ae.supported_contexts),
                evt_handlers=handlers,
                setup=self._setup(),
            )
        except OSError as error:
            raise self._unusable(error) from error
        self._server = server

    def start(self) -> None:
        """Open the port.

        Raises:
            UsageError: Another program opened it in between.
        """
        assert self._server is not None
        try:
            self._server.begin()
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> UsageError:
        host, port = self._options.host, self._listener.port
        got = error.strerror or str(error)
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            expected = "an address or a name of this machine"
            return UsageError(f"--host {visible(host)}", got=got, expected=expected)
        return UsageError(
            f"--dicom {self._listener.title}:{port}",
            got=f"{got} at {visible(host)}",
            expected="a port that is free",
            fix="Another program may have it; choose another port or --host.",
        )

    def stop(self, patience_s: float) -> None:
        """Take no more associations, let those under way end their object, then cut them."""
        self._is_stopping = True
        if self._server is None:
            return
        server, self._server = self._server, None
        server.end()
        end = time.monotonic() + patience_s
        while left := server.active_associations:
            for association in left:
                _end(association, at_once=time.monotonic() > end)
            time.sleep(_POLL_S)
        self._refused.tell_due(all_of_them=True)

    def _setup(self) -> Setup:
        most = self._options.associations + _SPARE_CONNECTIONS
        return Setup(self._tls, self._options.timeout_s, most, self._refused)

    def _open_connection(self, event: Any) -> None:
        """Limit what comes in, and see to its end."""
        # A thread of pynetdicom that ends by an error does not tell that the connection is closed.
        for association in [each for each in self._coming_in if not each.is_alive()]:
            self._drop_rest(association)
        transport = event.assoc.dul.socket
        most = max(self._options.pdu_bytes, MOST_OTHER_BYTES)
        close_surely(transport)
        limit_units(transport, most, self._options.timeout_s)

    def _to_disk(self, event: Any) -> None:
        """Before the first piece of a message: have its data set written to the disk."""
        if isinstance(event.pdu, P_DATA_TF) and event.assoc.dimse.message is None:
            message = DIMSEMessage()
            heading = partial(_heading, message, event.assoc)
            content = IncomingObject(self._queue.new_file, heading, self._most_bytes)
            message.data_set = self._coming_in[event.assoc] = content
            event.assoc.dimse.message = message

    def _close_connection(self, event: Any) -> None:
        self._drop_rest(event.assoc)

    def _drop_rest(self, association: Association) -> None:
        """Remove what had come of an object when its association ended."""
        content = self._coming_in.pop(association, None)
        if content is not None:
            content.close()

    def _store(self, event: Any) -> int:
        content = event.request.DataSet
        status, about = self._admit(content)
        if isinstance(content, IncomingObject):
            content.close()
        if status != TAKEN:
            self.counts.refused += 1
            facts = {"reason": about, "status": f"{status:04x}", "from": _caller(event.assoc)}
            name = "unusable" if status == NEVER_A_REPORT else "refused"
            self._tell(ServeEvent(name, facts))
        return status

    def _admit(self, content: object) -> tuple[int, str]:
        """The answer to an object, and why."""
        if self._is_stopping:
            return OUT_OF_RESOURCES, "stopping"
        if why := why_never(content):
            return NEVER_A_REPORT, why
        received = content.finish() if isinstance(content, IncomingObject) else None
        if received is None:
            problem = getattr(content, "problem", "protocol")
            return (OUT_OF_RESOURCES if problem == "disk" else CANNOT_UNDERSTAND), problem
        try:
            is_new = self._queue.admit(received)
        except QueueFullError:
            return OUT_OF_RESOURCES, "queue-full"
        except TROUBLE:
            return OUT_OF_RESOURCES, "disk"
        self.counts.received += is_new
        self.counts.repeated += not is_new
        name = "received" if is_new else "repeated"
        self._tell(ServeEvent(name, {"id": short(received.digest), "bytes": received.size}))
        return TAKEN, ""

    def _rejected(self, event: Any) -> None:
        called = str(getattr(event.assoc.requestor.primitive, "called_ae_title", "") or "")
        facts = {"from": _caller(event.assoc), "called": called}
        self._tell(ServeEvent("association-rejected", facts))


def _entity(options: ServeOptions, title: str) -> AE:
    """What pynetdicom calls an application entity: titles, limits, and what it understands."""
    entity = AE(title)
    entity.require_called_aet = True
    entity.require_calling_aet = [checked_title(each, "--allow") for each in options.allow]
    entity.maximum_associations = options.associations
    entity.maximum_pdu_size = options.pdu_bytes
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = options.timeout_s
    entity.add_supported_context(sop_class.Verification)  # type: ignore[attr-defined]
    syntaxes = supported_syntaxes()
    for name in CLASSES:
        entity.add_supported_context(getattr(sop_class, name), syntaxes)
    return entity


def supported_syntaxes() -> list[str]:
    """Transfer syntaxes that can be decoded here: some need packages of the extra ``dicom``."""
    found = [*_UNCOMPRESSED, DeflatedExplicitVRLittleEndian]
    for uid, syntax in COMPRESSED.items():
        with contextlib.suppress(MissingComponentError):
            need_decoder(syntax, _MOST_BITS, "an image")
            found.append(UID(uid))
    return [str(each) for each in found]


def _heading(message: DIMSEMessage, association: Association) -> Heading:
    """What goes before the data set of a C-STORE request (DICOM PS3.10 7.1)."""
    command, used = message.command_set, message.context_id
    (context,) = (each for each in association.accepted_contexts if each.context_id == used)
    syntax, instance = context.transfer_syntax[0], UID(command.AffectedSOPInstanceUID)
    if not instance:
        raise ValueError("no SOP Instance UID")
    meta = create_file_meta(
        sop_class_uid=UID(command.AffectedSOPClassUID),
        sop_instance_uid=instance,
        transfer_syntax=syntax,
    )
    content = b"".join((bytes(128), b"DICM", encode_file_meta(meta)))
    return Heading(content, str(syntax))


def _end(association: Association, *, at_once: bool) -> None:
    """End an association between two objects, or at once."""
    waiting: Any = association.dul.to_user_queue
    if not association.is_established:
        waiting.put(None)  # in place of the request that never came
        return
    messages = association.dimse
    if at_once or (messages.message is None and messages.msg_queue.empty()):
        association.abort()


def _caller(association: Association) -> str:
    other = association.requestor
    return f"{other.ae_title}@{other.address}"
