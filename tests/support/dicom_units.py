"""Protocol data units as bytes (DICOM PS3.8 9.3, messages by PS3.7 6.3), right or wrong."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

ECHO, STORE = 0x0030, 0x0001
VERIFICATION = b"1.2.840.10008.1.1"
XRAY = b"1.2.840.10008.5.1.4.1.1.1.1"
IMPLICIT, EXPLICIT = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1"
CONTEXTS = ((1, VERIFICATION, IMPLICIT), (3, XRAY, EXPLICIT))
RELEASE = struct.pack(">BxI4x", 5, 4)
ABORT = struct.pack(">BxI4x", 7, 4)
COMMAND, LAST = 1, 2  # of a message control header


def unit(kind: int, content: bytes) -> bytes:
    """A protocol data unit."""
    return struct.pack(">BxI", kind, len(content)) + content


def item(kind: int, content: bytes) -> bytes:
    """An item of a request for an association."""
    return struct.pack(">BxH", kind, len(content)) + content


def request(
    calling: bytes = b"CT1",
    called: bytes = b"MAHTRT",
    contexts: Sequence[tuple[int, bytes, bytes]] = CONTEXTS,
) -> bytes:
    """A-ASSOCIATE-RQ."""
    asked = b"".join(
        item(0x20, struct.pack(">B3x", number) + item(0x30, abstract) + item(0x40, transfer))
        for number, abstract, transfer in contexts
    )
    user = item(0x50, item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3"))
    titles = called.ljust(16)[:16] + calling.ljust(16)[:16]
    name = item(0x10, b"1.2.840.10008.3.1.1.1")
    return unit(1, struct.pack(">Hxx", 1) + titles + bytes(32) + name + asked + user)


def data(context: int, control: int, content: bytes) -> bytes:
    """P-DATA-TF with one fragment."""
    return unit(4, struct.pack(">IBB", len(content) + 2, context, control) + content)


def element(number: int, content: bytes) -> bytes:
    """An element of a command set."""
    return struct.pack("<HHI", 0, number, len(content)) + content


def command(field: int, abstract: bytes, *, instance: bytes = b"", number: int = 1) -> bytes:
    """A command set: a C-STORE request if there is an instance, else one without data."""
    uid = abstract + bytes(len(abstract) % 2)
    elements = element(0x0002, uid) + element(0x0100, struct.pack("<H", field))
    elements += element(0x0110, struct.pack("<H", number))
    if instance:
        elements += element(0x0700, bytes(2)) + element(0x0800, struct.pack("<H", 1))
        elements += element(0x1000, instance + bytes(len(instance) % 2))
    else:
        elements += element(0x0800, struct.pack("<H", 0x0101))
    return element(0x0000, struct.pack("<I", len(elements))) + elements


def receive(connection: socket.socket) -> tuple[int, bytes]:
    """A unit: its kind and content; 0 where the other end has closed the connection."""
    head = _exactly(connection, 6)
    if len(head) < 6:
        return 0, b""
    kind, length = struct.unpack(">BxI", head)
    return kind, _exactly(connection, length)


def _exactly(connection: socket.socket, count: int) -> bytes:
    taken = b""
    while len(taken) < count:
        piece = connection.recv(count - len(taken))
        if not piece:
            break
        taken += piece
    return taken
