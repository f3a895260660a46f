"""What becomes of a build whose process crashes, hangs, or is no longer wanted."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mahtrt.errors import BuildError, MissingComponentError, SpecError
from mahtrt.scratch import sweep
from mahtrt.targets.tensorrt import process as tensorrt_process
from mahtrt.targets.tensorrt.child import Request
from mahtrt.targets.tensorrt.process import run_child, shown_progress

REQUEST = Request("tensorrt-rtx", "model.onnx", "model.plan")


def child(code: str, *, timeout_s: float | None = None) -> dict[str, object]:
    return run_child(
        REQUEST,
        "model.onnx",
        "TensorRT",
        lambda phase, elapsed: None,
        timeout_s=timeout_s,
        command=(sys.executable, "-c", code),
    )


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os.kill(os.getpid(), 11)", r"builder crashed \(SIGSEGV\).*another optim"),
        ("import os; os.kill(os.getpid(), 6)", r"builder crashed \(SIGABRT\)"),
        ("import os; os.kill(os.getpid(), 9)", r"was killed \(SIGKILL\).*memory ran out"),
        (
            "import sys; sys.exit('cudaMalloc failed')",
            r"without a result \(exit status 1\), last saying: cudaMalloc failed.*mahtrt doctor",
        ),
        (
            """import os; os.write(1, b'{"event": "result", "sta'); os.kill(os.getpid(), 9)""",
            r"was killed \(SIGKILL\)",
        ),
        ("pass", r"without a result \(exit status 0\)"),
    ],
)
def test_a_dead_builder_is_a_message(code: str, said: str) -> None:
    with pytest.raises(BuildError, match=said) as caught:
        child(code)
    assert caught.value.subject == "model.onnx"
    assert "Nothing was written" in caught.value.fix


def test_errors_of_the_child_keep_their_class() -> None:
    code = (
        """print('{"event": "result", "status": "error", "kind": "MissingComponentError",'"""
        """' "subject": "target", "got": "a", "expected": "b", "fix": "c."}')"""
    )
    with pytest.raises(MissingComponentError, match="target: got a; expected b"):
        child(code)
    with pytest.raises(BuildError):
        child(code.replace("MissingComponentError", "SystemExit"))
    with pytest.raises(OSError, match="No space left") as caught:
        child(
            """print('{"event": "result", "status": "os_error", "errno": 28,'"""
            """' "text": "No space left"}')"""
        )
    assert caught.value.errno == 28


def test_a_real_child_refuses_a_request_of_another_version(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="flavour"):
        run_child(
            Request(7, "model.onnx", "model.plan"),  # type: ignore[arg-type]
            "model.onnx",
            "TensorRT",
            lambda phase, elapsed: None,
        )


HANGING = """
import os, pathlib, sys, time
pathlib.Path({place!r}).write_text(str(os.getpid()))
print('{{"event": "phase", "text": "waiting"}}', flush=True)
{react}
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("react", "at_most_s"), [("sys.stdin.read(); sys.exit(0)", 1.5), ("", 3.0)]
)
def test_ctrl_c_asks_then_kills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, react: str, at_most_s: float
) -> None:
    monkeypatch.setattr(tensorrt_process, "_PATIENCE_S", 1.0 if react == "" else 10.0)
    monkeypatch.setattr(tensorrt_process, "_TICK_S", 0.05)
    place = tmp_path / "pid"
    stopped: list[float] = []

    def tell(phase: str, elapsed: float) -> None:
        if phase == "waiting":
            stopped.append(time.monotonic())
            raise KeyboardInterrupt

    code = HANGING.format(place=str(place), react=react)
    with pytest.raises(KeyboardInterrupt):
        run_child(REQUEST, "model.onnx", "T", tell, command=(sys.executable, "-c", code))
    assert time.monotonic() - stopped[0] < at_most_s
    assert not alive(int(place.read_text()))


def test_a_build_that_takes_too_long_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt_process, "_PATIENCE_S", 0.1)
    place = tmp_path / "pid"
    code = HANGING.format(place=str(place), react="")
    with pytest.raises(BuildError, match=r"in phase '.*'; expected one within 0.5 s"):
        child(code, timeout_s=0.5)
    if place.exists():  # a loaded machine may not have come that far
        assert not alive(int(place.read_text()))


def test_the_child_does_not_share_the_terminal_s_signals(tmp_path: Path) -> None:
    code = (
        "import json, os; "
        "print(json.dumps(dict(event='result', status='x', group=os.getpgid(0), sid=os.getsid(0))))"
    )
    result = child(code)
    assert result["group"] != os.getpgid(0)
    assert result["sid"] != os.getsid(0)


def test_time_passes_visibly_while_nothing_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_process, "_TICK_S", 0.1)
    lines: list[str] = []
    tell = shown_progress(lines.append, {"the last build of this engine": 31.4})
    code = (
        "import time; "
        """print('{"event": "phase", "text": "Timing tactics"}', flush=True); """
        "time.sleep(0.6); "
        """print('{"event": "result", "status": "built"}', flush=True)"""
    )
    run_child(REQUEST, "model.onnx", "T", tell, command=(sys.executable, "-c", code))
    assert len([line for line in lines if line.startswith("Timing tactics, ")]) >= 3
    assert all(line.endswith(" s; the last build of this engine took 31 s") for line in lines)


STUCK_CHILD = """
import os, sys, time
from mahtrt.targets.tensorrt import child
def stuck(flavour):
    print(os.getpid(), file=open(sys.argv[1], "w"), flush=True)
    time.sleep(120)
child.load_flavour = stuck
child.main(sys.argv[2:])
"""
PARENT = """
import sys
from mahtrt.targets.tensorrt.child import Request
from mahtrt.targets.tensorrt.process import run_child
command = (sys.executable, "-c", sys.argv[1], sys.argv[2])
run_child(Request("tensorrt-rtx", "a", "b"), "a", "T", lambda *_: None, command=command)
"""


@pytest.mark.slow
def test_a_killed_parent_leaves_no_builder_and_its_folder_is_swept(tmp_path: Path) -> None:
    place, temporary = tmp_path / "pid", tmp_path / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-c", PARENT, STUCK_CHILD, str(place)]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(command, env=environment) as parent:
        wait_for(lambda: place.exists() and place.read_text().strip())
        parent.kill()
    assert len(list(temporary.iterdir())) == 1
    builder = int(place.read_text())
    wait_for(lambda: not alive(builder))
    sweep(temporary)
    assert list(temporary.iterdir()) == []


def wait_for(happened: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)
