"""What ``mahtrt serve`` is given: a service of one kind, each with options of its own."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mahtrt.errors import UsageError
from mahtrt.verbs.choices import one_of
from mahtrt.verbs.command import (
    DATA,
    DICOM_NODE,
    ENGINES,
    GENERAL,
    SERVICE,
    TLS,
    argument,
    option,
)
from mahtrt.verbs.options import Json, RequiredDevice, Threads, TrustArguments, device_from_text

if TYPE_CHECKING:
    from mahtrt.http.options import HttpOptions
    from mahtrt.serving.options import ServeOptions

_ONE_SERVICE = "A process is one service: a DICOM node (--dicom) or one over HTTP (--http)."


@dataclass(frozen=True, kw_only=True)
class HttpArguments:
    """The service of the Open Inference Protocol."""

    http: Annotated[
        str | None,
        option(SERVICE, "Port for REST, on loopback where no host is named: [HOST:]PORT."),
    ] = None
    grpc: Annotated[str | None, option(SERVICE, "Port for gRPC, beside --http: [HOST:]PORT.")] = (
        None
    )
    token_file: Annotated[
        Path | None,
        option(SERVICE, "File with a bearer token a line, of which a client has to show one."),
    ] = None
    streams: Annotated[
        int, option(SERVICE, "Inferences of a bundle that run at a time.", least=1)
    ] = 1
    batch_wait_ms: Annotated[
        float, option(SERVICE, "Longest time for which an engine of a batch waits for images.")
    ] = 2.0
    body_mib: Annotated[int, option(SERVICE, "Largest body of a request, in MiB.", least=1)] = 64
    bodies_mib: Annotated[
        int, option(SERVICE, "Most MiB of bodies in memory, of all requests together.", least=1)
    ] = 512
    megapixels: Annotated[float, option(SERVICE, "Largest image, in millions of pixels.")] = (
        67.108864
    )
    most_waiting: Annotated[
        int, option(SERVICE, "Most requests that wait for a bundle.", least=1)
    ] = 64
    connections: Annotated[int, option(SERVICE, "Most connections at a time.", least=1)] = 256
    drain_s: Annotated[
        float, option(SERVICE, "Longest time for what is under way when the service ends.")
    ] = 30.0
    reload_s: Annotated[
        float,
        option(SERVICE, "Seconds between looks whether a bundle was replaced; 0 does not look."),
    ] = 2.0
    log_requests: Annotated[
        bool, option(SERVICE, "Every request gets a log line, not only a failed one.",
                     "--log-requests")
    ] = False  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DicomArguments:
    """The DICOM node."""

    send_to: Annotated[str | None, option(DICOM_NODE, "Who gets the reports: AE@HOST:PORT.")] = None
    dicom: Annotated[
        str | None,
        option(
            DICOM_NODE,
            "Our AE title, and the port on which images are received: AE:PORT. Port 0 takes a free "
            "one, which the event ready tells.",
        ),
    ] = None
    host: Annotated[str, option(DICOM_NODE, "Address to listen on.")] = "127.0.0.1"
    allow: Annotated[
        list[str] | None,
        option(DICOM_NODE, "AE title that may send images. May be repeated; all may without it."),
    ] = None
    queue: Annotated[
        Path,
        option(
            DICOM_NODE, "Folder for what is received and not yet sent, patients' images among it."
        ),
    ] = Path("mahtrt-queue")
    drain: Annotated[
        bool,
        option(
            DICOM_NODE, "Nothing is received: what waits is worked off, then it ends.", "--drain"
        ),
    ] = False
    failed: Annotated[
        str,
        option(
            DICOM_NODE,
            "What becomes of images and reports that failed earlier: keep, retry or remove; list "
            "tells what they are and ends.",
            complete=one_of("keep", "retry", "remove", "list"),
        ),
    ] = "keep"
    associations: Annotated[int, option(DICOM_NODE, "Most associations at a time.", least=1)] = 8
    pdu_bytes: Annotated[int, option(DICOM_NODE, "Largest PDU that is taken.", least=4096)] = 65_536
    object_mib: Annotated[int, option(DICOM_NODE, "Largest image, in MiB.", least=1)] = 256
    queue_mib: Annotated[int, option(DICOM_NODE, "Most MiB that wait.", least=1)] = 10_240
    queue_entries: Annotated[
        int, option(DICOM_NODE, "Most images and reports that wait.", least=1)
    ] = 100_000
    retry_s: Annotated[
        float, option(DICOM_NODE, "First pause where the destination is down; each doubles.")
    ] = 1.0
    retry_most_s: Annotated[float, option(DICOM_NODE, "Longest such pause.")] = 300.0
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
    landmark_codes: Annotated[
        Path | None,
        option(DATA, "File (TOML) with codes of landmarks and quantities, for the reports."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ServeArguments(HttpArguments, DicomArguments, TrustArguments):
    """What ``mahtrt serve`` is given."""

    bundles: Annotated[
        list[Path],
        argument(
            "Bundles: .mahtrt folders, for --http also as NAME=FOLDER. A DICOM node serves one."
        ),
    ]
    tls_cert: Annotated[
        Path | None, option(TLS, "Certificate chain (PEM) that senders are shown: listens by TLS.")
    ] = None
    tls_key: Annotated[
        Path | None, option(TLS, "Its private key (PEM), where it is in a file of its own.")
    ] = None
    tls_client_ca: Annotated[
        Path | None, option(TLS, "Certificates (PEM) that those of senders have to come from.")
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
    threads: Threads = None
    replay_hours: Annotated[
        float,
        option(SERVICE, "Hours between replays of the golden images; 0: at the start alone."),
    ] = 24.0
    timeout_s: Annotated[
        float,
        option(
            SERVICE,
            "Longest time for the head of a request, and again for its body; of a DICOM node, "
            "longest silence of the other end.",
        ),
    ] = 60.0
    log: Annotated[
        str,
        option(GENERAL, "Form of the log lines on stderr: text (key=value) or json.",
               complete=one_of("text", "json")),
    ] = "text"  # fmt: skip
    json: Json = None

    def options(self) -> ServeOptions | HttpOptions:
        """What Python takes.

        Raises:
            UsageError: Both kinds of service, or options of one for the other.
        """
        if self.http is None:
            _refuse_others(self, HttpArguments, "--http")
            return self._dicom_options()
        if self.dicom is not None:
            raise UsageError(
                "mahtrt serve",
                got="--http and --dicom",
                expected="one of them",
                fix=_ONE_SERVICE,
            )
        _refuse_others(self, DicomArguments, "--dicom")
        from mahtrt.http.options import HttpOptions

        same = (
            *("http", "grpc", "engine", "threads", "streams", "quantities", "token_file"),
            *("tls_cert", "tls_key", "tls_client_ca", "body_mib", "bodies_mib", "megapixels"),
            *("most_waiting", "connections", "timeout_s", "batch_wait_ms", "drain_s", "reload_s"),
            *("replay_hours", "log_requests"),
        )
        return HttpOptions(
            tuple(self.bundles),
            **{name: getattr(self, name) for name in same},
            trust=self.trust(),
            require=device_from_text(self.require),
        )

    def _dicom_options(self) -> ServeOptions:
        from mahtrt.serving.options import ServeOptions

        if len(self.bundles) != 1:
            got = f"{len(self.bundles)} bundles"
            raise UsageError("mahtrt serve --dicom", got=got, expected="one")
        if self.send_to is None:
            is_dicom = self.dicom is not None or self.drain
            got = "no destination" if is_dicom else "no service"
            expected = "--send-to AE@HOST:PORT" if is_dicom else "--http PORT, or --dicom AE:PORT"
            raise UsageError("mahtrt serve", got=got, expected=expected)
        same = (
            *("send_to", "dicom", "host", "queue", "drain", "engine", "threads"),
            *("associations", "pdu_bytes", "timeout_s", "object_mib", "queue_mib"),
            *("queue_entries", "retry_s", "retry_most_s", "replay_hours", "failed", "quantities"),
            "landmark_codes",
            *("tls_cert", "tls_key", "tls_client_ca", "send_ca", "send_cert", "send_key"),
        )
        return ServeOptions(
            self.bundles[0],
            **{name: getattr(self, name) for name in same},
            allow=tuple(self.allow or ()),
            trust=self.trust(),
            require=device_from_text(self.require),
        )


def _refuse_others(arguments: ServeArguments, kind: type, option_of_kind: str) -> None:
    """Refuse options of a service that is not asked for."""
    for each in fields(kind):
        if getattr(arguments, each.name) != each.default:
            name = "--" + each.name.replace("_", "-")
            asked = "--http" if option_of_kind == "--dicom" else "--dicom"
            raise UsageError(
                name,
                got=f"it with {asked}" if arguments.http is not None else "it without --http",
                expected=f"{option_of_kind}, whose option it is",
                fix=_ONE_SERVICE,
            )
