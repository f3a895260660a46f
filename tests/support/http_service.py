"""A service over HTTP in the test's own process, on a free port."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mahtrt.http.options import HttpOptions
from mahtrt.http.serve import living
from mahtrt.serving.events import ServeEvent
from mahtrt.serving.tls import listening_context

if TYPE_CHECKING:
    from mahtrt.http.state import Service

_PATIENCE_S = 60.0


@dataclass(slots=True)
class Running:
    """A service that answers.

    Attributes:
        port: Its REST port, on loopback.
        events: What it told.
    """

    port: int = 0
    grpc_port: int = 0
    events: list[ServeEvent] = field(default_factory=list)
    service: Service | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def running(options: HttpOptions) -> Iterator[Running]:
    """Start a service, wait until it told that it is ready, and end it in good order."""
    found, is_ready = Running(), threading.Event()

    def tell(event: ServeEvent, /) -> None:
        found.events.append(event)
        if event.name == "ready":
            found.port = int(event.facts["port"])
            found.grpc_port = int(event.facts.get("grpc_port", 0))
            is_ready.set()

    with living(options, tell) as (life, service):
        found.service = service
        thread = threading.Thread(target=life.run, args=(listening_context(options),))
        thread.start()
        try:
            assert is_ready.wait(_PATIENCE_S), found.events
            yield found
        finally:
            life.end()
            thread.join(_PATIENCE_S)
            assert not thread.is_alive()
