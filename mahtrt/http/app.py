"""The REST endpoints: kserve's routes of the protocol, and ours beside and before them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from mahtrt.errors import InputError, MahtrtError, shown
from mahtrt.http.guard import BODY, App, Guard, Message, Receive, Send, error_answer
from mahtrt.http.image_work import ImageWork, asked_from_query
from mahtrt.http.kserve_parts import (
    ModelNotFound,
    ModelNotReady,
    ServerNotReady,
    register_v2_endpoints,
)
from mahtrt.http.model import Plane
from mahtrt.http.page_route import page
from mahtrt.http.refusals import (
    INPUT,
    METHOD,
    NOT_HERE,
    NOT_READY,
    UNKNOWN,
    Refusal,
    refusal_of,
)
from mahtrt.http.rest_tensors import JSON_LENGTH, RestAnswer, RestTensorWork
from mahtrt.http.security import check_token
from mahtrt.http.state import Service

_JSON = "application/json"
_ENDPOINTS = "one that docs/service.md lists, such as /v1/landmarks/NAME"


def make_app(service: Service, plane: Plane) -> Guard:
    """All endpoints, behind the guard."""
    app = FastAPI(title="mahtrt", openapi_url=None, docs_url=None, redoc_url=None)
    app.router.redirect_slashes = False  # it would redirect to whatever host a request names
    ours = Endpoints(service, plane)
    app.add_route("/", page, methods=["GET"])
    app.add_route("/metrics", ours.metrics, methods=["GET"])
    app.add_route("/v1/landmarks/{model}", ours.landmarks, methods=["POST"])
    model = "/v2/models/{model}"
    for path in (f"{model}/infer", f"{model}/versions/{{version}}/infer"):
        app.add_route(path, ours.infer, methods=["POST"])
    # kserve's have no versions; any client could load and unload by its repository routes.
    app.add_route(f"{model}/versions/{{version}}", ours.metadata, methods=["GET"])
    app.add_route(f"{model}/versions/{{version}}/ready", ours.model_ready, methods=["GET"])
    app.add_route("/v2/repository/{rest:path}", ours.repository, methods=["GET", "POST"])
    register_v2_endpoints(app, plane, None)
    kinds = (HTTPException, RequestValidationError, ModelNotFound, ModelNotReady, ServerNotReady)
    for kind in (Exception, Refusal, MahtrtError, *kinds):
        app.add_exception_handler(kind, ours.error)
    return Guard(_head_as_get(app), service)


def _head_as_get(app: App) -> App:
    """The endpoints, of which those for GET answer HEAD too (RFC 9110, 9.3.2).

    The content is left out where the answer is written, by uvicorn.
    """

    async def asked(scope: Message, receive: Receive, send: Send) -> None:
        is_head = scope["method"] == "HEAD"
        await app({**scope, "method": "GET"} if is_head else scope, receive, send)

    return asked


class Endpoints:
    """Our endpoints, and the answers to errors of all."""

    def __init__(self, service: Service, plane: Plane) -> None:
        self._service, self._plane = service, plane
        self._most_pixels = int(service.options.megapixels * 1e6)

    async def landmarks(self, request: Request) -> Response:
        """The image endpoint: the bytes of an image to the document of ``mahtrt predict``."""
        queue = self._service.queue(request.path_params["model"])
        query: dict[str, str] = {}
        for name, value in request.query_params.multi_items():
            if name in query:
                raise InputError(f"query {shown(name)}", got="it twice", expected="it once")
            query[name] = value
        asked = asked_from_query(query, self._service.options.quantities)
        kind = request.headers.get("content-type", "")
        work = ImageWork(request.scope["state"][BODY], kind, asked, self._most_pixels)
        body: bytes = await asyncio.wrap_future(queue.put(work))
        return Response(body, media_type=_JSON)

    async def infer(self, request: Request) -> Response:
        """The tensor endpoint."""
        model, version = request.path_params["model"], request.path_params.get("version", "")
        queue = self._service.queue(model, version)
        work = RestTensorWork(
            request.scope["state"][BODY],
            request.headers.get(JSON_LENGTH),
            model,
            request.scope["state"]["request_id"],
            self._service.options.body_mib * 2**20,
        )
        answer: RestAnswer = await asyncio.wrap_future(queue.put(work))
        if answer.json_bytes is None:
            return Response(answer.body, media_type=_JSON)
        headers = {JSON_LENGTH: str(answer.json_bytes)}
        return Response(answer.body, headers=headers, media_type="application/octet-stream")

    async def metadata(self, request: Request) -> Response:
        """A model's metadata, by its version."""
        model = request.path_params["model"]
        self._service.queue(model, request.path_params["version"])
        return _json(await self._plane.model_metadata(model))

    async def model_ready(self, request: Request) -> Response:
        """Whether a model answers, by its version."""
        model = request.path_params["model"]
        queue = self._service.queue(model, request.path_params["version"])
        if not queue.served.is_ready:
            raise queue.served.refusal()
        return _json({"name": model, "ready": True})

    async def repository(self, request: Request) -> Response:
        """Triton's extension that loads and unloads, which no client may do here."""
        raise Refusal(NOT_HERE, "repository: bundles are loaded by who starts the service")

    async def metrics(self, request: Request) -> Response:
        """What Prometheus reads."""
        body, kind = self._service.metrics.text(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": kind})

    async def error(self, request: Request, error: Exception) -> Response:
        """The protocol's error for whatever an endpoint raised, kserve's among them."""
        refusal = self._refusal(request, error)
        status, headers, body = error_answer(refusal)
        response = Response(body, status)
        response.raw_headers = headers
        if isinstance(error, HTTPException) and error.status_code == METHOD.status:
            response.headers["allow"] = ", ".join(_methods(error))  # RFC 9110, 15.5.6
        return response

    def _why_not(self, request: Request) -> str:
        """Why the service is not ready; who has no token is told of which bundles alone."""
        try:
            check_token(request.headers.get("authorization", "").encode(), self._service.tokens)
        except Refusal:
            return self._service.which_not
        return self._service.why_not

    def _refusal(self, request: Request, error: Exception) -> Refusal:
        if isinstance(error, (Refusal, MahtrtError)):
            return refusal_of(error)
        if isinstance(error, HTTPException):
            return _refusal_of_routes(request, error)
        if isinstance(error, RequestValidationError):
            return Refusal(INPUT, "the request is not as the protocol has it")
        if isinstance(error, ServerNotReady):
            return Refusal(NOT_READY, self._why_not(request))
        if isinstance(error, ModelNotReady):
            return self._service.queue(error.model_name).served.refusal()
        if isinstance(error, ModelNotFound):
            return Refusal(UNKNOWN, error.reason)
        return refusal_of(error)


def _refusal_of_routes(request: Request, error: HTTPException) -> Refusal:
    """What a client is told of a path, or a method, for which there is no endpoint."""
    path = f"path {shown(request.scope['path'])}"
    if error.status_code == UNKNOWN.status:
        return Refusal(UNKNOWN, f"{path}: got no endpoint; expected {_ENDPOINTS}")
    if error.status_code == METHOD.status:
        methods = " or ".join(_methods(error))
        return Refusal(METHOD, f"{path}: got {shown(request.method)}; expected {methods}")
    return Refusal(INPUT, str(error.detail))


def _methods(error: HTTPException) -> list[str]:
    """The methods that a path has."""
    allowed = {each.strip() for each in (error.headers or {}).get("Allow", "").split(",")}
    return sorted(allowed | {"HEAD"} if "GET" in allowed else allowed)


def _json(document: Any) -> Response:
    return Response(json.dumps(document), media_type=_JSON)
