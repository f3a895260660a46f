"""``mahtrt serve``: a bundle that takes DICOM images and sends reports, and its log lines."""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mahtrt.errors import MahtrtError, UsageError
from mahtrt.verbs.choices import one_of
from mahtrt.verbs.command import DATA, ENGINES, GENERAL, SERVICE, TLS, argument, as_command, option
from mahtrt.verbs.console import answer, complain, say, write_json
from mahtrt.verbs.options import Json, RequiredDevice, Threads, TrustArguments, device_from_text

if TYPE_CHECKING:
    from mahtrt.serving.events import ServeEvent, Tell
    from mahtrt.serving.options import ServeOptions, ServeResult

_LIBRARIES = ("pydicom", "pynetdicom", "highdicom")


@dataclass(frozen=True, kw_only=True)
class ServeArguments(TrustArguments):
    """What ``mahtrt serve`` is given."""

    bundle: Annotated[Path, argument("Bundle: the .mahtrt folder.")]
    send_to: Annotated[str, option(SERVICE, "Who gets the reports: AE@HOST:PORT.")]
    dicom: Annotated[
        str | None,
        option(SERVICE, "Our AE title, and the port on which images are received: AE:PORT."),
    ] = None
    host: Annotated[str, option(SERVICE, "Address to listen on.")] = "127.0.0.1"
    allow: Annotated[
        list[str] | None,
        option(SERVICE, "AE title that may send images. May be repeated; all may without it."),
    ] = None
    queue: Annotated[
        Path,
        option(SERVICE, "Folder for what is received and not yet sent, patients' images among it."),
    ] = Path("mahtrt-queue")
    drain: Annotated[
        bool,
        option(SERVICE, "Nothing is received: what waits is worked off, then it ends.", "--drain"),
    ] = False
    failed: Annotated[
        str,
        option(
            SERVICE,
            "What becomes of images and reports that failed earlier: keep, retry or remove; list "
            "tells what they are and ends.",
            complete=one_of("keep", "retry", "remove", "list"),
        ),
    ] = "keep"
    associations: Annotated[int, option(SERVICE, "Most associations at a time.", least=1)] = 8
    pdu_bytes: Annotated[int, option(SERVICE, "Largest PDU that is taken.", least=4096)] = 65_536
    timeout_s: Annotated[float, option(SERVICE, "Longest silence of the other end.")] = 60.0
    object_mib: Annotated[int, option(SERVICE, "Largest image, in MiB.", least=1)] = 256
    queue_mib: Annotated[int, option(SERVICE, "Most MiB that wait.", least=1)] = 10_240
    queue_entries: Annotated[
        int, option(SERVICE, "Most images and reports that wait.", least=1)
    ] = 100_000
    retry_s: Annotated[
        float, option(SERVICE, "First pause where the destination is down; each doubles.")
    ] = 1.0
    retry_most_s: Annotated[float, option(SERVICE, "Longest such pause.")] = 300.0
    tls_cert: Annotated[
        Path | None, option(TLS, "Certificate chain (PEM) that senders are shown: listens by TLS.")
    ] = None
    tls_key: Annotated[
        Path | None, option(TLS, "Its private key (PEM), where it is in a file of its own.")
    ] = None
    tls_client_ca: Annotated[
        Path | None, option(TLS, "Certificates (PEM) that those of senders have to come from.")
    ] = None
    send_ca: Annotated[
        Path | None,
        option(TLS, "Certificates (PEM) that the destination's has to come from: sends by TLS."),
    ] = None
    send_cert: Annotated[
        Path | None, option(TLS, "Certificate chain (PEM) that the destination is shown.")
    ] = None
    send_key: Annotated[
        Path | None, option(TLS, "Its private key (PEM), where it is in a file of its own.")
    ] = None
    engine: Annotated[
        str | None,
        option(ENGINES, "Engine of the bundle, or a target; the bundle's default without it."),
    ] = None
    require: RequiredDevice = "any"
    quantities: Annotated[
        str,
        option(
            DATA,
            "File (TOML) that defines clinical quantities for the reports; auto: those that mahtrt "
            "ships and the landmarks allow; none.",
        ),
    ] = "none"
    landmark_codes: Annotated[
        Path | None,
        option(DATA, "File (TOML) with codes of landmarks and quantities, for the reports."),
    ] = None
    threads: Threads = None
    log: Annotated[
        str,
        option(GENERAL, "Form of the log lines on stderr: text (key=value) or json.",
               complete=one_of("text", "json")),
    ] = "text"  # fmt: skip
    json: Json = None

    def options(self) -> ServeOptions:
        """What Python takes."""
        from mahtrt.serving.options import ServeOptions

        same = (
            *("bundle", "send_to", "dicom", "host", "queue", "drain", "engine", "threads"),
            *("associations", "pdu_bytes", "timeout_s", "object_mib", "queue_mib"),
            *("queue_entries", "retry_s", "retry_most_s", "failed", "quantities"),
            "landmark_codes",
            *("tls_cert", "tls_key", "tls_client_ca", "send_ca", "send_cert", "send_key"),
        )
        return ServeOptions(
            **{name: getattr(self, name) for name in same},
            allow=tuple(self.allow or ()),
            trust=self.trust(),
            require=device_from_text(self.require),
        )


@as_command
def command(arguments: ServeArguments) -> None:
    """Take DICOM images and send reports of landmarks.

    Ctrl-C or SIGTERM end it in good order; whatever ends it, nothing that was received is lost.
    """
    from mahtrt.serving.serve import serve

    if arguments.log not in ("text", "json"):
        raise UsageError("--log", got=arguments.log, expected="text or json")
    write = _writer(arguments.log)
    with _quiet_libraries(write):
        result = serve(arguments.options(), write)
    if arguments.json is not None:
        write_json(result.to_dict(), arguments.json)
    else:
        answer(*_words(result))
    if arguments.drain and result.failed:
        complain("error: the queue holds what failed; --failed list tells what it is")
        raise typer.Exit(MahtrtError.exit_code)


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
    """Keep what libraries warn of, and how their threads end, from stderr: it may quote headers."""
    from mahtrt.serving.events import ServeEvent

    def broken(arguments: threading.ExceptHookArgs, /) -> None:
        tell(ServeEvent("connection-broken", {"kind": arguments.exc_type.__name__}))

    loggers = [logging.getLogger(name) for name in _LIBRARIES]
    before = [(logger, logger.propagate) for logger in loggers]
    handler, honest = logging.NullHandler(), threading.excepthook
    threading.excepthook = broken
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.addHandler(handler)
            logger.propagate = False
        try:
            yield
        finally:
            threading.excepthook = honest
            for logger, propagate in before:
                logger.removeHandler(handler)
                logger.propagate = propagate
