"""Application entities as the command line names them: ``AE:PORT`` and ``AE@HOST:PORT``."""

from __future__ import annotations

from dataclasses import dataclass

from mahtrt.errors import UsageError, shown

_MOST_TITLE = 16  # characters of an AE title, DICOM PS3.5 6.2
_MOST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Listener:
    """Who we are to others.

    Attributes:
        title: Our AE title.
        port: The TCP port to listen on; 0 takes a free one.
    """

    title: str
    port: int


@dataclass(frozen=True, slots=True)
class Destination:
    """Who gets the reports."""

    title: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.title}@{host}:{self.port}"


def listener_from_text(text: str) -> Listener:
    """``AE:PORT`` as a listener.

    Raises:
        UsageError: It is something else.
    """
    title, colon, port = text.rpartition(":")
    expected = "AE:PORT, e.g. MAHTRT:11112"
    if not colon:
        raise UsageError("--dicom", got=shown(text), expected=expected)
    return Listener(checked_title(title, "--dicom"), _port(port, "--dicom", expected, least=0))


def destination_from_text(text: str) -> Destination:
    """``AE@HOST:PORT`` as a destination; an IPv6 address stands in brackets.

    Raises:
        UsageError: It is something else.
    """
    expected = "AE@HOST:PORT, e.g. PACS@pacs.example:104"
    title, at, place = text.rpartition("@")
    host, colon, port = place.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not (at and colon and host) or any(c.isspace() for c in host):
        raise UsageError("--send-to", got=shown(text), expected=expected)
    checked = checked_title(title, "--send-to")
    return Destination(checked, host, _port(port, "--send-to", expected, least=1))


def checked_title(title: str, option: str) -> str:
    """An AE title without the spaces around it (DICOM PS3.5 6.2, value representation AE).

    Raises:
        UsageError: None, too long, or of characters that a title does not have.
    """
    bare = title.strip(" ")
    right = bare.isascii() and bare.isprintable() and "\\" not in bare
    if not (0 < len(bare) <= _MOST_TITLE and right):
        expected = f"an AE title of 1 to {_MOST_TITLE} ASCII characters, without backslash"
        raise UsageError(option, got=shown(title), expected=expected)
    return bare


def _port(text: str, option: str, expected: str, *, least: int) -> int:
    if not (text.isascii() and text.isdecimal() and least <= int(text[:9]) <= _MOST_PORT):
        raise UsageError(option, got=f"port {shown(text)}", expected=expected)
    return int(text)
