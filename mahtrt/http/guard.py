"""What stands before every REST endpoint: token, limits, times, cancellation, metrics, log line.

A request is refused as early as can be: by its head where that is enough, else while its body
comes. The body is read here, whole and within its limits, before an endpoint sees it. While the
endpoint works, the connection is watched, and work for a client that went away is given up.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from mahtrt.errors import shown
from mahtrt.http.refusals import (
    DEFECT,
    ENCODING,
    ENDING,
    FULL,
    GONE,
    INPUT,
    SLOW,
    TOO_LARGE,
    Kind,
    Refusal,
    refusal_of,
)
from mahtrt.http.security import check_token
from mahtrt.http.state import Service
from mahtrt.serving.events import Fact, ServeEvent

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

REQUEST_ID = "x-request-id"
BODY = "body"  # in the state of a request, for endpoints that want no copy of it
_RIGHT_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_MODEL = re.compile(
    r"/v2/models/(?P<model>[^/]+)(?:/versions/[^/]+)?/infer|/v1/landmarks/(?P<image>[^/]+)"
)
_OPEN = frozenset({"/", "/v2/health/live", "/v2/health/ready"})  # to those who have no token
_SMALL_BYTES = 2**16  # of a body that no endpoint reads
_LAST_S = 0.5  # for an answer when the service ends
_LINGER_S = 2.0  # for what a client still sends while it is refused


@dataclass(slots=True)
class Asked:
    """A request, and what becomes of it.

    Attributes:
        endpoint: ``infer``, ``landmarks`` or ``other``.
        named: What the client calls the bundle that it asks.
        model: The same, "" where it is none of ours.
        is_whole: Whether all of its body came.
        where: The line of ours that failed; "" for what is no defect.
    """

    id: str
    path: str
    endpoint: str = "other"
    named: str = ""
    model: str = ""
    since: float = field(default_factory=time.perf_counter)
    body_bytes: int = 0
    is_whole: bool = False
    status: int = 0
    word: str = ""
    where: str = ""


class Guard:
    """The application that uvicorn calls.

    Args:
        app: The endpoints.
    """

    def __init__(self, app: App, service: Service) -> None:
        self._app, self._service = app, service
        self._bytes = 0
        self._most_bytes = service.options.body_mib * 2**20
        self._most_bytes_of_all = service.options.bodies_mib * 2**20

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        asked = self._asked(scope, headers)
        answer = _Answer(asked, send)
        try:
            self._check_head(asked, headers)
            body = await self._body(asked, headers, receive)
            await self._watched(scope, body, receive, answer)
        except Refusal as refusal:
            await self._refuse(asked, refusal, answer, headers, receive)
        except asyncio.CancelledError:  # the service ends, and waits no longer
            over = Refusal(ENDING, "the service ends")
            asked.is_whole = True  # what it still sends is not waited for
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_S):
                    await self._refuse(asked, over, answer, headers, receive)
        except Exception as error:
            await self._refuse(asked, refusal_of(error), answer, headers, receive)
        finally:
            self._hold(-asked.body_bytes)
            self._tell(asked)

    def _asked(self, scope: Message, headers: dict[bytes, bytes]) -> Asked:
        given = headers.get(REQUEST_ID.encode(), b"")
        request_id = given.decode() if _RIGHT_ID.fullmatch(given) else secrets.token_hex(8)
        asked = Asked(request_id, scope["path"])
        scope.setdefault("state", {})["request_id"] = request_id
        if found := _MODEL.fullmatch(asked.path):
            asked.endpoint = "infer" if found["model"] else "landmarks"
            asked.named = found["model"] or found["image"]
            asked.model = asked.named if asked.named in self._service.queues else ""
        return asked

    def _check_head(self, asked: Asked, headers: dict[bytes, bytes]) -> None:
        """Refuse what the head of a request says enough of."""
        has_body = headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
        asked.is_whole = not has_body
        if asked.path not in _OPEN:
            check_token(headers.get(b"authorization", b""), self._service.tokens)
        if asked.endpoint == "other":
            return
        if self._service.is_ending.is_set():
            raise Refusal(ENDING, "the service ends")
        if (encoding := headers.get(b"content-encoding", b"identity")) != b"identity":
            told = f"content-encoding: got {shown(encoding.decode('latin-1'))}; expected none"
            raise Refusal(ENCODING, told)  # what it unpacks to is known too late
        self._service.queue(asked.named).check_room()

    async def _body(self, asked: Asked, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """The whole body, within its limits of size and time."""
        most = self._most_bytes if asked.endpoint != "other" else _SMALL_BYTES
        announced = headers.get(b"content-length", b"0")
        if not announced.isdigit() or int(announced[:18]) > most:
            raise Refusal(TOO_LARGE, f"body: got {announced[:18].decode()} bytes; at most {most}")
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(self._service.options.timeout_s):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refusal(GONE, "the client went away")
                    part: bytes = message.get("body", b"")
                    if asked.body_bytes + len(part) > most:
                        raise Refusal(TOO_LARGE, f"body: got more than {most} bytes")
                    self._hold(len(part))
                    asked.body_bytes += len(part)
                    parts.append(part)
                    more = message.get("more_body", False)
        except TimeoutError as error:
            seconds = self._service.options.timeout_s
            raise Refusal(SLOW, f"body: not whole after {seconds:g} s") from error
        asked.is_whole = True
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _hold(self, count: int) -> None:
        """Count bytes of bodies in memory.

        Raises:
            Refusal: They would be more than may be.
        """
        if count > 0 and self._bytes + count > self._most_bytes_of_all:
            raise Refusal(FULL, "bodies of other requests fill the memory that they may have")
        self._bytes += count
        self._service.metrics.body_bytes.set(self._bytes)

    async def _watched(
        self, scope: Message, body: bytes, receive: Receive, answer: _Answer
    ) -> None:
        """Run the endpoint; give it up when the client goes away."""
        given = _Given(body)
        scope["state"][BODY] = body
        task = asyncio.ensure_future(self._app(scope, given.receive, answer.send))
        watch = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait((task, watch), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Refusal(GONE, "the client went away")
            await task
        finally:
            for each in (task, watch):
                each.cancel()
            await asyncio.gather(task, watch, return_exceptions=True)

    async def _refuse(
        self,
        asked: Asked,
        refusal: Refusal,
        answer: _Answer,
        headers: dict[bytes, bytes],
        receive: Receive,
    ) -> None:
        """Send the protocol's error, and let the client finish what it sends."""
        asked.status, asked.word, asked.where = refusal.kind.status, refusal.word, refusal.where
        if refusal.kind is GONE or answer.is_begun:
            return
        await answer.refuse(refusal, is_last=asked.is_whole)
        if asked.is_whole:
            return
        if b"expect" in headers:  # who waits for a "100 Continue" sends nothing behind a refusal
            await answer.finish()
            return
        try:  # closing while it sends would take the answer from it
            async with asyncio.timeout(_LINGER_S):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect" or not message.get("more_body"):
                        break
        except TimeoutError:
            pass
        await answer.finish()

    def _tell(self, asked: Asked) -> None:
        service, lasted_s = self._service, time.perf_counter() - asked.since
        if asked.word == GONE.word:
            service.tally.cancelled += 1
            service.metrics.cancelled.labels(asked.model).inc()
        else:
            service.tally.requests += 1
            code = str(asked.status)
            service.metrics.requests.labels(asked.model, asked.endpoint, code).inc()
        if asked.word and asked.word != GONE.word:
            service.tally.failed += 1
            service.metrics.errors.labels(asked.model, asked.word).inc()
        if asked.endpoint != "other" and not asked.word:
            service.metrics.request_seconds.labels(asked.model, asked.endpoint).observe(lasted_s)
        if asked.word or service.options.log_requests:
            service.tell(ServeEvent("request", _facts(asked, lasted_s)))


