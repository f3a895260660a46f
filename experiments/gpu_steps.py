"""Steps of a suite: each a process with a time limit, whose end is a finding, however it ends.

The record of all steps is written before and after each of them, so that a suite that is killed
leaves what it knew, with the step that was running.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

# Incomplete: nothing failed, and the time was over before all was done.
Status = Literal[
    "passed", "failed", "crashed", "timeout", "incomplete", "skipped", "running", "interrupted"
]
BAD: tuple[Status, ...] = ("failed", "crashed", "timeout", "interrupted")
EXIT_MISSING, EXIT_INCOMPLETE = 6, 7
KEPT_CHARACTERS = 60_000  # of what a step says, its end
# From asking a process to end to killing it: it may have to end one of its own first.
_GRACE_S, _SHORT_GRACE_S = 6.0, 1.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do.

    Attributes:
        command: Its process; ``{out}`` is the file for its JSON, ``{seconds}`` its time limit.
        limit_s: Seconds that it may take.
        least_s: Seconds that steps before it leave it; with half of it left it is not begun.
        packages: Import names that it cannot do without.
        programs: Programs likewise.
        absent: Says why it cannot be done, "" where it can; asked after packages and programs.
        says_json: Its JSON is the end of its standard output, and not in ``{out}``.
    """

    name: str
    what: str
    command: tuple[str, ...]
    limit_s: float
    least_s: float
    packages: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    absent: Callable[[], str] = lambda: ""
    says_json: bool = False

    def missing(self) -> str:
        """What prevents it, "" where nothing does."""
        packages = [name for name in self.packages if not has_package(name)]
        programs = [name for name in self.programs if shutil.which(name) is None]
        found = [f"no Python package {name}" for name in packages]
        found += [f"no program {name}" for name in programs]
        return "; ".join(found) or self.absent()


