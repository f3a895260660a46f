"""Cases in watched children: what crashes, hangs or eats memory ends a child, not the tests.

A server process imports what cases need, once, and forks a child for every case. It has no
threads of its own, so that forking is safe; pytest's process, in which other tests have run
engines, has many.
"""

from __future__ import annotations

import importlib
import os
import pickle
import resource
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

LONGEST_S = 20.0
MOST_BYTES = 2 * 2**30
# Imported once by the server; a child that needs one of them does not wait for it.
PRELOADED = (
    *("numpy", "cv2", "PIL.Image", "onnx", "onnxruntime", "openvino", "torch", "safetensors"),
    *("pydicom", "pydicom.pixels", "mahtrt.cli", "mahtrt.runtime.session", "mahtrt.runtime.verify"),
    *("edits", "fuzz_works", "tiny_network"),
    *("mahtrt.graph.onnx_file", "mahtrt.models.checkpoint", "mahtrt.inspection.inspect"),
)

Work = Callable[[Any, Path, Path], str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one case ended.

    Attributes:
        ending: ``done`` and ``refused`` (by an error of mahtrt) are good; ``traceback`` (another
            exception), ``wrong`` (a rule of the case was broken), ``crash``, ``hang``, ``memory``
            and ``left over`` (temporary files) are findings.
        text: What the case returned, or what went wrong.
        seconds: Wall time.
        peak_bytes: Largest resident size of the child.
    """

    ending: str
    text: str
    seconds: float
    peak_bytes: int

    @property
    def is_good(self) -> bool:
        return self.ending in ("done", "refused")


class WrongError(AssertionError):
    """A rule of a case was broken, such as: no changed file is accepted."""


class Watcher:
    """The server, seen from pytest.

    Args:
        world: A folder for what cases start from; the first case fills it.
        longest_s: A case that takes longer hangs.
    """

    def __init__(self, world: Path, *, longest_s: float = LONGEST_S) -> None:
        self._world = world
        support = str(Path(__file__).parent)
        self._server = subprocess.Popen(
            [sys.executable, "-c", "import watched; watched.serve()", str(world), str(longest_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join((support, *sys.path))},
        )

    def run(self, work: str, case: object) -> Outcome:
        """Run ``module:function`` on a case, in a child."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        _send(self._server.stdin, (work, case))
        outcome = _receive(self._server.stdout)
        assert isinstance(outcome, Outcome), "the server of watched cases has ended"
        return outcome

    def close(self) -> None:
        for pipe in (self._server.stdin, self._server.stdout):
            if pipe is not None:
                pipe.close()
        self._server.wait(timeout=30)


def serve() -> None:
    """Answer requests from stdin until it ends."""
    world, longest_s = Path(sys.argv[1]), float(sys.argv[2])
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is not an answer
    for module in PRELOADED:
        importlib.import_module(module)
    while (request := _receive(sys.stdin.buffer)) is not None:
        work, case = request
        _send(answers, _watched(work, case, world, longest_s))


def _watched(work: str, case: object, world: Path, longest_s: float) -> Outcome:
    """Fork a child for one case, and look at it until it has ended."""
    with tempfile.TemporaryDirectory(dir=world.parent) as scratch:
        temporary = Path(scratch) / "tmp"
        temporary.mkdir()
        started = time.monotonic()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _be_child(work, case, world, Path(scratch), writing)
        os.close(writing)
        said, ended = _until_it_ends(child, reading, started + longest_s)
        os.close(reading)
        _, status, usage = os.wait4(child, 0)
        seconds, peak = time.monotonic() - started, usage.ru_maxrss * 1024
        ending, text = _ending(said, ended, status)
        if ending in ("done", "refused"):
            if peak > MOST_BYTES:
                ending, text = "memory", f"{peak / 2**30:.1f} GiB at its peak; {text}"
            elif left := sorted(str(p.relative_to(scratch)) for p in _left_over(Path(scratch))):
                ending, text = "left over", f"{', '.join(left)}; {text}"
        return Outcome(ending, text, seconds, peak)


def _until_it_ends(child: int, reading: int, deadline: float) -> tuple[bytes, str]:
    """What the child said, and why it was killed, "" where it ended by itself."""
    said = b""
    while True:
        if select.select([reading], [], [], 0.05)[0]:
            piece = os.read(reading, 1 << 16)
            if not piece:
                return said, ""
            said += piece
        over = "hang" if time.monotonic() > deadline else ""
        if over or _resident(child) > MOST_BYTES:
            os.killpg(child, signal.SIGKILL)
            return b"", over or "memory"


def _be_child(work: str, case: object, world: Path, scratch: Path, writing: int) -> None:
    """Run the case and say how it ended; never returns."""
    os.setpgid(0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ.update(TMPDIR=str(scratch / "tmp"), MAHTRT_CACHE_DIR=str(scratch / "cache"))
    tempfile.tempdir = None
    os.chdir(scratch)
    with open(scratch / "printed", "wb") as printed:
        os.dup2(printed.fileno(), 1)
        os.dup2(printed.fileno(), 2)
    from mahtrt.errors import MahtrtError

    module, _, name = work.partition(":")
    function: Work = getattr(importlib.import_module(module), name)
    try:
        said = ("done", function(case, world, scratch))
    except MahtrtError as error:
        said = ("refused", f"{type(error).__name__}: {error}")
    except WrongError as error:
        said = ("wrong", str(error))
    except BaseException:
        said = ("traceback", traceback.format_exc())
    os.write(writing, pickle.dumps(said))
    os._exit(0)


def _ending(said: bytes, ended: str, status: int) -> tuple[str, str]:
    if ended:
        return ended, "killed: it took too long, or too much memory"
    if os.WIFSIGNALED(status) or not said:
        return "crash", f"ended with status {status}"
    ending, text = pickle.loads(said)
    return ending, text


def _left_over(scratch: Path) -> list[Path]:
    """Temporary files of a case: in the system's folder for them, or hidden beside a result."""
    temporary = (scratch / "tmp").iterdir()
    ours = (place for place in temporary if not place.name.startswith("torchinductor_"))
    return [*ours, *scratch.rglob(".*.tmp*")]


def _resident(process: int) -> int:
    """Resident bytes of a process, 0 where it has just ended."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * resource.getpagesize()


def _send(pipe: IO[bytes], value: object) -> None:
    data = pickle.dumps(value)
    pipe.write(struct.pack("<Q", len(data)) + data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> Any:
    """What :func:`_send` sent, None at the end."""
    head = pipe.read(8)
    return pickle.loads(pipe.read(struct.unpack("<Q", head)[0])) if len(head) == 8 else None
