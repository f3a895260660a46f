"""Times libmahtrt beside Python's Session on the same engine, interleaved in one process.

    python experiments/c_library_time.py BUNDLE [--library libmahtrt.so.1] [--runs 300]

Prints one JSON document: milliseconds (p50, p90, p99) of ``Session.run``, of ``mahtrt_run`` and of
``mahtrt_infer`` on the tensor prepared before (the engine alone, with its copies), for one gray
image; what is left of ``mahtrt_run`` beside the engine; and seconds from opening to the first
landmarks, each in a process of its own.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

FIRST_IN_PYTHON = """
import sys, time
start = time.perf_counter()
import numpy as np
import mahtrt
with mahtrt.open(sys.argv[1]) as session:
    session.run(np.zeros((512, 512), np.uint8))
print(time.perf_counter() - start)
"""
FIRST_IN_C = """
import sys, time
import ctypes
start = time.perf_counter()
library = ctypes.CDLL(sys.argv[2])
handle = ctypes.c_void_p()
assert library.mahtrt_open(sys.argv[1].encode(), None, ctypes.byref(handle)) == 0
class Image(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("data", ctypes.c_void_p),
                ("row_bytes", ctypes.c_size_t), ("width", ctypes.c_int32),
                ("height", ctypes.c_int32), ("format", ctypes.c_int32),
                ("row_mm", ctypes.c_double), ("column_mm", ctypes.c_double)]
pixels = ctypes.create_string_buffer(512 * 512)
image = Image(ctypes.sizeof(Image), ctypes.addressof(pixels), 0, 512, 512, 0, 0.0, 0.0)
library.mahtrt_landmark_count.restype = ctypes.c_size_t
count = library.mahtrt_landmark_count(handle)
found = ctypes.create_string_buffer(64 * count)
size_t = ctypes.c_size_t
assert library.mahtrt_run(handle, ctypes.byref(image), found, size_t(44), size_t(count)) == 0
print(time.perf_counter() - start)
"""


def milliseconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - start)


def spread(values: list[float]) -> dict[str, float]:
    ranks = np.percentile(values, (50, 90, 99))
    return {
        name: round(float(rank), 4) for name, rank in zip(("p50", "p90", "p99"), ranks, strict=True)
    }


def first_landmarks_s(openings: int, program: str, *arguments: str) -> float:
    """Median of several processes, from the first line to the first landmarks."""
    times = []
    from native_samples import openvino_folder

    environment = {**os.environ, "MAHTRT_RUNTIME_DIR": openvino_folder()}
    for _ in range(openings):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        times.append(float(done.stdout))
    return round(statistics.median(times), 3)


def contenders(bundle: Path, side: int) -> dict[str, Callable[[], Any]]:
    """What is timed, by name; sessions stay open."""
    import c_library as c

    from mahtrt.runtime.opening import open_session

    image = np.random.default_rng(0).integers(0, 256, (side, side), dtype=np.uint8)
    session = open_session(bundle)
    in_c = c.CSession(bundle, session.name)
    found = np.zeros(len(in_c.landmark_names), np.dtype(c.Landmark))
    passed = c.c_image(image)
    size = ctypes.c_size_t

    def run_in_c() -> None:
        c.check(
            c.library().mahtrt_run(
                in_c.handle,
                ctypes.byref(passed),
                found.ctypes.data_as(ctypes.c_void_p),
                size(ctypes.sizeof(c.Landmark)),
                size(len(found)),
            )
        )

    spec = session.spec.input
    prepared, _ = in_c.prepare(0, image, (spec.channels, *spec.size))
    inputs = (c.Tensor * 1)(c.tensor(spec.name, prepared))
    raw = {name: np.zeros(shape, np.float32) for name, shape in in_c.outputs.items()}
    needed = [name for name in raw if name in ("landmarks", "confidence", "spread")]
    outputs = (c.Tensor * len(needed))(*(c.tensor(name, raw[name]) for name in needed))

    def infer_in_c() -> None:
        c.check(
            c.library().mahtrt_infer(
                in_c.handle, inputs, size(1), outputs, size(len(needed)), ctypes.c_void_p()
            )
        )

    def prepare_in_c() -> None:
        in_c.prepare(0, image, prepared.shape)

    return {
        "Session.run": lambda: session.run(image),
        "mahtrt_run": run_in_c,
        "mahtrt_infer": infer_in_c,
        "mahtrt_prepare": prepare_in_c,
    }


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--library", type=Path, help="libmahtrt.so.1; built where none is given")
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--openings", type=int, default=5, help="processes that open the bundle")
    parser.add_argument("--side", type=int, default=512, help="pixels of the square gray image")
    options = parser.parse_args(given)
    import native_library

    if options.library:
        native_library.native_library = lambda: options.library.resolve()
    library = str(native_library.native_library())
    timed = contenders(options.bundle, options.side)
    times: dict[str, list[float]] = {name: [] for name in timed}
    for number in range(options.runs + 20):
        for name, work in timed.items():
            took = milliseconds(work)
            if number >= 20:
                times[name].append(took)
    beside = [
        run - infer for run, infer in zip(times["mahtrt_run"], times["mahtrt_infer"], strict=True)
    ]
    report = {
        "bundle": options.bundle.name,
        "image": f"{options.side}x{options.side} gray 8-bit",
        "runs": options.runs,
        "cpus": len(os.sched_getaffinity(0)),
        "machine": platform.processor() or platform.machine(),
        "ms": {name: spread(values) for name, values in times.items()},
        "beside_the_engine_ms": spread(beside),
        "first_landmarks_s": {
            "Python": first_landmarks_s(options.openings, FIRST_IN_PYTHON, str(options.bundle)),
            "C": first_landmarks_s(options.openings, FIRST_IN_C, str(options.bundle), library),
        },
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
