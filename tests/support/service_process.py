"""A service over HTTP in a process of its own, and what it takes of the machine."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Look:
    """A process at one moment."""

    resident_bytes: int
    files: int
    threads: int


@dataclass(slots=True)
class ServiceProcess:
    """A service that told that it is ready.

    Attributes:
        ready_s: From its start until it told so.
    """

    process: subprocess.Popen[bytes]
    port: int
    grpc_port: int
    log: Path
    ready_s: float

    def look(self) -> Look:
        """Its memory, open files and threads now (proc(5))."""
        place = Path("/proc") / str(self.process.pid)
        pages = int((place / "statm").read_text().split()[1])
        files, threads = len(os.listdir(place / "fd")), len(os.listdir(place / "task"))
        return Look(pages * resource.getpagesize(), files, threads)

    def ask(
        self, method: str, path: str, body: bytes | None = None, timeout_s: float = 20.0
    ) -> tuple[int, bytes]:
        """Status and body of one request, on a connection of its own."""
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        ) as connection:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def end(self) -> int:
        """End it in good order; its exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE_S)


def start(bundle: Path, folder: Path, options: Sequence[str] = ()) -> ServiceProcess:
    """Start a service on free ports of loopback, and wait until it is ready."""
    log = folder / f"log-{time.monotonic_ns()}"
    command = [sys.executable, "-m", "mahtrt.cli", "serve", f"net={bundle}", "--log", "json"]
    begun = time.monotonic()
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*command, "--http", "0", "--grpc", "0", *options],
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
    while time.monotonic() < begun + PATIENCE_S and process.poll() is None:
        for line in log.read_text().splitlines():
            with contextlib.suppress(ValueError):
                facts = json.loads(line)
                if facts["event"] == "ready":
                    took_s = time.monotonic() - begun
                    return ServiceProcess(process, facts["port"], facts["grpc_port"], log, took_s)
        time.sleep(0.01)
    process.kill()
    raise AssertionError(f"the service did not start: {log.read_text()[-1000:]}")


@contextlib.contextmanager
def served(bundle: Path, folder: Path, options: Sequence[str] = ()) -> Iterator[ServiceProcess]:
    """A service while the block runs."""
    service = start(bundle, folder, options)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.end()
