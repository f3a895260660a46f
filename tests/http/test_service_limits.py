"""Requests that are too large, too slow, too many or given up."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from http_services import Answer, Running, dotted_image, png_of, running, until

from mahtrt.http import connections, guard
from mahtrt.http.image_work import ImageWork
from mahtrt.runtime.session import Session

PATH = "/v1/landmarks/tiny"
PNG = png_of(dotted_image())
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n".encode()


@pytest.fixture(scope="module")
def hasty(tiny_bundle: Path) -> Iterator[Running]:
    """A service that waits for nobody."""
    patch = pytest.MonkeyPatch()
    patch.setattr(guard, "_LINGER_S", 0.1)
    patch.setattr(connections, "_LINGER_S", 0.1)
    with running(tiny_bundle, grpc=None, timeout_s=0.3, body_mib=1, bodies_mib=2) as found:
        yield found
    patch.undo()


def _say(port: int, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """Send bytes as they are; everything that comes back until the connection ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as spoken:
        for part in parts:
            spoken.sendall(part)
            time.sleep(pause_s)
        said = bytearray()
        while part := spoken.recv(65536):
            said += part
        return bytes(said)


def _deaf(port: int) -> socket.socket:
    """A client that asks for the page many times, and reads nothing."""
    client = socket.socket()
    client.settimeout(10)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 400)
    return client


def _status(said: bytes) -> int:
    return int(said.split(b" ", 2)[1])


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ((HEAD + b"Content-Length: 2000000\r\n\r\n",), 413),
        ((HEAD + b"Content-Length: 2000000\r\nExpect: 100-continue\r\n\r\n",), 413),
        ((HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"100000\r\n" + b"x" * 2**20 + b"\r\n",
          b"1\r\nx\r\n0\r\n\r\n"), 413),
        ((HEAD + b"Content-Length: 10\r\n\r\nabc",), 408),
        ((HEAD + b"Content-Length: ten\r\n\r\n",), 400),
        ((b"NO HTTP AT ALL\r\n\r\n",), 400),
        ((b"",), 408),
        ((b"GET /v2 HTTP/1.1\r\nHost",), 408),
        ((b"GET /v2 HTTP/1.1\r\nContent-Length: 70000\r\n\r\n",), 413),
        ((b"GET /v2 HTTP/1.1\r\n", b"X-Many: abc\r\n" * 30_000), 431),
        ((b"GET /v2 HTTP/1.1\r\nX-Long: ", b"a" * 400_000), 431),
    ],
    ids=["announced", "expects", "chunked", "slow", "no-number", "no-http", "mute", "half-a-head",
         "body-of-get", "many-headers", "long-header"],
)  # fmt: skip
def test_what_breaks_a_limit_gets_its_status(
    hasty: Running, parts: tuple[bytes, ...], status: int
) -> None:
    assert _status(_say(hasty.port, *parts)) == status
    assert hasty.ask(PATH, PNG).status == 200


