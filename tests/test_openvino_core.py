"""One core for the process: a second one can end the process at its next signal."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from programs import run_python

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


def test_a_signal_arrives_after_sessions_of_several_threads(tiny_bundle: Path) -> None:
    told = run_python("-c", SIGNAL_AFTER_USE, tiny_bundle)
    assert (told.returncode, told.stdout) == (0, "interrupted\n"), told.stderr
