"""Commands in processes of their own that start at once, and fail or die where a test says.

``python fork_server.py`` imports the heavy packages once. Each line on its standard input is a
request as JSON; for each it forks a process that runs ``mahtrt``, and answers with two lines: the
process's id, and how it ended.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HEAVY = (
    *("numpy", "cv2", "PIL.Image", "torch", "onnx", "onnxruntime", "openvino", "rich.table"),
    *("mahtrt.cli", "mahtrt.export.export", "mahtrt.build.build", "mahtrt.build.compile"),
    *("mahtrt.training.train", "mahtrt.benchmarks.bench", "mahtrt.runtime.predict"),
    *(
        "mahtrt.models.maht_net.maht_net",
        "mahtrt.planning.picture",
        "mahtrt.bundle.pack",
        "model_signing",
    ),
    *("mahtrt.build.calibrated", "mahtrt.build.planned", "mahtrt.export.passes.pipeline"),
)


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at the n-th change of files (from 1), or after a time.

    Attributes:
        call: Number of the change before which it happens; 0: none.
        after_s: Seconds after the start; used where ``call`` is 0.
        signal: The process gets this signal; 0: none.
        error: The change fails with this number of an error; 0: none.
    """

    call: int = 0
    after_s: float = 0.0
    signal: int = 0
    error: int = 0


NO_FAULT = Fault()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Attributes:
        status: Exit status; negative: the signal that killed it.
        calls: How many changes of files it made; None where it was killed.
        seconds: How long it took.
        said: What it wrote to standard error.
    """

    status: int
    calls: int | None
    seconds: float
    said: str
    pid: int = 0


@dataclass(slots=True)
class ForkServer:
    """The server, and the folder for what its processes say."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    _process: Any = None

    def __enter__(self) -> ForkServer:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        server: Any = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **threads, **self.environment},
        )
        self._process = server
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)

    def start(self, arguments: Sequence[object], fault: Fault = NO_FAULT) -> int:
        """Start a command; its process's id. Call :meth:`finish` next."""
        (self.folder / "stderr").write_text("")
        self._ask({"arguments": [str(a) for a in arguments], **asdict(fault)})
        return int(self._answer()["pid"])

    def finish(self) -> Ended:
        """Wait for the command that was started."""
        ended = self._answer()
        said = (self.folder / "stderr").read_text(encoding="utf-8", errors="replace")
        return Ended(ended["status"], ended["calls"], ended["seconds"], said, ended["pid"])

    def run(self, arguments: Sequence[object], fault: Fault = NO_FAULT) -> Ended:
        """Run a command."""
        pid = self.start(arguments, fault)
        if fault.signal and not fault.call:
            time.sleep(fault.after_s)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, fault.signal)
        return self.finish()

    def _ask(self, request: dict[str, Any]) -> None:
        self._process.stdin.write(json.dumps({**request, "folder": str(self.folder)}) + "\n")
        self._process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        assert line, "the server is gone"
        return dict(json.loads(line))


def living_in_session(session: int) -> list[int]:
    """Processes of a session that still run."""
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = place.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(place.parent.name))
    return found


def serve() -> None:
    """Answer requests until standard input ends."""
    for name in HEAVY:
        importlib.import_module(name)
    _shorten()
    for line in sys.stdin:
        request = json.loads(line)
        calls = Path(request["folder"]) / "calls"
        calls.unlink(missing_ok=True)
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            _run(request, calls)
        _tell({"pid": pid})
        _, status = os.waitpid(pid, 0)
        counted_calls = calls.read_text() if calls.exists() else ""
        _tell(
            {
                "status": os.waitstatus_to_exitcode(status),
                # A kill may come while the number is written, when the command has ended.
                "calls": int(counted_calls) if counted_calls else None,
                "seconds": time.monotonic() - started,
                "pid": pid,
            }
        )


def _shorten() -> None:
    """Let verbs that take long do less; what they write stays of the same kind."""
    from mahtrt.build import judge
    from mahtrt.verbs import demo

    judge.TIMED_ROUNDS = 1
    demo.PARITY, demo.CALIBRATION, demo.CHECK = "phantom:1@3", "phantom:4@11", "phantom:2@12"
    demo.BENCH, demo.BENCH_SECONDS = "phantom:4@13", 0.5


def _tell(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def _run(request: dict[str, Any], calls: Path) -> None:
    """The command, in the forked process."""
    from mahtrt.cli import main

    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, name in ((0, os.devnull), (1, "stdout"), (2, "stderr")):
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(Path(request["folder"]) / name, flags), number)
    sys.argv = ["mahtrt", *request["arguments"]]
    status = 1
    with counted(Fault(**{key: request[key] for key in Fault.__slots__})) as count:
        try:
            main()
        except SystemExit as ending:
            status = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
        except BaseException:
            sys.excepthook(*sys.exc_info())
    calls.write_text(str(count[0]))
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


@contextlib.contextmanager
def counted(fault: Fault) -> Iterator[list[int]]:
    """Count changes of files in this process, and fail or die at one of them."""
    from mahtrt import files

    honest, count = files.call, [0]

    def call(function: Any, *arguments: Any) -> Any:
        count[0] += 1
        if count[0] == fault.call:
            if fault.signal:
                os.kill(os.getpid(), fault.signal)
            if fault.error:
                named = next((a for a in arguments if isinstance(a, os.PathLike)), None)
                text = os.strerror(fault.error)
                raise OSError(fault.error, text, *([os.fspath(named)] if named else []))
        return honest(function, *arguments)

    files.call = call
    try:
        yield count
    finally:
        files.call = honest


ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EMFILE)

if __name__ == "__main__":
    serve()
