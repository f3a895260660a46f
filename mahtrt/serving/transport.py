"""What pynetdicom's connections leave to chance: their sockets' end, and how long a unit takes.

This module needs pynetdicom: import it where a service starts.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from pynetdicom import AE
from pynetdicom.transport import AssociationSocket

# What is no object, such as a request for an association, takes less.
MOST_OTHER_BYTES = 2**20
_PIECE_BYTES = 2**16


class ClosingEntity(AE):
    """An application entity whose sockets are closed also where nobody answered.

    Attributes:
        failure: Why the last connection that it asked for did not come about; None where it did.
    """

    failure: OSError | None = None

    def _create_socket(self, *named: Any) -> AssociationSocket:
        self.failure = None
        made = super()._create_socket(*named)
        close_surely(made, self._note)
        return made

    def _note(self, error: OSError) -> None:
        self.failure = self.failure or error


def close_surely(
    transport: AssociationSocket, note: Callable[[OSError], None] | None = None
) -> None:
    """Have a connection's socket closed when pynetdicom is done with it.

    pynetdicom shuts it down first, which fails where the other end is not there or was quicker,
    and then leaves the socket to Python's garbage collector.

    Args:
        note: Is told why the socket is closed, where that is an error: pynetdicom only logs it.
    """
    shut_down = transport._shutdown_socket

    def shut_down_and_close() -> None:
        error = sys.exc_info()[1]
        if note is not None and isinstance(error, OSError):
            note(error)
        held = transport.socket
        shut_down()
        if held is not None:
            with contextlib.suppress(OSError):
                held.close()

    transport._shutdown_socket = shut_down_and_close  # type: ignore[method-assign]


def limit_units(transport: AssociationSocket, most_bytes: int, patience_s: float) -> None:
    """Limit the protocol data units of an open connection (DICOM PS3.8 9.3).

    pynetdicom reads as many bytes as a unit claims to have, waits anew after each few of them, and
    as one who asks for an association waits without an end.

    Args:
        most_bytes: What claims to be larger ends the connection.
        patience_s: So does what is not whole after so long, or is not taken in so long.
    """
    held = transport.socket
    assert held is not None
    held.settimeout(patience_s)

    def limited(nr_bytes: int) -> bytearray:
        if nr_bytes > most_bytes:
            with contextlib.suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)
            raise OSError(f"a unit of {nr_bytes} bytes, of at most {most_bytes}")
        return _received(held, nr_bytes, patience_s)

    transport.recv = limited  # type: ignore[method-assign]


def _received(held: socket.socket, count: int, patience_s: float) -> bytearray:
    """So many bytes; fewer where the other end has closed the connection."""
    taken, end = bytearray(), time.monotonic() + patience_s
    try:
        while len(taken) < count:
            left_s = end - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"{len(taken)} of {count} bytes in {patience_s} s")
            held.settimeout(left_s)
            piece = held.recv(min(count - len(taken), _PIECE_BYTES))
            if not piece:
                break
            taken += piece
    finally:
        held.settimeout(patience_s)  # for what is sent
    return taken
