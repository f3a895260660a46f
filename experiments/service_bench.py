"""A service over HTTP beside a bare session: throughput, times, growth, and starts after a kill.

    python experiments/service_bench.py throughput BUNDLE IMAGE [--rounds 6] [--seconds 5]
    python experiments/service_bench.py soak BUNDLE IMAGE [--requests 100000]
    python experiments/service_bench.py kills BUNDLE IMAGE [--times 10]

``throughput`` has eight clients, each a process of its own, ask a service, and turns about with
them as many threads of one bare session as the service has; the work of both is the same, from the
bytes of the image (or a prepared array) to landmarks. Clients, service and session share all cores.
Each prints one JSON document; exit code 1 where a bar is missed. docs/log.md has the numbers.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import numpy as np
from service_load import (
    Load,
    bare,
    clients,
    image_request,
    image_work,
    tensor_request,
    tensor_work,
)
from service_process import Look, ServiceProcess, served, start

import mahtrt
from mahtrt.data.images import image_from_bytes
from mahtrt.data.preprocess import preprocess

CLIENTS = 8
LEAST_SHARE = 0.9
LONGEST_START_S = 3.0
LOOKS = 20
# The allocator gives memory back late and in pieces.
ALLOWED_GROWTH_BYTES = 8 << 20


def main() -> int:
    """Run one part, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", choices=("throughput", "soak", "kills"))
    parser.add_argument("bundle", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--streams", type=int, default=2)
    given = parser.parse_args()
    part = {"throughput": throughput, "soak": soak, "kills": kills}[given.part]
    with tempfile.TemporaryDirectory() as folder:
        document, is_right = part(given, Path(folder))
    print(json.dumps({"part": given.part, "passed": is_right, **document}))
    return int(not is_right)


def throughput(given: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], bool]:
    """Rates and times of both endpoints, and of a bare session doing the same."""
    content = given.image.read_bytes()
    threads, streams = given.threads, given.streams
    with (
        mahtrt.open(given.bundle, threads=threads, streams=streams) as session,
        served(given.bundle, folder, _options(given)) as service,
    ):
        pixels = image_from_bytes(content, "image").pixels
        tensor = preprocess(pixels, session.spec.input)[0][None]  # (1, C, h, w)
        name = session.spec.input_names[0]
        works = {
            "image": (image_work(session, content), image_request(content)),
            "tensor": (tensor_work(session, tensor), tensor_request(name, tensor)),
        }
        found = {
            name: _side_by_side(given, act, request, service, folder)
            for name, (act, request) in works.items()
        }
    return found, all(part["share"] >= LEAST_SHARE for part in found.values())


def _side_by_side(
    given: argparse.Namespace,
    act: Callable[[], Any],
    request: bytes,
    service: ServiceProcess,
    folder: Path,
) -> dict[str, Any]:
    """Rounds of the bare session and of the clients, turn about, each first every other time."""
    alone, asked = [], []
    with clients(service.port, request, folder, CLIENTS) as all_clients:
        bare(act, 1.0, given.streams + 1)
        all_clients.send(1.0)
        for number in range(given.rounds):
            for is_bare in (True, False) if number % 2 else (False, True):
                if is_bare:
                    alone.append(bare(act, given.seconds, given.streams + 1))
                else:
                    asked.append(all_clients.send(given.seconds))
    times = [ms for load in asked for ms in load.times_ms]
    shares = [one.per_s / other.per_s for one, other in zip(asked, alone, strict=True)]
    return {
        "share": round(_rate(asked) / _rate(alone), 3),
        "share_of_rounds": [round(share, 3) for share in shares],
        "median_share": round(statistics.median(shares), 3),
        "service_per_s": round(_rate(asked), 1),
        "session_per_s": round(_rate(alone), 1),
        "latency_ms": _percentiles(times),
        "session_latency_ms": _percentiles([ms for load in alone for ms in load.times_ms]),
        "statuses": {k: sum(load.statuses[k] for load in asked) for k in asked[0].statuses},
    }


def _rate(loads: list[Load]) -> float:
    return sum(len(load.times_ms) for load in loads) / sum(load.seconds for load in loads)


def _percentiles(times_ms: list[float]) -> dict[str, float]:
    points = np.percentile(times_ms, (50, 90, 99, 100))
    names = ("p50", "p90", "p99", "max")
    return {name: round(float(ms), 1) for name, ms in zip(names, points, strict=True)}


def _options(given: argparse.Namespace) -> list[str]:
    return ["--threads", str(given.threads), "--streams", str(given.streams)]


def soak(given: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], bool]:
    """Many requests to the image endpoint, with the service's process looked at in between."""
    request, looks = image_request(given.image.read_bytes()), []
    begun, done, failed = time.monotonic(), 0, 0
    times: list[float] = []
    with (
        served(given.bundle, folder, _options(given)) as service,
        clients(service.port, request, folder, CLIENTS) as all_clients,
    ):
        for _ in range(LOOKS):
            load = all_clients.send(1e6, each=given.requests // LOOKS // CLIENTS)
            done += len(load.times_ms)
            failed += sum(count for status, count in load.statuses.items() if status != "200")
            times += load.times_ms
            looks.append(service.look())
            print(done, looks[-1], file=sys.stderr, flush=True)
    # After a fifth of the way pools and caches are full.
    settled, end = looks[: LOOKS // 5], looks[-1]
    grown = end.resident_bytes - max(look.resident_bytes for look in settled)
    is_steady = grown <= ALLOWED_GROWTH_BYTES and _rest(end) == _rest(settled[-1]) and not failed
    document = {
        "requests": done,
        "failed": failed,
        "seconds": round(time.monotonic() - begun, 1),
        "latency_ms": _percentiles(times),
        "settled": asdict(settled[-1]),
        "end": asdict(end),
        "grown_bytes": grown,
        "resident_mib": [round(look.resident_bytes / 2**20, 1) for look in looks],
    }
    return document, is_steady


def _rest(look: Look) -> tuple[int, int]:
    return look.files, look.threads


def kills(given: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], bool]:
    """A service that is killed while it works, and started again."""
    request, ready_s = image_request(given.image.read_bytes()), []
    for _ in range(given.times):
        service = start(given.bundle, folder, _options(given))
        ready_s.append(round(service.ready_s, 2))
        with clients(service.port, request, folder, 2) as both:
            both.send(0.3)
            service.process.kill()
            service.process.wait()
    return {"ready_s": ready_s, "longest_s": max(ready_s)}, max(ready_s) < LONGEST_START_S


if __name__ == "__main__":
    sys.exit(main())
