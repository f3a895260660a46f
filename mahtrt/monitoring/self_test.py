"""The golden images of a bundle, replayed when a service starts and every some hours after.

    test = SelfTest(session, bundle, hours=24)
    test.run()                  # before anybody is served; raises GateError
    ...
    if test.due():              # between two images, from whichever thread runs the session
        outcome = test.run_quietly()
        if not outcome.passed:
            ...                 # not ready any more; outcome.reason says why

A chip that computes wrongly, a driver that was updated under a running service or memory that was
damaged show here, and nowhere else: an engine gives landmarks all the same.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from mahtrt.bundle.bundle import Bundle
from mahtrt.bundle.golden import read_golden
from mahtrt.errors import MahtrtError, UsageError
from mahtrt.runtime.golden_check import check_vectors
from mahtrt.runtime.session import Session

HOURS = 24.0
MOST_HOURS = 8760.0


@dataclass(frozen=True, slots=True)
class SelfTestOutcome:
    """How a replay ended.

    Attributes:
        passed: Whether the engine gave what it should.
        images: Golden images; 0 where the bundle keeps none.
        mean_px: Mean displacement from what the reference gave, in network pixels; None without
            landmarks or images, and where it is not finite.
        took_ms: Time of the replay.
        reason: Why it did not pass, in one line; "" where it did.
    """

    passed: bool
    images: int
    mean_px: float | None
    took_ms: float
    reason: str = ""


class SelfTest:
    """Replays golden images.

    They are decoded when the test is made and kept, so that a bundle that is replaced on the disk
    does not judge the engine that was opened before.

    Args:
        session: The open engine.
        bundle: What it was opened from.
        hours: Time between two replays; 0 is never due.
        clock: Seconds of a clock that only goes on.

    Attributes:
        last: How the last replay ended, None before the first.

    Raises:
        UsageError: Hours that cannot be.
        IntegrityError: The golden images are not what the manifest says.
    """

    def __init__(
        self,
        session: Session,
        bundle: Bundle,
        hours: float = HOURS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_hours(hours)
        self._session, self._bundle = session, bundle
        self._vectors = read_golden(bundle)
        self._hours, self._clock, self._ran_s = hours, clock, clock()
        self._lock = threading.Lock()
        self.last: SelfTestOutcome | None = None

    @property
    def images(self) -> int:
        """How many golden images there are."""
        return len(self._vectors)

    def due(self) -> bool:
        """Whether it is time for the next replay."""
        if not (self._hours and self._vectors):
            return False
        return self._clock() - self._ran_s >= self._hours * 3600

    def run(self) -> SelfTestOutcome:
        """Replay the golden images.

        Returns:
            The outcome, which passed.

        Raises:
            GateError: The engine is further from them than it may be.
            MahtrtError: It cannot run.
        """
        with self._lock:
            # Counted from the start, so that one that fails is not due again at once.
            self._ran_s = began_s = self._clock()
            try:
                mean_px = self._replay()
            except MahtrtError as error:
                self.last = self._outcome(began_s, None, reason=str(error))
                raise
            self.last = self._outcome(began_s, mean_px)
            return self.last

    def run_quietly(self) -> SelfTestOutcome:
        """Replay the golden images, and tell how it ended instead of raising."""
        try:
            return self.run()
        except MahtrtError:
            assert self.last is not None
            return self.last

    def _outcome(self, began_s: float, mean_px: float | None, reason: str = "") -> SelfTestOutcome:
        took_ms = round((self._clock() - began_s) * 1000, 1)
        return SelfTestOutcome(not reason, self.images, mean_px, took_ms, reason)

    def _replay(self) -> float | None:
        """The mean displacement, None where there is none; raises as :meth:`run` does."""
        if not self._vectors:
            return None
        mean_px = check_vectors(self._session, self._bundle, self._vectors).mean_px
        return mean_px if mean_px is not None and math.isfinite(mean_px) else None


def check_hours(hours: float) -> None:
    """Refuse a time between replays that cannot be.

    Raises:
        UsageError: Not from 0 to a year.
    """
    if not 0 <= hours <= MOST_HOURS:
        expected = f"0 (never again) to {MOST_HOURS:g} hours"
        raise UsageError("--replay-hours", got=f"{hours:g}", expected=expected)
