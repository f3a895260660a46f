"""What a node watches while it works: its engine by golden images, and its images for drift."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from mahtrt.bundle.bundle import Bundle
from mahtrt.data.spacing import Spacing
from mahtrt.monitoring.drift import DriftMonitor
from mahtrt.monitoring.facts import facts_of
from mahtrt.monitoring.self_test import SelfTest
from mahtrt.runtime.landmarks import Landmarks
from mahtrt.runtime.session import Session
from mahtrt.serving.events import Fact, ServeEvent, Tell


class Watch:
    """Watches one session. Used by one thread at a time.

    Args:
        session: The open engine.
        bundle: What it was opened from.
        replay_hours: Time between two replays of the golden images; 0 replays them at the start
            alone.
        tell: Is told of every replay and every alarm.

    Raises:
        UsageError: Hours that cannot be.
        IntegrityError: Golden images or statistics are not what the manifest says.
    """

    def __init__(self, session: Session, bundle: Bundle, replay_hours: float, tell: Tell) -> None:
        self._name, self._tell = session.name, tell
        self._test = SelfTest(session, bundle, replay_hours)
        self._monitor = DriftMonitor.of_bundle(bundle)

    def start(self) -> None:
        """Replay the golden images, and say so where drift cannot be watched.

        Raises:
            GateError: The engine is further from them than it may be.
        """
        self._replay()
        if self._monitor is None:
            self._tell(ServeEvent("drift-unwatched", {"reason": "no-reference-statistics"}))

    def test_if_due(self) -> None:
        """Replay the golden images where it is time; raises as :meth:`start` does."""
        if self._test.due():
            self._replay()

    def observe(self, pixels: NDArray[Any], spacing_mm: Spacing | None, found: Landmarks) -> None:
        """Take note of an image and its landmarks, of which nothing but numbers is kept."""
        if self._monitor is None:
            return
        for alarm in self._monitor.observe(facts_of(pixels, spacing_mm), found):
            self._tell(ServeEvent("drift", alarm.to_dict()))

    def _replay(self) -> None:
        outcome = self._test.run()
        facts: dict[str, Fact] = {"engine": self._name, "images": outcome.images}
        self._tell(ServeEvent("golden", facts | {"ms": outcome.took_ms}))
