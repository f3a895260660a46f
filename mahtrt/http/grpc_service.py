"""The gRPC port: kserve's servicer over our data plane, with token, limits and errors of ours."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc.aio import ServerInterceptor

from mahtrt.errors import InputError, UsageError
from mahtrt.http.addresses import Address
from mahtrt.http.guard import REQUEST_ID
from mahtrt.http.kserve_parts import (
    InferenceServicer,
    ModelNotFound,
    add_servicer,
    messages,
)
from mahtrt.http.model import Plane
from mahtrt.http.refusals import ENDING, GONE, NOT_HERE, SLOW, UNKNOWN, Refusal, refusal_of
from mahtrt.http.security import check_token, grpc_credentials
from mahtrt.http.state import Service
from mahtrt.serving.events import Fact, ServeEvent

_SPARE_CALLS = 8
_HEAD_BYTES = 2**20  # of a message, beside its tensors
_RIGHT_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_OPEN = frozenset({"/inference.GRPCInferenceService/ServerLive"})
_OPEN |= {"/inference.GRPCInferenceService/ServerReady"}


class Servicer(InferenceServicer):
    """kserve's servicer, with versions, and without what only who starts a service may do."""

    def __init__(self, service: Service, plane: Plane) -> None:
        super().__init__(plane, None)
        self._service, self._plane = service, plane

    async def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802 (of the protocol)
        self._service.queue(request.name, request.version)
        return await super().ModelReady(request, context)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802 (of the protocol)
        self._service.queue(request.name, request.version)
        found = await self._plane.model_metadata(request.name)
        return messages.ModelMetadataResponse(**found)

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802 (of the protocol)
        if self._service.is_ending.is_set():
            raise Refusal(ENDING, "the service ends")
        answer, _ = await self._plane.infer(request.model_name, request)
        return answer

    async def RepositoryModelLoad(self, request: Any, context: Any) -> Any:  # noqa: N802 (of the protocol)
        raise Refusal(NOT_HERE, "bundles are loaded by who starts the service")

    async def RepositoryModelUnload(self, request: Any, context: Any) -> Any:  # noqa: N802 (of the protocol)
        raise Refusal(NOT_HERE, "bundles are loaded by who starts the service")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the head of a call says.

    Attributes:
        endpoint: ``infer`` or ``other``.
        is_open: Whether it is answered without a token.
    """

    id: str
    endpoint: str
    is_open: bool
    authorization: bytes = field(repr=False)
    since: float = field(default_factory=time.perf_counter)


def _asked(details: Any) -> _Asked:
    metadata = dict(details.invocation_metadata or ())
    given = str(metadata.get(REQUEST_ID, ""))
    return _Asked(
        given if _RIGHT_ID.fullmatch(given) else secrets.token_hex(8),
        "infer" if details.method.endswith("/ModelInfer") else "other",
        details.method in _OPEN,
        str(metadata.get("authorization", "")).encode(),
    )


class Interceptor(ServerInterceptor):
    """Token, errors, metrics and log line of every call."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        asked = _asked(details)
        handler = await continuation(details)
        if handler is None or handler.unary_unary is None:
            return handler

        async def checked(_: Any, context: Any) -> Any:
            return await self._call(handler, context, asked)

        return _same(handler, checked)

    async def _call(self, handler: Any, context: Any, asked: _Asked) -> Any:
        refusal, model, endpoint = None, "", asked.endpoint
        context.set_trailing_metadata(((REQUEST_ID, asked.id),))
        try:
            if not asked.is_open:  # before anything of its message is read
                check_token(asked.authorization, self._service.tokens)
            request = _message(handler, await self._content(context))
            name = getattr(request, "model_name", "")
            model = name if endpoint == "infer" and name in self._service.queues else ""
            return await handler.unary_unary(request, context)
        except asyncio.CancelledError:
            refusal = Refusal(GONE, "the client went away")
            raise
        except Exception as error:
            refusal = _refusal(error)
            await context.abort(grpc.StatusCode[refusal.kind.code], refusal.message)
        finally:
            self._tell(asked, model, refusal)

    async def _content(self, context: Any) -> bytes:
        """The bytes of a call's message.

        Raises:
            Refusal: They did not come in time.
            InputError: The call ended without a message.
        """
        seconds = self._service.options.timeout_s
        try:
            content = await asyncio.wait_for(context.read(), seconds)
        except TimeoutError as error:
            raise Refusal(SLOW, f"message: not whole after {seconds:g} s") from error
        if not isinstance(content, bytes):
            raise InputError("request", got="a call without a message", expected="one message")
        return content

    def _tell(self, asked: _Asked, model: str, refusal: Refusal | None) -> None:
        service, lasted_s = self._service, time.perf_counter() - asked.since
        endpoint = asked.endpoint
        if refusal is not None and refusal.kind is GONE:
            service.tally.cancelled += 1
            service.metrics.cancelled.labels(model).inc()
        else:
            service.tally.requests += 1
            code = refusal.kind.code if refusal else "OK"
            service.metrics.requests.labels(model, f"grpc-{endpoint}", code).inc()
        if refusal is None:
            if endpoint == "infer":
                times = service.metrics.request_seconds.labels(model, "grpc-infer")
                times.observe(lasted_s)
        elif refusal.kind is not GONE:
            service.tally.failed += 1
            service.metrics.errors.labels(model, refusal.word).inc()
        if refusal or service.options.log_requests:
            facts: dict[str, Fact] = {"id": asked.id, "endpoint": f"grpc-{endpoint}"}
            facts |= {"model": model} if model else {}
            facts |= {"ms": lasted_s * 1e3}
            facts |= {"status": refusal.kind.code, "error": refusal.word} if refusal else {}
            service.tell(ServeEvent("request", facts))