class _Gate:
    """Holds a session's runs until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.runs = threading.Event(), 0
        honest = Session.run_batch

        def run_batch(session: Session, *args: Any, **named: Any) -> Any:
            self.runs += 1
            self.open.wait(20)
            return honest(session, *args, **named)

        monkeypatch.setattr(Session, "run_batch", run_batch)
        honest_prepare, self.taken = ImageWork.prepare, 0

        def prepare(work: ImageWork, *args: Any) -> Any:
            self.taken += 1
            return honest_prepare(work, *args)

        monkeypatch.setattr(ImageWork, "prepare", prepare)


def test_a_full_queue_refuses_and_work_of_those_who_left_is_not_done(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, queue = _Gate(monkeypatch), service.service.queues["tiny"]
    cancelled = service.service.tally.cancelled
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(service.ask, PATH, PNG)
        until(lambda: gate.runs == 1)
        second = pool.submit(service.ask, PATH, PNG)  # a second thread decodes it
        until(lambda: gate.taken == 2)
        leaving = []
        for _ in range(4):
            connection = http.client.HTTPConnection("127.0.0.1", service.port)
            connection.request("POST", PATH, PNG)
            leaving.append(connection)
        until(lambda: len(queue._jobs) == 4)
        full = service.ask(PATH, PNG)
        assert (full.status, full.headers["retry-after"]) == (503, "1")
        assert full.headers["x-error-kind"] == "queue-full"
        for connection in leaving:
            connection.close()
        until(lambda: not queue._jobs)
        gate.open.set()
        answers: list[Answer] = [first.result(), second.result()]
    assert [answer.status for answer in answers] == [200, 200]
    assert gate.runs == 2
    assert service.service.tally.cancelled == cancelled + 4


def test_cases_that_wait_are_run_together(
    tiny_batch_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(f"four={tiny_batch_bundle}", grpc=None, batch_wait_ms=500) as service:
        with ThreadPoolExecutor(4) as pool:
            bodies = [PNG, PNG, b"no image", PNG]
            answers = list(pool.map(lambda body: service.ask("/v1/landmarks/four", body), bodies))
        assert sorted(answer.status for answer in answers) == [200, 200, 200, 400]
        text = service.ask("/metrics").body.decode()
    assert 'mahtrt_batch_cases_count{model="four"} 1.0' in text
    assert 'mahtrt_cases_total{model="four"} 3.0' in text


def test_what_is_under_way_is_finished_when_the_service_ends(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = _Gate(monkeypatch)
    with ThreadPoolExecutor(1) as pool:
        with running(tiny_bundle, grpc=None) as service:
            asked = pool.submit(service.ask, PATH, PNG)
            until(lambda: gate.runs == 1)
            threading.Timer(0.3, gate.open.set).start()
        assert asked.result().status == 200
    assert service.service.is_ending.is_set()


def test_what_is_not_done_when_the_time_for_it_is_over_is_told_so(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = _Gate(monkeypatch)
    with ThreadPoolExecutor(2) as pool:
        with running(tiny_bundle, grpc=None, drain_s=1) as service:
            asked = [pool.submit(service.ask, PATH, PNG)]
            until(lambda: gate.runs == 1)
            asked.append(pool.submit(service.ask, PATH, PNG))
            until(lambda: gate.taken == 2)  # decoded, and not in the engine
            threading.Timer(2, gate.open.set).start()
        answers = [each.result() for each in asked]
    assert [(each.status, each.headers["x-error-kind"]) for each in answers] == [
        (503, "ending")
    ] * 2
    assert gate.runs == 1


def test_who_does_not_take_answers_is_left(hasty: Running) -> None:
    with _deaf(hasty.port) as client:
        time.sleep(1.5)  # more than twice the time that a client has
        with contextlib.suppress(ConnectionResetError):
            said = b""
            while part := client.recv(65536):
                said += part
                assert said.count(b"HTTP/1.1 200 OK") < 400
    assert hasty.ask(PATH, PNG).status == 200


def test_who_does_not_take_answers_keeps_no_service_from_its_end(tiny_bundle: Path) -> None:
    with running(tiny_bundle, grpc=None, drain_s=1) as service:
        client = _deaf(service.port)
        time.sleep(0.2)
        begun = time.monotonic()
    assert time.monotonic() - begun < 6
    client.close()


def test_connections_are_numbered(tiny_bundle: Path) -> None:
    with running(tiny_bundle, grpc=None, connections=2) as service:
        first, second = (http.client.HTTPConnection("127.0.0.1", service.port) for _ in range(2))
        with contextlib.closing(first), contextlib.closing(second):
            first.connect()
            second.connect()
            assert _status(_say(service.port)) == 503
            second.request("GET", "/v2/health/live")
            assert second.getresponse().status == 200
        until(lambda: service.ask("/v2/health/live").status == 200)


def test_a_defect_tells_its_place_and_nothing_else(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **named: Any) -> None:
        raise RuntimeError("Doe, Jane")

    monkeypatch.setattr(Session, "run_batch", broken)
    answer = service.ask(PATH, PNG, {"x-request-id": "abc-1"})
    assert answer.status == 500
    assert answer.headers["x-request-id"] == "abc-1"
    assert b"Doe" not in answer.body
    until(lambda: any(facts["id"] == "abc-1" for facts in service.told("request")))
    (facts,) = (facts for facts in service.told("request") if facts["id"] == "abc-1")
    assert facts["error"] == "defect-RuntimeError"
    assert str(facts["where"]).startswith("image_work.py:")
    assert "Doe" not in str(service.events)
