"""One cold start, as a program: open an engine, run the first images, tell what it took.

    python -m mahtrt.benchmarks.cold_start '{"bundle": …, "engine": …, "threads": …, "images": […]}'

It does what a user's process does, with the deployment core alone. One line of JSON on stdout is
written when the first result is there, so that who started the process can stop its clock then.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

MIB = 2**20
_KIB = 2**10
_STATUS = Path("/proc/self/status")


def main(text: str) -> None:
    """Open, run once, and tell; or end with what is wrong, in a line on stderr."""
    import mahtrt

    try:
        _start(text)
    except mahtrt.MahtrtError as error:
        sys.exit(str(error))


def _start(text: str) -> None:
    import mahtrt
    from mahtrt.parsing import read_json

    asked: Any = read_json(text, "cold start", "a request")
    begun = time.perf_counter()
    session = mahtrt.open(asked["bundle"], engine=asked["engine"], threads=asked["threads"])
    opened = time.perf_counter()
    images = [_image(Path(place)) for place in asked["images"]]
    ready = time.perf_counter()
    session.run(*images)
    ended = time.perf_counter()
    told = {"open_ms": 1e3 * (opened - begun), "first_result_ms": 1e3 * (ended - ready)}
    print(json.dumps(told | memory_mib()), flush=True)
    session.close()


def memory_mib(status: Path = _STATUS) -> dict[str, float]:
    """``resident_mib`` now and ``peak_mib`` so far, as far as the system tells them.

    Args:
        status: What Linux tells of this process; another path for tests.
    """
    try:
        lines = status.read_text(encoding="utf-8").splitlines()
    except OSError:
        return _peak_mib()
    fields = dict(line.partition(":")[::2] for line in lines)
    names = {"resident_mib": "VmRSS", "peak_mib": "VmHWM"}
    found = {key: fields.get(name, "").split() for key, name in names.items()}  # ["1234", "kB"]
    return {key: int(words[0]) * _KIB / MIB for key, words in found.items() if words}


def _peak_mib() -> dict[str, float]:
    """The peak alone, where there is no /proc; nothing on Windows."""
    try:
        import resource
    except ImportError:
        return {}
    unit = 1 if sys.platform == "darwin" else _KIB  # macOS counts bytes
    return {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB}


def _image(place: Path) -> Any:
    import numpy as np

    return np.load(place, allow_pickle=False)


if __name__ == "__main__":
    main(sys.argv[1])
