"""``mahtrt serve``: a bundle as a DICOM node, or bundles over HTTP, and its log lines."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from mahtrt.errors import MahtrtError, UsageError
from mahtrt.verbs.command import as_command
from mahtrt.verbs.console import answer, complain, say, write_json
from mahtrt.verbs.serve_arguments import ServeArguments

if TYPE_CHECKING:
    from mahtrt.http.options import HttpResult
    from mahtrt.serving.events import ServeEvent, Tell
    from mahtrt.serving.options import ServeResult

_LIBRARIES = (
    *("pydicom", "pynetdicom", "highdicom"),
    *("asyncio", "fastapi", "grpc", "kserve", "uvicorn"),
)
_GRPC_LINES = "GRPC_VERBOSITY"


@as_command
def command(arguments: ServeArguments) -> None:
    """Find landmarks over HTTP and gRPC, or as a DICOM node.

    Ctrl-C or SIGTERM end it in good order: over HTTP every request that came gets its answer; of
    DICOM, whatever ends it, nothing that was received is lost.
    """
    from mahtrt.http.serve import serve
    from mahtrt.serving.options import ServeResult

    if arguments.log not in ("text", "json"):
        raise UsageError("--log", got=arguments.log, expected="text or json")
    write, options = _writer(arguments.log), arguments.options()
    with _quiet_libraries(write):
        result = serve(options, write)
    if arguments.json is not None:
        write_json(result.to_dict(), arguments.json)
    else:
        answer(*(_words(result) if isinstance(result, ServeResult) else _http_words(result)))
    if arguments.drain and isinstance(result, ServeResult) and result.failed:
        complain("error: the queue holds what failed; --failed list tells what it is")
        raise typer.Exit(MahtrtError.exit_code)


def _http_words(result: HttpResult) -> Iterator[str]:
    yield (
        f"{result.requests} requests answered, {result.failed} of them with an error, "
        f"{result.cancelled} given up by their clients; {result.cases} cases"
    )


def _words(result: ServeResult) -> Iterator[str]:
    for each in result.listed:
        yield f"{each.digest} {each.reason} {each.size_bytes} bytes, since {each.since or '?'}"
    count = sum(result.failed.values())
    reasons = ", ".join(f"{reason}: {number}" for reason, number in result.failed.items())
    yield (
        f"{result.received} received, {result.sent} sent, {result.waiting} waiting, "
        f"{count} failed{f' ({reasons})' if reasons else ''}"
    )


def _writer(form: str) -> Tell:
    """What writes events as lines, one at a time."""
    from mahtrt.serving.events import json_line, text_line

    line, lock = json_line if form == "json" else text_line, threading.Lock()

    def write(event: ServeEvent, /) -> None:
        with lock:
            say(line(event))

    return write


@contextlib.contextmanager
def _quiet_libraries(tell: Tell) -> Iterator[None]:
    """Keep what libraries warn of, and how their threads end, from stderr: it may quote headers.

    gRPC's core writes to stderr itself, of each handshake that fails among others, unless the
    environment says otherwise when grpc is imported (gRPC's "environment variables").
    """
    from mahtrt.serving.events import ServeEvent

    def broken(arguments: threading.ExceptHookArgs, /) -> None:
        tell(ServeEvent("connection-broken", {"kind": arguments.exc_type.__name__}))

    loggers = [logging.getLogger(name) for name in _LIBRARIES]
    before = [(logger, logger.propagate) for logger in loggers]
    handler, honest = logging.NullHandler(), threading.excepthook
    threading.excepthook = broken
    is_chosen = _GRPC_LINES in os.environ
    os.environ.setdefault(_GRPC_LINES, "NONE")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.addHandler(handler)
            logger.propagate = False
        try:
            yield
        finally:
            threading.excepthook = honest
            if not is_chosen:
                os.environ.pop(_GRPC_LINES, None)
            for logger, propagate in before:
                logger.removeHandler(handler)
                logger.propagate = propagate
