"""Events that may come in a flood, each told at most once a second with how often it happened."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from mahtrt.serving.events import Fact, ServeEvent, Tell

PAUSE_S = 1.0


@dataclass(slots=True)
class _Kept:
    told_at: float
    count: int = 0
    address: str = ""


class RefusedConnections:
    """Tells of connections that were refused: the first at once, others summed by their reason."""

    def __init__(self, tell: Tell, clock: Callable[[], float] = time.monotonic) -> None:
        self._tell, self._clock = tell, clock
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    def add(self, address: str, reason: str) -> None:
        """Note a connection from an address; tell of it, if the last line is old enough."""
        with self._lock:
            kept = self._kept.setdefault(reason, _Kept(self._clock() - PAUSE_S))
            kept.count, kept.address = kept.count + 1, address
        self.tell_due()

    def tell_due(self, *, all_of_them: bool = False) -> None:
        """Tell of what has waited for a second; of everything where the service ends."""
        with self._lock:
            now, due = self._clock(), []
            for reason, kept in self._kept.items():
                if kept.count and (all_of_them or now - kept.told_at >= PAUSE_S):
                    facts: dict[str, Fact] = {
                        "from": kept.address,
                        "reason": reason,
                        "count": kept.count,
                    }
                    due.append(ServeEvent("connection-refused", facts))
                    kept.count, kept.told_at = 0, now
        for event in due:
            self._tell(event)
