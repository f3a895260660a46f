"""Many clients of one service at a time, and the same work by a bare session."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mahtrt
from mahtrt.data.images import image_from_bytes
from mahtrt.runtime.decode import decode, needed_outputs

_CLIENT = Path(__file__).parent / "service_client.py"
_DECODED = ("points_px", "points_confidence", "points_spread_px")


@dataclass(slots=True)
class Load:
    """What was asked in a time.

    Attributes:
        statuses: Number of answers by status; a bare session has none.
    """

    seconds: float
    times_ms: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)

    @property
    def per_s(self) -> float:
        return len(self.times_ms) / self.seconds


def image_request(content: bytes) -> bytes:
    """A request to the image endpoint, head and all."""
    return _post("/v1/landmarks/net", content)


def tensor_request(name: str, tensor: NDArray[np.float32]) -> bytes:
    """A request to the tensor endpoint, raw tensors in both directions."""
    given = {"name": name, "datatype": "FP32", "shape": [*tensor.shape]}
    raw = tensor.astype("<f4").tobytes()
    document = {
        "inputs": [{**given, "parameters": {"binary_data_size": len(raw)}}],
        "outputs": [{"name": each, "parameters": {"binary_data": True}} for each in _DECODED],
    }
    head = json.dumps(document).encode()
    extra = {"inference-header-content-length": str(len(head))}
    return _post("/v2/models/net/infer", head + raw, extra)


def _post(path: str, body: bytes, extra: Mapping[str, str] | None = None) -> bytes:
    headers = {"host": "localhost", "content-length": str(len(body)), **(extra or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


class Clients:
    """Clients that send one request, each in a process of its own, when they are told to."""

    def __init__(self, port: int, request: Path, count: int) -> None:
        command = [sys.executable, "-S", "-E", str(_CLIENT), str(port), str(request)]
        self._processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(count)
        ]

    def send(self, seconds: float, each: int = 10**9) -> Load:
        """Let all of them ask for a time, or each a number of times."""
        begun = time.monotonic()
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{seconds} {each}\n")
            process.stdin.flush()
        load = Load(0.0)
        for process in self._processes:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            load.times_ms += told["times_ms"]
            load.statuses.update(told["statuses"])
        load.seconds = time.monotonic() - begun
        return load

    def close(self) -> None:
        for process in self._processes:
            process.communicate()


@contextlib.contextmanager
def clients(port: int, request: bytes, folder: Path, count: int = 8) -> Iterator[Clients]:
    """Clients of a service while the block runs."""
    place = folder / f"request-{time.monotonic_ns()}"
    place.write_bytes(request)
    found = Clients(port, place, count)
    try:
        yield found
    finally:
        found.close()


def bare(act: Callable[[], Any], seconds: float, callers: int) -> Load:
    """Do something in so many threads for a time."""
    load, begun = Load(0.0), time.monotonic()

    def work() -> None:
        times_ms = []
        while time.monotonic() < begun + seconds:
            since = time.monotonic()
            act()
            times_ms.append((time.monotonic() - since) * 1e3)
        load.times_ms += times_ms

    threads = [threading.Thread(target=work) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    load.seconds = time.monotonic() - begun
    return load


def image_work(session: mahtrt.Session, content: bytes) -> Callable[[], Any]:
    """What the image endpoint has to do without a network: bytes to landmarks."""
    return lambda: session.run(image_from_bytes(content, "image").pixels)


def tensor_work(session: mahtrt.Session, tensor: NDArray[np.float32]) -> Callable[[], Any]:
    """The same of the tensor endpoint: a prepared array to points, confidence and spread."""
    spec = session.spec
    name, wanted = spec.input_names[0], list(needed_outputs(spec))
    return lambda: decode(session.infer({name: tensor}, wanted), spec)
