"""What Triton adds to a session: one image at a time, and several clients at once.

    mahtrt export-triton BUNDLE --out models --name nano       # and start Triton on it
    python experiments/triton_latency.py BUNDLE IMAGE --model nano --http HOST:PORT --grpc HOST:PORT

Ways take turns within each round, so that a machine that becomes slower or faster does so for all.
The session of this process idles while Triton works, and the other way round. The image file is
read before; what is timed is decoding the file's bytes (but for pixels) and everything after it.
The last line is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http

import mahtrt
from mahtrt.data.images import image_from_bytes

Way = Callable[[], np.ndarray]


def asked(library: Any, name: str, kind: str, array: np.ndarray) -> Any:
    found = library.InferInput(name, list(array.shape), kind)
    found.set_data_from_numpy(array)
    return found


def ways_of(arguments: argparse.Namespace, session: mahtrt.Session) -> dict[str, Way]:
    """Each way from one image to its landmarks, (K, 2)."""
    content = arguments.image.read_bytes()
    pixels = image_from_bytes(content, "image").pixels
    batch = pixels[None] if pixels.ndim == 3 else pixels[None, ..., None]
    file = np.array([[content]], np.object_)
    ways: dict[str, Way] = {
        "session, file": lambda: session.run(image_from_bytes(content, "image").pixels).points,
        "session, pixels": lambda: session.run(pixels).points,
    }
    for library, address in (
        (tritonclient.http, arguments.http),
        (tritonclient.grpc, arguments.grpc),
    ):
        client = library.InferenceServerClient(address)
        wire = library.__name__.rpartition(".")[2]
        for what, given in (
            ("file", asked(library, "image", "BYTES", file)),
            ("pixels", asked(library, "pixels_uint8", "UINT8", batch)),
        ):

            def way(client: Any = client, given: Any = given) -> np.ndarray:
                answer = client.infer(arguments.model, [given])
                found: np.ndarray = answer.as_numpy("landmarks")[0]
                return found

            ways[f"triton {wire}, {what}"] = way
    return ways


def latencies_ms(ways: dict[str, Way], rounds: int, images: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            for _ in range(images):
                start = time.perf_counter()
                way()
                found[name].append((time.perf_counter() - start) * 1e3)
    return found


def rates(arguments: argparse.Namespace, session: mahtrt.Session) -> dict[str, list[float]]:
    """Images a second of 8 clients, each with a connection, against the session in 8 threads."""
    clients = [ways_of(arguments, session) for _ in range(8)]
    found: dict[str, list[float]] = {}
    for _ in range(arguments.rounds):
        for name in ("session, file", "triton grpc, file"):
            start = time.perf_counter()
            with ThreadPoolExecutor(len(clients)) as pool:
                done = pool.map(lambda each, n=name: [each[n]() for _ in range(25)], clients)
                count = sum(len(part) for part in done)
            found.setdefault(name, []).append(count / (time.perf_counter() - start))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--http", required=True)
    parser.add_argument("--grpc", required=True)
    parser.add_argument("--engine")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=60)
    arguments = parser.parse_args()
    with mahtrt.open(arguments.bundle, engine=arguments.engine) as session:
        ways = ways_of(arguments, session)
        first = {name: way() for name, way in ways.items()}
        same = all(np.array_equal(points, first["session, file"]) for points in first.values())
        latencies_ms(ways, 1, 10)
        found = latencies_ms(ways, arguments.rounds, arguments.images)
        rate = rates(arguments, session)
        engine = session.name
    table = {
        name: {
            "p50_ms": float(np.median(values)),
            "p99_ms": float(np.quantile(values, 0.99)),
            "rounds_p50_ms": [
                float(v) for v in np.median(np.reshape(values, (-1, arguments.images)), 1)
            ],
        }
        for name, values in found.items()
    }
    for name, row in table.items():
        print(f"{name:22} p50 {row['p50_ms']:7.2f} ms   p99 {row['p99_ms']:7.2f} ms")
    for name, several in rate.items():
        print(f"{name:22} 8 clients: {float(np.median(several)):6.1f} images/s")
    print(json.dumps({"engine": engine, "same_bits": same, "ways": table, "rates": rate}))


if __name__ == "__main__":
    main()
