"""Does a long-lived process stay as it is? Many runs and many openings, with the process watched.

For each target: opens an engine and runs it N times, then opens, runs once and closes M times.
At 21 moments it looks at resident memory, open files and threads; after a fifth of the way (caches
and pools are full by then) none may grow. Prints one JSON document; exit 1 where something grew.

    python experiments/soak.py BUNDLE [--runs 1000000] [--opens 2000] [--target openvino …]
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import mahtrt

LOOKS = 20
SETTLED = LOOKS // 5
# The allocator gives memory back late and in pieces: a leak of 8 bytes a run is 8 MB of a million.
ALLOWED_GROWTH_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Look:
    """The process at one moment."""

    resident_bytes: int
    files: int
    threads: int


@dataclass(frozen=True, slots=True)
class Soak:
    """One target, run or opened many times.

    Attributes:
        settled: The process after a fifth of the way.
        grown_bytes: Resident memory at the end, less the most that was seen when it had settled.
    """

    target: str
    what: str
    times: int
    seconds: float
    settled: Look
    end: Look
    grown_bytes: int

    @property
    def is_steady(self) -> bool:
        """Whether memory, files and threads stayed."""
        same = (self.end.files, self.end.threads) == (self.settled.files, self.settled.threads)
        return same and self.grown_bytes <= ALLOWED_GROWTH_BYTES


def main() -> int:
    """Print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--opens", type=int, default=2_000)
    parser.add_argument("--target", action="append")
    arguments = parser.parse_args()
    found = []
    for target in arguments.target or ("openvino", "onnxruntime"):
        found += soak(arguments.bundle, target, arguments.runs, arguments.opens)
    print(json.dumps([{**asdict(one), "is_steady": one.is_steady} for one in found], indent=1))
    return 0 if all(one.is_steady for one in found) else 1


def soak(bundle: Path, target: str, runs: int, opens: int) -> list[Soak]:
    """Run an engine of a bundle many times, and open it many times."""

    def open_run_close() -> None:
        with mahtrt.open(bundle, engine=target, threads=1) as opened:
            opened.run(image)

    with mahtrt.open(bundle, engine=target, threads=1) as session:
        height, width = session.spec.input.size
        image = np.random.default_rng(0).integers(0, 256, (height, width), np.uint8)
        running = _watched(target, "runs", runs, lambda: session.run(image))
    return [running, _watched(target, "open, run, close", opens, open_run_close)]


def _watched(target: str, what: str, times: int, act: Callable[[], object]) -> Soak:
    """Do it so many times, looking at the process in between."""
    looks = []
    started = time.perf_counter()
    for done, following in itertools.pairwise(_shares(times)):
        for _ in range(done, following):
            act()
        looks.append(_look())
        print(f"{target}: {what}: {following} of {times}", looks[-1], file=sys.stderr, flush=True)
    seconds = time.perf_counter() - started
    settled = looks[: SETTLED + 1]
    grown = looks[-1].resident_bytes - max(look.resident_bytes for look in settled)
    return Soak(target, what, times, round(seconds, 1), settled[-1], looks[-1], grown)


def _shares(times: int) -> Sequence[int]:
    return [0, *(times * share // LOOKS for share in range(1, LOOKS + 1))]


def _look() -> Look:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    tasks = len(os.listdir("/proc/self/task"))
    return Look(pages * resource.getpagesize(), len(os.listdir("/proc/self/fd")), tasks)


if __name__ == "__main__":
    sys.exit(main())
