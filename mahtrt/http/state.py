"""Everything that a service has while it runs, by the names of its bundles."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from mahtrt.errors import shown
from mahtrt.http.metrics import Metrics
from mahtrt.http.options import HttpOptions
from mahtrt.http.refusals import UNKNOWN, Refusal
from mahtrt.http.served import Served
from mahtrt.http.work import Queue
from mahtrt.serving.events import Tell


@dataclass(slots=True)
class Tally:
    """What was done since the service started."""

    requests: int = 0
    failed: int = 0
    cancelled: int = 0


@dataclass(slots=True)
class Service:
    """A service that runs.

    Attributes:
        queues: Name of a bundle to what waits for it.
        is_ending: Set once the service takes nothing new.
    """

    options: HttpOptions
    queues: Mapping[str, Queue]
    metrics: Metrics
    tell: Tell
    tokens: tuple[bytes, ...] = ()
    tally: Tally = field(default_factory=Tally)
    is_ending: threading.Event = field(default_factory=threading.Event)

    @property
    def is_ready(self) -> bool:
        """Whether every bundle answers (Open Inference Protocol, "server ready")."""
        return not self.is_ending.is_set() and all(
            queue.served.is_ready for queue in self.queues.values()
        )

    @property
    def why_not(self) -> str:
        """Why the service is not ready, in sentences."""
        if self.is_ending.is_set():
            return "the service ends"
        told = [f"{each.name}: {each.why_not}" for each in self._not_ready()]
        return "not ready. " + " ".join(told)

    @property
    def which_not(self) -> str:
        """The same for who shows no token: names of bundles, and nothing of files and engines."""
        if self.is_ending.is_set():
            return "the service ends"
        names = ", ".join(each.name for each in self._not_ready())
        return f"not ready: {names}. Who shows a token is told why."

    def _not_ready(self) -> list[Served]:
        return [queue.served for queue in self.queues.values() if not queue.served.is_ready]

    def queue(self, model: str, version: str = "") -> Queue:
        """What waits for a bundle.

        Args:
            version: The one that a client asks for; "" for the one that there is.

        Raises:
            Refusal: No bundle is called so, or it is of another version.
        """
        found = self.queues.get(model)
        if found is None:
            names = ", ".join(self.queues)
            raise Refusal(UNKNOWN, f"model {shown(model)}: got no such model; expected {names}")
        opened = found.served.opened
        if version and opened is not None and version != opened.version:
            told = f"model {model}: got version {shown(version)}; expected {opened.version}"
            raise Refusal(UNKNOWN, told)
        return found
