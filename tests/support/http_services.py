"""Services over HTTP that run in a thread of the test, and what asks them."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tiny_network import SIZE

from mahtrt.http.options import HttpOptions
from mahtrt.http.serve import living
from mahtrt.http.state import Service
from mahtrt.serving.events import ServeEvent
from mahtrt.serving.tls import listening_context

PATIENCE_S = 20.0


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Running:
    """A service that runs."""

    port: int
    grpc_port: int
    events: list[ServeEvent]
    service: Service

    def ask(
        self,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        method: str = "",
    ) -> Answer:
        """One request, on a connection of its own."""
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        ) as connection:
            asked = method or ("GET" if body is None else "POST")
            connection.request(asked, path, body, dict(headers or {}))
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, told, answer.read())

    def told(self, event: str) -> list[Mapping[str, Any]]:
        """The facts of events of a name."""
        return [each.facts for each in list(self.events) if each.name == event]


@contextlib.contextmanager
def running(*bundles: Path | str, **options: Any) -> Iterator[Running]:
    """A service on free ports of loopback."""
    events: list[ServeEvent] = []
    usual = {"http": "0", "grpc": "0", "reload_s": 0.0, "threads": 1}
    given = HttpOptions(bundles, **{**usual, **options})
    with living(given, events.append) as (life, service):
        thread = threading.Thread(target=life.run, args=(listening_context(given),))
        thread.start()
        try:
            until(lambda: any(event.name == "ready" for event in events))
            (ready,) = (event.facts for event in events if event.name == "ready")
            yield Running(int(ready["port"]), int(ready.get("grpc_port", 0)), events, service)
        finally:
            life.end()
            thread.join()


def until(condition: Any, patience_s: float = PATIENCE_S) -> None:
    """Wait for something that has to come."""
    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def dotted_image(scale: int = 1) -> NDArray[np.uint8]:
    """An image with a bright block of each colour, for the tiny network."""
    image = np.zeros((SIZE[0] * scale, SIZE[1] * scale, 3), np.uint8)
    for channel, (row, column) in enumerate(((4, 6), (10, 20), (20, 40))):
        block = slice(row * scale, (row + 2) * scale), slice(column * scale, (column + 2) * scale)
        image[(*block, channel)] = 255
    return image


def png_of(image: NDArray[np.uint8]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG")
    return content.getvalue()