def _same(handler: Any, behaviour: Any) -> Any:
    """A handler that reads the bytes of the message itself.

    So a bad message gets our answer, and one that never comes ends. On the wire, a call of one
    message and a stream of one are the same.
    """
    return grpc.stream_unary_rpc_method_handler(
        behaviour, response_serializer=handler.response_serializer
    )


def _message(handler: Any, content: bytes) -> Any:
    """The message of a call.

    Raises:
        InputError: The bytes are none of its kind.
    """
    try:
        return handler.request_deserializer(content)
    except DecodeError as error:
        got, expected = "bytes that are no such message", "a message of the protocol"
        raise InputError("request", got=got, expected=expected) from error


def _refusal(error: Exception) -> Refusal:
    if isinstance(error, ModelNotFound):
        return Refusal(UNKNOWN, error.reason)
    return refusal_of(error)


def _most_calls(service: Service) -> int:
    """Calls at a time, each with a message in memory: what may wait, and some for health."""
    options = service.options
    return min(options.connections, options.most_waiting * len(service.queues)) + _SPARE_CALLS


def make_grpc_server(service: Service, plane: Plane, address: Address) -> tuple[Any, int]:
    """A server that is bound and not started, and its port; call it in the running event loop.

    Raises:
        UsageError: The port is in use.
    """
    options = service.options
    most = options.body_mib * 2**20 + _HEAD_BYTES
    server = grpc.aio.server(
        interceptors=(Interceptor(service),),
        options=(
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", most),
            ("grpc.max_concurrent_streams", options.connections),
            ("grpc.so_reuseport", 0),
            ("grpc.keepalive_time_ms", 60_000),
        ),
        maximum_concurrent_rpcs=_most_calls(service),
    )
    add_servicer(Servicer(service, plane), server)
    credentials = grpc_credentials(options)
    try:
        if credentials is None:
            port = server.add_insecure_port(str(address))
        else:
            port = server.add_secure_port(str(address), credentials)
    except RuntimeError as error:
        raise UsageError(
            f"--grpc {address}", got="a port that cannot be opened", expected="a free one"
        ) from error
    return server, int(port)
