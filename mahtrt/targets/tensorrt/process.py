"""Running one build in a process of its own, and saying what became of it."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from mahtrt import errors, files
from mahtrt.errors import BuildError, MahtrtError
from mahtrt.interrupt import interrupt_later
from mahtrt.parsing import read_json
from mahtrt.scratch import temporary_folder
from mahtrt.targets.tensorrt.child import GRACE_S, Request

CHILD = (sys.executable, "-P", "-m", "mahtrt.targets.tensorrt.child")
# What the child's own handling of a cancelled build may take before it is killed from here.
_PATIENCE_S = GRACE_S + 2.0
_TICK_S = 1.0


def run_child(
    request: Request,
    subject: str,
    title: str,
    tell: Callable[[str, float], None],
    *,
    timeout_s: float | None = None,
    command: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Build in a child process.

    Args:
        subject: What is built, for messages.
        title: The flavour's.
        tell: Takes the phase and the elapsed seconds, about once a second.
        timeout_s: The build is stopped after this.
        command: What to run, ``CHILD`` unless told; the request's path is added.

    Returns:
        The child's result, see :func:`mahtrt.targets.tensorrt.child.run_request`.

    Raises:
        BuildError: The child crashed, was killed, or took too long.
        MahtrtError: What the child raised.
        KeyboardInterrupt: As it came; the child is gone then.
    """
    with temporary_folder() as scratch, _log_file(scratch) as log:
        place = scratch / "request.json"
        files.write_text(place, request.to_json())
        with _started([*(command or CHILD), str(place)], log) as process:
            result = _listen(process, title, tell, timeout_s)
            process.wait()
        if result is None:
            raise _crash(subject, title, process.returncode, _tail(log))
    if result["status"] == "error":
        parts = {name: str(result[name]) for name in ("got", "expected", "fix")}
        raise _error_class(str(result["kind"]))(str(result["subject"]), **parts)
    if result["status"] == "os_error":
        raise OSError(result["errno"], result["text"])
    return result


@contextlib.contextmanager
def _started(command: Sequence[str], log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The child, in a session of its own: a terminal's Ctrl-C reaches it only through us.

    It ends when its standard input does, so it does not outlive us either.
    """
    with interrupt_later():
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)},
            start_new_session=True,
        )
    try:
        yield process
    except BaseException:
        _stop(process)
        raise
    finally:
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the child to cancel, and kill it if it does not; a second Ctrl-C kills at once."""
    try:
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        process.wait(timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _listen(
    process: subprocess.Popen[bytes],
    title: str,
    tell: Callable[[str, float], None],
    timeout_s: float | None,
) -> dict[str, Any] | None:
    """Pass phases on until the result; None where the child ended without one."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    assert process.stdout is not None
    threading.Thread(target=_pump, args=(process.stdout, lines), daemon=True).start()
    started, phase, told = time.monotonic(), f"starting {title}", -_TICK_S
    while True:
        elapsed = time.monotonic() - started
        if elapsed - told >= _TICK_S:  # phases change by the hundred
            tell(phase, elapsed)
            told = elapsed
        if timeout_s is not None and elapsed > timeout_s:
            raise BuildError(
                title,
                got=f"no engine after {elapsed:.0f} s, in phase {phase!r}",
                expected=f"one within {timeout_s:g} s",
                fix="Nothing was written; allow more time or lower the optimization level.",
            )
        with contextlib.suppress(queue.Empty):
            line = lines.get(timeout=_TICK_S / 4)
            if not line.endswith(b"\n"):  # the end, or a line that was cut short by it
                return None
            event = read_json(line, title, "a line of the builder", error=BuildError)
            if event.pop("event") == "result":
                return dict(event)
            phase = str(event["text"])


def _pump(stream: IO[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    """Lines of the child's output; an empty one at its end."""
    with contextlib.suppress(OSError, ValueError):  # closed while reading
        for line in stream:
            lines.put(line)
    lines.put(b"")


def _crash(subject: str, title: str, status: int, said: str) -> BuildError:
    """What the end of a child without a result means."""
    died = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    if status == -signal.SIGKILL:
        got = f"{title}'s builder was killed ({died})"
        fix = (
            "Most likely the memory ran out: give the machine or container more, "
            "close other programs, or build a smaller network."
        )
    elif status < 0:
        got = f"{title}'s builder crashed ({died})"
        fix = "Try another optimization level or version of the package; this is a defect in it."
    else:
        got = f"{title}'s builder ended without a result ({died})"
        fix = "Run mahtrt doctor."
    if said:
        got += f", last saying: {said}"
    return BuildError(subject, got=got, expected="an engine", fix=f"Nothing was written. {fix}")


def _error_class(name: str) -> type[MahtrtError]:
    """The error that the child named."""
    found = getattr(errors, name, None)
    return found if isinstance(found, type) and issubclass(found, MahtrtError) else BuildError


@contextlib.contextmanager
def _log_file(folder: Path) -> Iterator[IO[bytes]]:
    place = folder / "stderr"
    files.write_bytes(place, b"")
    with place.open("r+b") as log:
        yield log


def _tail(log: IO[bytes]) -> str:
    """The last line that was written to standard error."""
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""


def shown_progress(
    progress: Callable[[str], None] | None, earlier: Mapping[str, float]
) -> Callable[[str, float], None]:
    """One line of progress: phase, elapsed time, and how long builds like this took.

    Args:
        earlier: What was built (``the last build of this engine``) to its seconds; may be empty.
    """
    past = "".join(f"; {what} took {seconds:.0f} s" for what, seconds in earlier.items())

    def tell(phase: str, elapsed: float) -> None:
        if progress is not None:
            progress(f"{phase}, {elapsed:.0f} s{past}")

    return tell
