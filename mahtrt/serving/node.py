"""A DICOM node: images in, landmarks, reports out, each step by a thread of its own.

The steps share nothing but the queue on disk, so that a destination that is down, an engine that
is slow and senders that are quick do not wait for each other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from mahtrt.data.limits import MOST_IMAGE_BYTES
from mahtrt.serving.disk_queue import MOST_TRIES, TROUBLE, DiskQueue, Entry
from mahtrt.serving.events import Fact, ServeEvent, Tell, short
from mahtrt.serving.options import ServeResult
from mahtrt.serving.queue_folder import reason_of_trouble
from mahtrt.serving.reporter import DEFECT, Reporter, reason_of

if TYPE_CHECKING:
    from mahtrt.serving.receiver import Receiver
    from mahtrt.serving.sender import Backoff, Connection, Sender

_TROUBLE_S = 5.0  # until a disk that is full is tried again
_POLL_S = 0.5
_LINGER_S = 1.0  # that an association stays open for the next report
PATIENCE_S = 10.0  # for an object that is coming in when the service ends


class Node:
    """The threads between a receiver and a sender.

    Attributes:
        receiver: What images come in by; None where none do.
    """

    def __init__(
        self,
        queue: DiskQueue,
        reporter: Reporter,
        sender: Sender,
        backoff: Callable[[], Backoff],
        tell: Tell,
    ) -> None:
        self.receiver: Receiver | None = None
        self._queue, self._reporter, self._sender = queue, reporter, sender
        self._new_backoff, self._tell = backoff, tell
        self._ending = threading.Event()
        self._failure: BaseException | None = None
        self._sent = 0
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), name=f"mahtrt-{name}")
            for name, work in (("reports", self._make_reports), ("sending", self._send_reports))
        ]

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def wait(self, *, drain: bool) -> None:
        """Wait for an interruption, or until nothing is left to do.

        Args:
            drain: Whether to end when nothing waits.
        """
        while not self._ending.wait(_POLL_S if not drain else 0.05):
            if drain and self._queue.waiting() == 0:
                return

    def stop(self) -> None:
        """Take nothing more, end what is under way, and stop.

        Raises:
            BaseException: What ended a thread.
        """
        if self.receiver is not None:
            self.receiver.stop(PATIENCE_S)
        self._ending.set()
        with self._queue.changed:
            self._queue.changed.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        if self._failure is not None:
            raise self._failure

    def result(self) -> ServeResult:
        """What was done so far, and what is left."""
        counts = self.receiver.counts if self.receiver else None
        return ServeResult(
            received=counts.received if counts else 0,
            repeated=counts.repeated if counts else 0,
            refused=counts.refused if counts else 0,
            sent=self._sent,
            waiting=self._queue.waiting(),
            failed=self._queue.failed(),
        )

    def _guarded(self, work: Callable[[], None]) -> None:
        """Work until the end; a defect ends the service, never one of its threads alone."""
        while not self._ending.is_set():
            try:
                work()
            except TROUBLE as error:
                self._tell(ServeEvent("disk", {"reason": reason_of_trouble(error)}))
                self._ending.wait(_TROUBLE_S)
            except BaseException as error:
                self._failure = error
                self._ending.set()
                return

    def _wait_for_change(self, seconds: float) -> None:
        with self._queue.changed:
            if not self._ending.is_set():
                self._queue.changed.wait(seconds)

    def _make_reports(self) -> None:
        self._reporter.test_if_due()
        entry = self._queue.next_received()
        if entry is None:
            self._wait_for_change(_POLL_S)
            return
        if entry.tries >= MOST_TRIES:
            self._fail(entry, "ends-process")
            return
        began = time.monotonic()
        try:
            image = self._queue.read_image(entry, MOST_IMAGE_BYTES)
            report = self._reporter.report(image, f"image {short(entry.digest)}")
        except TROUBLE:
            raise
        # Decoders and engines raise almost anything on an image that they cannot use.
        except Exception as error:
            reason = reason_of(error)
            self._fail(entry, reason, kind=type(error).__name__ if reason == DEFECT else "")
            return
        self._queue.keep_report(entry, report.content)
        took_ms = round((time.monotonic() - began) * 1000, 1)
        self._tell(ServeEvent("computed", {"id": short(entry.digest), "ms": took_ms}))

    def _send_reports(self) -> None:
        from mahtrt.serving.sender import DestinationDownError

        pauses = self._new_backoff()
        while not self._ending.is_set():
            if self._queue.next_report() is None:
                self._wait_for_change(_POLL_S)
                continue
            try:
                with self._sender.connected() as connection:
                    is_well = self._send_over(connection)
                reason, cause = "" if is_well else "asks-to-wait", ""
            except DestinationDownError as error:
                reason, cause = error.reason, error.cause
            if not reason:
                pauses.reset()
                continue
            pause_s = pauses.next_s()
            facts: dict[str, Fact] = {"reason": reason, **({"cause": cause} if cause else {})}
            facts["again_in_s"] = round(pause_s, 1)
            self._tell(ServeEvent("destination-waits", facts))
            self._ending.wait(pause_s)

    def _send_over(self, connection: Connection) -> bool:
        """Send what there is; False where all of it has to be tried again later."""
        after, later, sent = 0, 0, 0
        while not self._ending.is_set() and connection.is_open:
            entry = self._queue.next_report(after)
            if entry is None and not later:
                self._wait_for_change(_LINGER_S)
                entry = self._queue.next_report(after)
            if entry is None:
                break
            after = entry.number
            if self._send(entry, connection):
                sent += 1
            else:
                later += 1
        return sent > 0 or later == 0

    def _send(self, entry: Entry, connection: Connection) -> bool:
        """Send one report; False where it stays."""
        from mahtrt.serving.sender import Outcome

        report = self._queue.read_report(entry)
        facts: dict[str, str | int] = {"id": short(entry.digest)}
        if entry.state == "sending" and connection.holds(report):
            self._sent += 1
            self._queue.mark_sent(entry)
            self._tell(ServeEvent("sent", facts | {"found": "there"}))
            return True
        self._queue.mark_sending(entry)
        outcome, status = connection.send(report)
        if outcome is Outcome.STORED:
            self._sent += 1
            self._queue.mark_sent(entry)
            self._tell(ServeEvent("sent", facts | {"status": status}))
            return True
        if outcome is Outcome.REFUSED:
            self._fail(entry, f"refused-{status}")
            return True
        if outcome is Outcome.LATER:
            self._queue.mark_unsent(entry)
        self._tell(ServeEvent("not-sent", facts | {"status": status or "no-answer"}))
        return False

    def _fail(self, entry: Entry, reason: str, kind: str = "") -> None:
        self._queue.fail(entry, reason)
        facts = {"id": short(entry.digest), "reason": reason, **({"kind": kind} if kind else {})}
        self._tell(ServeEvent("failed", facts))
