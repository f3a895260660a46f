"""Where the service listens: ``[HOST:]PORT`` as text, and ports that are taken early."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from mahtrt.errors import UsageError, shown

LOOPBACK = "127.0.0.1"
_MOST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Address:
    """A host, by name or number, and a TCP port; port 0 takes a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only programs of this machine can reach it."""
        return self.host.startswith("127.") or self.host in ("::1", "localhost")


def address_from_text(text: str, option: str, host: str = LOOPBACK) -> Address:
    """``[HOST:]PORT`` as an address; an IPv6 address stands in brackets.

    Args:
        option: What messages call it.
        host: The host where the text names none.

    Raises:
        UsageError: It is something else.
    """
    named, colon, port = text.rpartition(":")
    bracketed = named.startswith("[") and named.endswith("]")
    bare = named[1:-1] if bracketed else named
    right_host = not colon or (bare and not any(c.isspace() for c in bare))
    right_host = right_host and (bracketed or ":" not in bare)
    right_port = port.isascii() and port.isdecimal() and int(port[:9]) <= _MOST_PORT
    if not (right_host and right_port):
        raise UsageError(option, got=shown(text), expected="[HOST:]PORT, e.g. 8000 or [::1]:8000")
    return Address(bare or host, int(port))


def bind(address: Address, option: str) -> socket.socket:
    """Take a port, on which nobody is answered yet.

    Raises:
        UsageError: It is in use, may not be opened, or the host is none of this machine.
    """
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, place = found[0]
        taken = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _unusable(address, option, error) from error
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(place)
        taken.listen(128)
    except OSError as error:
        taken.close()
        raise _unusable(address, option, error) from error
    return taken


def _unusable(address: Address, option: str, error: OSError) -> UsageError:
    return UsageError(
        f"{option} {address}",
        got=error.strerror or str(error),
        expected="a free port of this machine",
        fix="Choose another one.",
    )