@dataclass(frozen=True, slots=True)
class StepRecord:
    """How a step ended.

    Attributes:
        reason: Why it is not passed, in a line; "" where it is.
        seconds, limit_s: What it took, and what it was given.
        exit_code: Its process's; negative for a signal; None where it did not end by itself.
        result: Its own JSON; empty where it left none.
    """

    name: str
    what: str
    status: Status
    reason: str = ""
    seconds: float = 0.0
    limit_s: float = 0.0
    exit_code: int | None = None
    command: tuple[str, ...] = ()
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that ended or was ended.

    Attributes:
        exit_code: None where the time was over.
        output: Standard output and error together.
        stdout: Standard output alone.
    """

    exit_code: int | None
    seconds: float
    output: str
    stdout: str = ""


class Interrupted(BaseException):
    """A signal asked the suite to end."""


@dataclass(slots=True)
class Runner:
    """Runs steps one after the other within one time limit.

    Attributes:
        deadline: By ``clock``; steps that would end later are not begun.
        folder: For the steps' files.
        environment: What the steps' processes get.
        keep: Told of all records, with what the last step said, before and after each step.
    """

    deadline: float
    folder: Path
    environment: Mapping[str, str]
    keep: Callable[[Sequence[StepRecord], str], None]
    clock: Callable[[], float] = time.monotonic
    records: list[StepRecord] = field(default_factory=list)

    def run(self, steps: Sequence[Step]) -> list[StepRecord]:
        """All steps; one that fails leaves the others alone.

        Raises:
            Interrupted: A signal came; the step under way is recorded as interrupted.
        """
        why = {step.name: step.missing() for step in steps}
        for i, step in enumerate(steps):
            reserved = sum(each.least_s for each in steps[i + 1 :] if not why[each.name])
            limit_s = min(step.limit_s, self.deadline - self.clock() - reserved)
            reason = why[step.name]
            if not reason and limit_s < step.least_s / 2:
                reason = f"{max(limit_s, 0):.0f} s were left, and it needs {step.least_s:g} s"
            if reason:
                self._add(StepRecord(step.name, step.what, "skipped", reason), "")
            else:
                self._run(step, limit_s)
        return self.records

    def _run(self, step: Step, limit_s: float) -> None:
        out = self.folder / f"{step.name}.json"
        inside = max(1.0, limit_s - min(10.0, limit_s / 5))  # time for it to write what it knows
        command = tuple(
            part.replace("{out}", str(out)).replace("{seconds}", f"{inside:.0f}")
            for part in step.command
        )
        running = StepRecord(
            step.name, step.what, "running", "the suite was ended", 0.0, round(limit_s, 1),
            command=command,
        )  # fmt: skip
        self._add(running, "")
        place = len(self.records) - 1
        started = self.clock()
        try:
            ended = run_process(command, limit_s, self.environment, self.folder)
        except Interrupted as error:
            ended = Ended(None, self.clock() - started, str(error))
            self.records[place] = record_of(step, running, ended, _json_of(out), "interrupted")
            self.keep(self.records, ended.output)
            raise
        found = _last_json(ended.stdout) if step.says_json else _json_of(out)
        self.records[place] = record_of(step, running, ended, found)
        self.keep(self.records, ended.output)

    def _add(self, record: StepRecord, output: str) -> None:
        self.records.append(record)
        self.keep(self.records, output)


def record_of(
    step: Step,
    running: StepRecord,
    ended: Ended,
    result: Mapping[str, Any],
    status: Status | None = None,
) -> StepRecord:
    """What the end of a process means.

    Args:
        status: Known already; None: the exit code says it.
    """
    code, said = ended.exit_code, last_line(ended.output)
    reason = ""
    if status == "interrupted":
        reason = "the suite was asked to end"
    elif code is None:
        status, reason = "timeout", f"did not end within {running.limit_s:g} s"
    elif code < 0:
        status, reason = "crashed", f"{signal.Signals(-code).name}: {said}"
    elif code == EXIT_MISSING:
        status, reason = "skipped", said
    elif code == EXIT_INCOMPLETE and result.get("incomplete"):
        status, reason = "incomplete", str(result["incomplete"])
    elif code:
        status, reason = "failed", str(result.get("problem") or f"exit {code}: {said}")
    return StepRecord(
        step.name, step.what, status or "passed", reason, round(ended.seconds, 2), running.limit_s,
        code, running.command, result,
    )  # fmt: skip


def run_process(
    command: Sequence[str], limit_s: float, environment: Mapping[str, str], folder: Path
) -> Ended:
    """Run a program with a time limit; what it started is ended with it.

    Raises:
        Interrupted: A signal came, and the program was ended.
    """
    started = time.monotonic()
    with (folder / "stdout").open("w+b") as stdout, (folder / "stderr").open("w+b") as stderr:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
                env=dict(environment), start_new_session=True,
                preexec_fn=_end_with_parent,
            )  # fmt: skip
        except OSError as error:
            return Ended(127, 0.0, f"{command[0]}: {error.strerror}")
        code: int | None = None
        grace_s = _SHORT_GRACE_S
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(limit_s)
            grace_s = _GRACE_S
        finally:
            _end(process, grace_s)
        told = [_tail(stream) for stream in (stdout, stderr)]
    return Ended(code, time.monotonic() - started, "\n".join(filter(None, told)), told[0])


def _end_with_parent() -> None:
    """Let Linux send SIGTERM when the process that started this one is killed."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _end(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """End a process and all of its group: asked first, then killed."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(grace_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP raise Interrupted in the block."""

    def raise_it(number: int, _frame: object) -> None:
        raise Interrupted(signal.Signals(number).name)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, raise_it) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def has_package(name: str) -> bool:
    """Whether a package is there; its parents are imported, it itself is not."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def last_line(text: str) -> str:
    """The last line that is not empty, cut where it is long."""
    lines = (line.strip() for line in reversed(text.splitlines()))
    return next((line for line in lines if line), "")[:500]


def _tail(stream: Any) -> str:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - KEPT_CHARACTERS))
    return str(stream.read().decode(errors="replace"))


def _json_of(place: Path) -> dict[str, Any]:
    """What a step wrote; empty where it wrote none, or half of it."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(place.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {"found": found}
    return {}


def _last_json(text: str) -> dict[str, Any]:
    """The JSON document that a text ends with: its last line, or from its last ``{`` at a start."""
    lines = text.rstrip().splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("{")]
    for start in reversed(starts):
        with contextlib.suppress(ValueError):
            found = json.loads("\n".join(lines[start:]))
            return dict(found)
    return {}


def python(*arguments: str) -> tuple[str, ...]:
    """A command of this interpreter."""
    return (sys.executable, *arguments)
