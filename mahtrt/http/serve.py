"""The verb ``serve``: bundles that answer on a network until they are told to end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, overload

import mahtrt
from mahtrt.errors import require
from mahtrt.http.addresses import Address, address_from_text, bind
from mahtrt.http.options import HttpOptions, HttpResult, check_http_options
from mahtrt.interrupt import Terminated
from mahtrt.serving.events import ServeEvent, Tell, unheard
from mahtrt.serving.options import ServeOptions, ServeResult
from mahtrt.serving.serve import serve as serve_dicom
from mahtrt.serving.tls import listening_context

if TYPE_CHECKING:
    from mahtrt.http.server import Life
    from mahtrt.http.state import Service


@overload
def serve(options: ServeOptions, tell: Tell = unheard) -> ServeResult: ...
@overload
def serve(options: HttpOptions, tell: Tell = unheard) -> HttpResult: ...


def serve(options: ServeOptions | HttpOptions, tell: Tell = unheard) -> ServeResult | HttpResult:
    """Serve bundles until Ctrl-C or SIGTERM.

    Args:
        options: :class:`ServeOptions` for a DICOM node, :class:`HttpOptions` for a service of the
            Open Inference Protocol.
        tell: Is called with every event, from several threads.

    Returns:
        What was done; of a DICOM node also what is left in the queue.

    Raises:
        UsageError: Options that contradict each other, or a port in use.
        InputError: Certificates or tokens that cannot be used.
        DataError, IntegrityError, MissingComponentError: As ``mahtrt.open`` raises them.
        MahtrtError: As :func:`mahtrt.serving.serve.serve` raises it for a DICOM node.
    """
    if isinstance(options, ServeOptions):
        return serve_dicom(options, tell)
    result = HttpResult(0, 0, 0, 0)
    # A signal while bundles are being opened ends the service as one does later.
    with contextlib.suppress(KeyboardInterrupt, Terminated):
        result = _served(options, tell)
    tell(ServeEvent("ended", {"requests": result.requests, "failed": result.failed}))
    return result


def _served(options: HttpOptions, tell: Tell) -> HttpResult:
    """What was done until the service was told to end."""
    ended = contextlib.suppress(KeyboardInterrupt, Terminated)
    with living(options, tell) as (life, service), ended:
        life.run(listening_context(options))
    tally, metrics = service.tally, service.metrics
    cases = sum(
        sample.value
        for metric in metrics.cases.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    )
    return HttpResult(tally.requests, tally.failed, tally.cancelled, int(cases))


@contextlib.contextmanager
def living(options: HttpOptions, tell: Tell = unheard) -> Iterator[tuple[Life, Service]]:
    """A service whose ports are taken and whose bundles are being opened; raises as :func:`serve`.

    What takes no time comes before the engines and kserve, which open and load side by side.
    """
    check_http_options(options)
    from mahtrt.http.security import read_tokens
    from mahtrt.http.served import Served, sources_from_texts

    tokens = read_tokens(options.token_file)
    listening_context(options)
    rest = address_from_text(options.http, "--http")
    grpc = None if options.grpc is None else address_from_text(options.grpc, "--grpc", rest.host)
    served = [Served(source, options) for source in sources_from_texts(options.bundles)]
    require("prometheus_client", extra="http", needed_for="mahtrt serve --http")
    for each in served:
        each.check()
    from mahtrt.http.drift_metrics import DriftCollector
    from mahtrt.http.keeper import Keeper
    from mahtrt.http.metrics import Metrics
    from mahtrt.http.state import Service
    from mahtrt.http.work import Queue

    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(contextlib.closing(bind(rest, "--http")))
        _check_free(grpc)
        _warn_if_open(options, (rest, grpc), tell)
        metrics = Metrics(mahtrt.__version__)
        metrics.registry.register(DriftCollector(served))
        queues = {each.name: Queue(each, options, metrics) for each in served}
        keeper = Keeper(served, options, metrics, tell)
        for each in served:
            stack.callback(each.close)
        stack.callback(keeper.close)
        keeper.start()
        from mahtrt.http.server import Life

        service = Service(options, queues, metrics, tell, tokens)
        for queue in queues.values():
            stack.callback(queue.close)
            queue.start()
        yield Life(service, keeper, listening, grpc), service


def _check_free(grpc: Address | None) -> None:
    """Refuse a port of gRPC that is in use, before anything is opened."""
    if grpc is not None:
        bind(grpc, "--grpc").close()


def _warn_if_open(
    options: HttpOptions, addresses: tuple[Address, Address | None], tell: Tell
) -> None:
    """Tell of a port that everybody on a network may use."""
    hosts = [each.host for each in addresses if each is not None and not each.is_loopback]
    if hosts and not (options.token_file or options.tls_client_ca):
        advice = "use --token-file, --tls-client-ca"
        tell(ServeEvent("open-to-all", {"host": hosts[0], "advice": advice}))
    if hosts and options.token_file and not options.tls_cert:
        tell(ServeEvent("token-in-the-clear", {"host": hosts[0], "advice": "use --tls-cert"}))
