"""The verb ``serve``: a bundle that answers on a network until it is told to end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from mahtrt.bundle.bundle import read_bundle
from mahtrt.errors import UsageError, require, shown, some_of
from mahtrt.interrupt import Terminated
from mahtrt.runtime.opening import open_engine
from mahtrt.runtime.session import Session
from mahtrt.serving.addresses import Listener, destination_from_text, listener_from_text
from mahtrt.serving.disk_queue import DiskQueue, QueueLimits
from mahtrt.serving.events import Fact, ServeEvent, Tell, unheard
from mahtrt.serving.options import ServeOptions, ServeResult, check_options
from mahtrt.serving.queue_folder import TABLE
from mahtrt.serving.reporter import Reporter, check_network
from mahtrt.serving.watch import Watch

if TYPE_CHECKING:
    from mahtrt.serving.node import Node

_TITLE = "MAHTRT"  # ours, where nothing is received
_LOOPBACK = ("127.", "::1", "localhost")


def serve(options: ServeOptions, tell: Tell = unheard) -> ServeResult:
    """Serve a bundle until Ctrl-C or SIGTERM; with ``drain``, until nothing waits.

    Args:
        options: What to serve, and to whom.
        tell: Is called with every event, from several threads.

    Returns:
        What was done, and what is left in the queue.

    Raises:
        UsageError: Options that contradict each other, a port in use, a queue that another service
            has, a network without landmarks.
        InputError: Certificates that cannot be used.
        GateError: The engine is further from the bundle's golden images than it may be, at the
            start or when they are replayed later.
        DataError, IntegrityError, MissingComponentError: As ``mahtrt.open`` raises them.
    """
    if options.failed == "list":
        return _what_failed(options)
    with opened(options, tell) as node:
        with contextlib.suppress(KeyboardInterrupt, Terminated):
            node.wait(drain=options.drain)
        tell(ServeEvent("ending"))
        node.stop()
        result = node.result()
    tell(ServeEvent("ended", {"sent": result.sent, "waiting": result.waiting}))
    return result


def _what_failed(options: ServeOptions) -> ServeResult:
    """What failed, without an engine and without work."""
    check_options(options)
    if not (options.queue / TABLE).is_file():
        raise UsageError(f"--queue {options.queue}", got="no queue", expected="one to list")
    limits = QueueLimits(options.queue_mib * 2**20, options.queue_entries)
    with DiskQueue.open(options.queue, limits) as queue:
        listed, failed, waiting = queue.failed_entries(), queue.failed(), queue.waiting()
    return ServeResult(
        received=0, repeated=0, refused=0, sent=0, waiting=waiting, failed=failed, listed=listed
    )


@contextlib.contextmanager
def opened(options: ServeOptions, tell: Tell = unheard) -> Iterator[Node]:
    """A service that works while the block runs; raises as :func:`serve` does."""
    check_options(options)
    listener = Listener(_TITLE, 0) if options.dicom is None else listener_from_text(options.dicom)
    destination = destination_from_text(options.send_to)
    require("pynetdicom", extra="dicom", needed_for="mahtrt serve --dicom")
    from mahtrt.serving.node import Node
    from mahtrt.serving.receiver import Receiver
    from mahtrt.serving.sender import Backoff, Sender

    sender = Sender(options, listener.title, destination)
    limits = QueueLimits(options.queue_mib * 2**20, options.queue_entries)
    # What takes no time comes before the engine and its golden images.
    with contextlib.ExitStack() as stack:
        queue = stack.enter_context(DiskQueue.open(options.queue, limits))
        receiver = None if options.drain else Receiver(options, listener, queue, tell)
        if receiver is not None:
            receiver.bind()
            stack.callback(receiver.stop, 0.0)
        session, watch = stack.enter_context(_checked_session(options, tell))
        reporter = Reporter(session, options, watch)
        if reporter.unmatched:
            names = some_of([shown(name) for name in reporter.unmatched], 5)
            tell(ServeEvent("codes-without-landmark", {"names": names}))
        _deal_with_failed(queue, options)
        backoff = partial(Backoff, options.retry_s, options.retry_most_s)
        node = Node(queue, reporter, sender, backoff, tell)
        node.receiver = receiver
        try:
            if receiver is not None:
                receiver.start()
            node.start()
            _tell_ready(node, session, options, tell)
            yield node
        finally:
            node.stop()


@contextlib.contextmanager
def _checked_session(options: ServeOptions, tell: Tell) -> Iterator[tuple[Session, Watch]]:
    """The engine, which gave its golden images as it should, and what goes on watching it."""
    bundle = read_bundle(options.bundle, verify=False, trust=options.trust)
    with open_engine(
        bundle, engine=options.engine, threads=options.threads, require=options.require
    ) as session:
        check_network(session)
        watch = Watch(session, bundle, options.replay_hours, tell)
        watch.start()
        yield session, watch


def _deal_with_failed(queue: DiskQueue, options: ServeOptions) -> None:
    if options.failed == "retry":
        queue.retry_failed()
    elif options.failed == "remove":
        queue.remove_failed()


def _tell_ready(node: Node, session: Session, options: ServeOptions, tell: Tell) -> None:
    result = node.result()
    facts: dict[str, Fact] = {"engine": session.name, "device": session.device}
    if node.receiver is not None:
        facts |= {"host": options.host, "port": node.receiver.port}
    facts |= {"waiting": result.waiting, "failed": sum(result.failed.values())}
    tell(ServeEvent("ready", facts))
    is_open = node.receiver is not None and not options.host.startswith(_LOOPBACK)
    if is_open and not (options.allow or options.tls_client_ca):
        tell(ServeEvent("open-to-all", {"host": options.host, "advice": "use --allow, --tls-cert"}))
