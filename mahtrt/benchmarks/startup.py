"""Cold start and memory of engines: each opened in fresh processes, as a user's program does.

Processes run one after the other, engines in turn, so that all meet the same machine. The files
were read before, by the bench itself: the page cache is warm, and a first start after a reboot
takes longer by the time that the disk needs.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mahtrt import files
from mahtrt.benchmarks.measures import Spread, Startup
from mahtrt.data.feed import Image
from mahtrt.errors import DataError, MahtrtError
from mahtrt.parsing import read_json
from mahtrt.scratch import temporary_folder

MODULE = "mahtrt.benchmarks.cold_start"
LIMIT_S = 300.0  # of one process
_MOST_REASON = 300  # characters
_TIMES = ("open_ms", "first_result_ms")
_MEMORY = ("resident_mib", "peak_mib")


@dataclass(frozen=True, slots=True)
class ColdStarts:
    """What to start.

    Attributes:
        bundle: The ``.mahtrt`` folder.
        engines: Names, each of which can run here.
        images: The first case, an image per input.
        count: Processes per engine.
        threads: Threads of one inference; None leaves their number to the engine.
    """

    bundle: Path
    engines: tuple[str, ...]
    images: tuple[Image, ...]
    count: int
    threads: int | None = None


def measure_startup(
    asked: ColdStarts,
    progress: Callable[[int, int], None],
    *,
    program: Sequence[str] = ("-m", MODULE),
) -> tuple[tuple[Startup, ...], tuple[str, ...]]:
    """Start every engine a few times.

    Args:
        progress: Called with (done, expected) processes.
        program: What Python runs in place of :mod:`mahtrt.benchmarks.cold_start`, for tests.

    Returns:
        A row for each engine that started, and a warning for each that did not.
    """
    told: dict[str, list[dict[str, float]]] = {name: [] for name in asked.engines}
    failed: dict[str, str] = {}
    with temporary_folder() as folder:
        places = [_write_image(folder, i, image) for i, image in enumerate(asked.images)]
        turns = [name for _ in range(asked.count) for name in asked.engines]
        for done, name in enumerate(turns, start=1):
            if name not in failed:
                request = {"bundle": str(asked.bundle.resolve()), "engine": name}
                request |= {"threads": asked.threads, "images": places}  # type: ignore[dict-item]
                try:
                    told[name].append(_start([*program, json.dumps(request)], folder))
                except (MahtrtError, OSError) as error:
                    failed[name] = f"{name} has no cold start: {error}"
            progress(done, len(turns))
    rows = (_row(name, found) for name, found in told.items() if found and name not in failed)
    return tuple(rows), tuple(failed.values())


def _row(name: str, found: Sequence[dict[str, float]]) -> Startup:
    def median(key: str) -> float | None:
        values = [each[key] for each in found if key in each]
        return statistics.median(values) if values else None

    cold = [each["cold_start_ms"] for each in found]
    spread = Spread(statistics.median(cold), min(cold), max(cold), tuple(cold))
    open_ms, first_result_ms = (statistics.median(each[key] for each in found) for key in _TIMES)
    return Startup(name, spread, open_ms, first_result_ms, *(median(key) for key in _MEMORY))


def _write_image(folder: Path, number: int, image: Image) -> str:
    content, place = io.BytesIO(), folder / f"{number}.npy"
    np.lib.format.write_array(content, np.asarray(image), allow_pickle=False)
    files.write_bytes(place, content.getvalue())
    return str(place)


def _start(arguments: Sequence[str], folder: Path) -> dict[str, float]:
    """What one process told, with the time until it did.

    Raises:
        DataError: It ended without a word, or told something else.
        OSError: It could not be started.
    """
    path = os.pathsep.join(place or os.getcwd() for place in sys.path)
    with files.create(folder / "stderr") as log:
        begun = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-P", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "PYTHONPATH": path},
        ) as process:
            line, ended = _first_line(process)
    if not line:
        raise DataError("its process", got=_last_words(folder / "stderr", process.returncode))
    told: Any = read_json(line, "its process", "times in a line", error=DataError)
    if not isinstance(told, dict) or not all(type(told.get(key)) is float for key in _TIMES):
        raise DataError("its process", got="another line than its times")
    return {"cold_start_ms": 1e3 * (ended - begun), **told}


def _first_line(process: subprocess.Popen[bytes]) -> tuple[bytes, float]:
    """The line of the result, and when it came; nothing where the process ended without it."""
    assert process.stdout is not None
    patience = threading.Timer(LIMIT_S, process.kill)
    try:
        patience.start()
        for line in process.stdout:
            if line.startswith(b"{"):  # a library may have printed before
                ended = time.perf_counter()
                process.wait()
                return line, ended
        return b"", 0.0
    except BaseException:
        process.kill()
        raise
    finally:
        patience.cancel()


def _last_words(log: Path, code: int | None) -> str:
    """The last line that a process left behind, or how it ended."""
    with log.open("rb") as file:
        text = file.read().decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[-1] if lines else f"no result, exit code {code}")[:_MOST_REASON]
