"""One core for the process: a second one can end the process at its next signal."""

from __future__ import annotations

import ast
import functools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from programs import run_python

from mahtrt import openvino_core

REPOSITORY = Path(__file__).resolve().parents[1]
OWNER = REPOSITORY / "mahtrt" / "openvino_core.py"
SIGNAL_AFTER_USE = """
import faulthandler, gc, signal, sys, threading
import mahtrt
faulthandler.enable()
with mahtrt.open(sys.argv[1], engine="openvino", threads=1):
    pass
def use():
    with mahtrt.open(sys.argv[1], engine="openvino", threads=1):
        pass
    gc.collect()
thread = threading.Thread(target=use)
thread.start()
thread.join()
gc.collect()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""

TELEMETRY = """
import sys, threading
from mahtrt.openvino_core import shared_core
shared_core()
print([name for name in sys.modules if name.startswith("openvino_telemetry.")])
print(threading.active_count())
"""


def test_openvino_sends_nothing_to_its_makers() -> None:
    """The import would fork the process, and send who uses which version."""
    assert run_python("-c", TELEMETRY).stdout.split("\n")[:2] == ["[]", "1"]


def _made_in(path: Path) -> Iterator[str]:
    """Places of a file that make a core of OpenVINO."""
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Call)
            and getattr(node.func, "attr", getattr(node.func, "id", "")) == "Core"
        ):
            yield f"{path.relative_to(REPOSITORY)}:{node.lineno}"


def test_cores_are_made_in_one_place() -> None:
    assert len(list(_made_in(OWNER))) == 1
    files = [
        path
        for folder in ("mahtrt", "tests", "experiments")
        for path in (REPOSITORY / folder).rglob("*.py")
    ]
    assert [place for path in files if path != OWNER for place in _made_in(path)] == []


def test_threads_that_open_at_once_share_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow() -> object:
        time.sleep(0.1)
        return object()

    # Not the real one: a core that is destroyed is what must not be.
    monkeypatch.setattr(openvino_core, "_core", functools.cache(slow))
    with ThreadPoolExecutor(4) as threads:
        cores = list(threads.map(lambda _: openvino_core.shared_core(), range(4)))
    assert all(core is cores[0] for core in cores)


def test_a_signal_arrives_after_sessions_of_several_threads(tiny_bundle: Path) -> None:
    told = run_python("-c", SIGNAL_AFTER_USE, tiny_bundle)
    assert (told.returncode, told.stdout) == (0, "interrupted\n"), told.stderr
