"""What a service is given, and what it gives back when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from mahtrt.errors import UsageError
from mahtrt.monitoring.self_test import HOURS, check_hours
from mahtrt.runtime.engine_choice import Require

if TYPE_CHECKING:
    from mahtrt.bundle.signature import Trust

SCHEMA = "mahtrt.serve/1"
QUEUE = Path("mahtrt-queue")
Failed = Literal["keep", "retry", "remove", "list"]


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What to serve, and to whom.

    Attributes:
        bundle: The ``.mahtrt`` folder.
        send_to: ``AE@HOST:PORT`` that gets the reports.
        dicom: ``AE:PORT`` to receive images on; port 0 takes a free one, which the event ``ready``
            tells; None receives none.
        queue: Folder for what was received and not sent yet, for this user alone.
        host: Address to listen on.
        allow: AE titles that may send images; none given allows all.
        engine: An engine of the bundle, None for its default.
        threads: Threads of one inference.
        trust: Whose signature the bundle has to have; None asks for none.
        require: Kind of device that the engine has to run on.
        quantities: A file that defines clinical quantities for the reports; "auto"; "none".
        landmark_codes: A table of codes for the reports, before the one that mahtrt ships.
        tls_cert: Certificate chain (PEM) that we show to those who send; None listens without TLS.
        tls_key: Its private key, where it is not in the same file.
        tls_client_ca: Certificates (PEM) that those who send have to have theirs from.
        send_ca: Certificates (PEM) that the destination has to have its own from: sends by TLS.
        send_cert: Certificate chain (PEM) that we show to the destination.
        send_key: Its private key, where it is not in the same file.
        associations: Most associations at a time.
        pdu_bytes: Largest protocol data unit that is taken.
        timeout_s: Longest silence of the other end.
        object_mib: Largest object that is taken, in MiB.
        queue_mib: Most MiB that wait.
        queue_entries: Most objects that wait.
        retry_s: First pause after a destination could not be reached, in seconds.
        retry_most_s: Longest such pause.
        replay_hours: Time between two replays of the golden images, in hours; 0 replays them at
            the start alone.
        failed: What becomes of objects that failed earlier: kept, tried again, or removed; or
            "list", which tells what they are and serves nobody.
        drain: Work off what waits, then end; nothing is received.
    """

    bundle: Path
    send_to: str
    dicom: str | None = None
    queue: Path = QUEUE
    host: str = "127.0.0.1"
    allow: Sequence[str] = ()
    engine: str | None = None
    threads: int | None = None
    trust: Trust | None = None
    require: Require = "any"
    quantities: Path | str = "none"
    landmark_codes: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    send_ca: Path | None = None
    send_cert: Path | None = None
    send_key: Path | None = None
    associations: int = 8
    pdu_bytes: int = 65_536
    timeout_s: float = 60.0
    object_mib: int = 256
    queue_mib: int = 10_240
    queue_entries: int = 100_000
    retry_s: float = 1.0
    retry_most_s: float = 300.0
    replay_hours: float = HOURS
    failed: Failed = "keep"
    drain: bool = False


@dataclass(frozen=True, slots=True)
class FailedEntry:
    """An image or a report of the queue that cannot be worked off.

    Attributes:
        digest: SHA-256 of the image, as received; log lines have its first letters.
        reason: Why; docs/dicom.md lists the reasons.
        size_bytes: On the disk.
        since: When the image came in, or its report was made (ISO 8601, UTC); "" where the file
            is gone.
    """

    digest: str
    reason: str
    size_bytes: int
    since: str


@dataclass(frozen=True, slots=True)
class ServeResult:
    """What a service did, and what it leaves in its queue.

    Attributes:
        received: Images taken since it started.
        repeated: Images that were sent again, and had a report already or were waiting for it.
        refused: Images that were not taken.
        sent: Reports that the destination took since the service started.
        waiting: Objects in the queue whose report is not sent.
        failed: Objects in the queue that cannot be worked off, by reason.
        listed: Each of these, where they were asked for (``failed="list"``).
    """

    received: int
    repeated: int
    refused: int
    sent: int
    waiting: int
    failed: dict[str, int]
    listed: tuple[FailedEntry, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The document of ``mahtrt serve --json``."""
        names = ("received", "repeated", "refused", "sent", "waiting", "failed")
        listed = [asdict(each) for each in self.listed]
        return {"schema": SCHEMA, **{name: getattr(self, name) for name in names}, "listed": listed}


def check_options(options: ServeOptions) -> None:
    """Refuse what contradicts itself, before anything is opened.

    Raises:
        UsageError: No service, halves of a certificate, or numbers that cannot be.
    """
    if options.dicom is None and not options.drain and options.failed != "list":
        raise UsageError(
            "mahtrt serve",
            got="no service",
            expected="--dicom AE:PORT, or --http PORT",
            fix="Or --drain, which works off what waits in the queue and ends.",
        )
    for name, needed in (
        ("tls_key", "tls_cert"),
        ("tls_client_ca", "tls_cert"),
        ("send_key", "send_cert"),
        ("send_cert", "send_ca"),
    ):
        if getattr(options, name) is not None and getattr(options, needed) is None:
            raise UsageError(_option(name), got="it alone", expected=f"{_option(needed)} too")
    least = {"associations": 1, "pdu_bytes": 4096, "object_mib": 1, "queue_mib": 1}
    for name, number in (least | {"queue_entries": 1}).items():
        if not getattr(options, name) >= number:
            got = str(getattr(options, name))
            raise UsageError(_option(name), got=got, expected=f"at least {number}")
    check_hours(options.replay_hours)
    for name in ("timeout_s", "retry_s", "retry_most_s"):
        if not 0 < getattr(options, name) < 1e6:
            got = f"{getattr(options, name)} s"
            raise UsageError(_option(name), got=got, expected="a time above 0")
    if options.retry_s > options.retry_most_s:
        raise UsageError(
            "--retry-s",
            got=f"{options.retry_s:g} s",
            expected=f"at most --retry-most-s, {options.retry_most_s:g} s",
        )
    if options.failed == "list" and options.drain:
        raise UsageError(
            "--failed list",
            got="--drain too",
            expected="one of them: the one only lists, the other works off what waits",
        )
    if options.failed not in get_args(Failed):
        raise UsageError("--failed", got=options.failed, expected="keep, retry, remove or list")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
