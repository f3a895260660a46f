"""uvicorn's server, with limits on heads of requests and on the time that clients take."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mahtrt.http.guard import WORD

HEAD_BYTES = 2**16  # of a request; also of what stands between and behind the parts of its body
_LEAST_READ_BYTES = HIGH_WATER_LIMIT // 4  # of an answer, in the time that a client has
_LAST_ANSWERS_S = 1.0
_LINGER_S = (
    1.0  # for what a client still sends while it is refused: closing takes the answer from it
)


def _refusal(status: bytes, word: bytes, told: str, *headers: bytes) -> bytes:
    """An answer of the protocol's error, for who gets no further than the connection."""
    body = json.dumps({"error": told}).encode()
    own = (b"content-type: application/json", WORD + b": " + word, b"connection: close")
    lines = (b"HTTP/1.1 " + status, *own, *headers, b"content-length: %d" % len(body), b"", body)
    return b"\r\n".join(lines)


_NO_HTTP = _refusal(b"400 Bad Request", b"no-http", "got no HTTP; expected HTTP/1.1")
_SLOW = _refusal(b"408 Request Timeout", b"slow", "the head of the request did not come in time")
_TOO_LARGE = _refusal(
    b"431 Request Header Fields Too Large",
    b"head-too-large",
    f"head: got more than {HEAD_BYTES} bytes; expected fewer",
)
_TOO_MANY = _refusal(
    b"503 Service Unavailable",
    b"connections",
    "got more connections than the service takes; try again later",
    b"retry-after: 1",
)


class Server(uvicorn.Server):
    """uvicorn's server; the signals of the process are left to who runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End in good order, and then without regard to clients that take no answer."""
        await super().shutdown(sockets)
        state = self.server_state
        if state.tasks:  # they were cancelled, and tell their clients
            await asyncio.wait(state.tasks, timeout=_LAST_ANSWERS_S)
        for connection in list(state.connections):
            connection.transport.abort()


class Connection(HttpToolsProtocol):
    """uvicorn's connection, closed where a client takes too long or sends too large a head.

    uvicorn has a time for connections between two requests alone: one that says nothing, or half a
    head, or does not take its answer, it would keep for ever, and a head of any size it would take.

    Attributes:
        patience_s: Time for a head, and for taking some of an answer.
        most: Connections at a time; those that come on top of them are refused.
    """

    patience_s = 60.0
    most = 256
    _waiting: asyncio.TimerHandle | None = None
    _looking: asyncio.TimerHandle | None = None
    _is_refused = False
    _unread_bytes = 0  # of a head, of a trailer, of what is told of a chunk
    _left_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()
        self._look_later()
        if len(self.connections) > self.most:
            self._close_with(_TOO_MANY)

    def connection_lost(self, error: Exception | None) -> None:
        self._stop()
        if self._looking is not None:
            self._looking.cancel()
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._unread_bytes += len(data)
        super().data_received(data)
        if self._unread_bytes > HEAD_BYTES:
            self._close_with(_TOO_LARGE)

    def send_400_response(self, msg: str) -> None:
        self._close_with(_NO_HTTP)

    def resume_writing(self) -> None:
        self._left_bytes = 0
        super().resume_writing()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._waiting is None:
            self._wait()

    def on_headers_complete(self) -> None:
        self._stop()
        self._unread_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unread_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unread_bytes = 0
        super().on_message_complete()

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(self.patience_s, self._close_with, _SLOW)

    def _stop(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _close_with(self, answer: bytes) -> None:
        self._stop()
        if not (self._is_refused or self.transport.is_closing()):
            self._is_refused = True
            self.transport.write(answer)
            self.loop.call_later(_LINGER_S, self.transport.close)

    def _look_later(self) -> None:
        self._looking = self.loop.call_later(self.patience_s, self._look)

    def _look(self) -> None:
        """End a connection whose client took nothing of an answer since the last look.

        Also one that is closing: what it has to send first would keep it for ever.
        """
        left = self.transport.get_write_buffer_size()
        if left and self._left_bytes and self._left_bytes - left < _LEAST_READ_BYTES:
            self.transport.abort()
            return
        self._left_bytes = left
        self._look_later()


def connection_class(patience_s: float, most: int) -> type[Connection]:
    """Connections with limits of their own."""
    return type("LimitedConnection", (Connection,), {"patience_s": patience_s, "most": most})
