"""What a service over HTTP is given, and what it gives back when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mahtrt.data.limits import MOST_PIXELS
from mahtrt.errors import UsageError
from mahtrt.runtime.engine_choice import Require

if TYPE_CHECKING:
    from mahtrt.bundle.signature import Trust

SCHEMA = "mahtrt.serve-http/1"
PORT = "8000"


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """What to serve over HTTP, and to whom.

    Attributes:
        bundles: ``.mahtrt`` folders, each as a path or as ``NAME=PATH``. Without a name, the folder
            without its ending is the name that clients call the network by.
        http: ``[HOST:]PORT`` for REST; loopback where no host is named. Port 0 takes a free one.
        grpc: ``[HOST:]PORT`` for gRPC, on the host of ``http`` where none is named; None: no port.
        engine: An engine of every bundle, None for its default.
        threads: Threads of one inference.
        streams: How many inferences of a bundle run at a time.
        trust: Whose signature the bundles have to have; None asks for none.
        require: Kind of device that the engines have to run on.
        quantities: Clinical quantities in the answer about an image, where a request does not say:
            "auto" or "none".
        token_file: A file with a bearer token a line, of which a client has to show one.
        tls_cert: Certificate chain (PEM) that we show: both ports speak TLS.
        tls_key: Its private key, where it is not in the same file.
        tls_client_ca: Certificates (PEM) that those of clients have to come from.
        body_mib: Largest body of a request, and largest message of gRPC, in MiB.
        bodies_mib: Most MiB of bodies in memory at a time, of all requests together.
        megapixels: Largest image, in millions of pixels.
        most_waiting: Most requests that wait for a bundle.
        connections: Most connections at a time.
        timeout_s: Longest time for the head of a request, and again for its body.
        batch_wait_ms: Longest time for which an engine of a batch waits for more images.
        drain_s: Longest time for what is under way, once the service is to end.
        reload_s: Seconds between looks whether a bundle was replaced; 0 does not look.
        replay_hours: Hours between replays of the golden images; 0 replays at the start alone.
        log_requests: Tell of every request, not only of those that failed.
    """

    bundles: Sequence[Path | str]
    http: str = PORT
    grpc: str | None = None
    engine: str | None = None
    threads: int | None = None
    streams: int = 1
    trust: Trust | None = None
    require: Require = "any"
    quantities: str = "none"
    token_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    body_mib: int = 64
    bodies_mib: int = 512
    megapixels: float = MOST_PIXELS / 1e6
    most_waiting: int = 64
    connections: int = 256
    timeout_s: float = 60.0
    batch_wait_ms: float = 2.0
    drain_s: float = 30.0
    reload_s: float = 2.0
    replay_hours: float = 24.0
    log_requests: bool = False


@dataclass(frozen=True, slots=True)
class HttpResult:
    """What a service did.

    Attributes:
        requests: Requests that were answered, over REST and gRPC.
        failed: Those of them that were answered with an error.
        cancelled: Requests whose client went away before the answer.
        cases: Cases that were run: one image for most networks.
    """

    requests: int
    failed: int
    cancelled: int
    cases: int

    def to_dict(self) -> dict[str, Any]:
        """The document of ``mahtrt serve --http --json``."""
        return {"schema": SCHEMA, **asdict(self)}


def check_http_options(options: HttpOptions) -> None:
    """Refuse what contradicts itself, before anything is opened.

    Raises:
        UsageError: No bundle, halves of a certificate, or numbers that cannot be.
    """
    if not options.bundles:
        raise UsageError("mahtrt serve", got="no bundle", expected="one or several")
    for name in ("tls_key", "tls_client_ca"):
        if getattr(options, name) is not None and options.tls_cert is None:
            raise UsageError(_option(name), got="it alone", expected="--tls-cert too")
    for name in ("streams", "body_mib", "bodies_mib", "most_waiting", "connections"):
        if not getattr(options, name) >= 1:
            got = str(getattr(options, name))
            raise UsageError(_option(name), got=got, expected="at least 1")
    for name in ("megapixels", "timeout_s", "drain_s"):
        if not 0 < getattr(options, name) < 1e6:
            raise UsageError(_option(name), got=str(getattr(options, name)), expected="above 0")
    for name in ("batch_wait_ms", "reload_s", "replay_hours"):
        if not 0 <= getattr(options, name) < 1e6:
            raise UsageError(_option(name), got=str(getattr(options, name)), expected="0 or more")
    if options.quantities not in ("auto", "none"):
        raise UsageError("--quantities", got=options.quantities, expected="auto or none")
    if options.body_mib > options.bodies_mib:
        got = f"{options.body_mib} MiB of one body"
        raise UsageError("--body-mib", got=got, expected=f"at most {options.bodies_mib} MiB")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