class _Given:
    """Hands a body that was read to the endpoint."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body

    async def receive(self) -> Message:
        if self._body is None:
            await asyncio.Event().wait()  # the guard watches the connection
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


class _Answer:
    """What goes to the client, with the request's id."""

    def __init__(self, asked: Asked, send: Send) -> None:
        self._asked, self._send = asked, send
        self.is_begun = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.is_begun, self._asked.status = True, message["status"]
            if not self._asked.word and message["status"] >= 400:
                self._asked.word = _word(message)
            own = (REQUEST_ID.encode(), self._asked.id.encode())
            message = {**message, "headers": [*message.get("headers", ()), own]}
        await self._send(message)

    async def refuse(self, refusal: Refusal, *, is_last: bool) -> None:
        status, headers, body = error_answer(refusal)
        close = [] if is_last else [(b"connection", b"close")]
        start = {"type": "http.response.start", "status": status, "headers": [*headers, *close]}
        await self.send(start)
        await self._send({"type": "http.response.body", "body": body, "more_body": not is_last})

    async def finish(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def error_answer(refusal: Refusal) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body of the protocol's error."""
    kind = refusal.kind
    body = json.dumps({"error": refusal.message}, ensure_ascii=False).encode("utf-8", "replace")
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if kind.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % kind.retry_after_s))
    if kind.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    headers.append((WORD, refusal.word.encode()))
    return kind.status, headers, body


WORD = b"x-error-kind"


def _word(message: Message) -> str:
    """What logs call an error that an endpoint answered with."""
    headers = dict(message.get("headers", ()))
    usual: Kind = INPUT if message["status"] < 500 else DEFECT
    return bytes(headers.get(WORD, usual.word.encode())).decode()


async def _gone(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _facts(asked: Asked, lasted_s: float) -> dict[str, Fact]:
    facts: dict[str, Fact] = {"id": asked.id, "endpoint": asked.endpoint}
    if asked.model:
        facts["model"] = asked.model
    facts |= {"status": asked.status, "ms": lasted_s * 1e3, "bytes": asked.body_bytes}
    facts |= {"error": asked.word} if asked.word else {}
    return facts | ({"where": asked.where} if asked.where else {})
