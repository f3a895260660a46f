"""What the command line shows: results on stdout, talk and progress on stderr."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from mahtrt.names import visible

if TYPE_CHECKING:
    from rich.console import RenderableType

# Characters in a line where no terminal and no COLUMNS says it; narrower ones are not drawn for.
USUAL_WIDTH, LEAST_WIDTH = 120, 20
# Between two lines about a stage: more of them while it is young than when it has lasted.
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 30.0
DRAWN_EVERY_S = 0.1  # at most: drawing costs time that the work could have
LONG_S = 2.0  # what has lasted so long tells when it is done, and how much is left
BAR, LEAST_WIDTH_OF_BAR = 20, 78  # characters; a narrow terminal gets no bar


@dataclass(frozen=True, slots=True)
class Talk:
    """What a command shows beside its result.

    Attributes:
        is_quiet: Neither progress nor talk: only results and errors.
        stdout_is_data: Stdout is a JSON or CSV document, so that tables and words go to stderr.
    """

    is_quiet: bool = False
    stdout_is_data: bool = False


_talk: ContextVar[Talk] = ContextVar("talk", default=Talk())  # noqa: B039 (frozen)


@contextlib.contextmanager
def talking(talk: Talk) -> Iterator[None]:
    """The block shows what ``talk`` says."""
    token = _talk.set(talk)
    try:
        yield
    finally:
        _talk.reset(token)


def is_quiet() -> bool:
    """Whether only results and errors are wanted."""
    return _talk.get().is_quiet


def say(*lines: str) -> None:
    """Talk: lines on stderr, unless the command is to be quiet."""
    if not is_quiet():
        complain(*lines)


def hint(*commands: str) -> None:
    """What can be done next: commands or sentences, unless the command is to be quiet."""
    first, *others = commands
    say(f"next: {first}", *(f"      {command}" for command in others))


def complain(*lines: str) -> None:
    """Errors, and why an exit code is not 0: lines on stderr."""
    _print(lines, sys.stderr)


def answer(*lines: str) -> None:
    """A result in words: lines on stdout; on stderr where stdout is a document."""
    if _talk.get().stdout_is_data:
        say(*lines)
    else:
        _print(lines, sys.stdout)


def _print(lines: Iterable[str], stream: TextIO | None) -> None:
    if stream is not None:  # None is a stream that was closed before we were started
        print(*map(visible, lines), sep="\n", file=stream, flush=True)


def show(renderable: RenderableType, *, to_stderr: bool = False) -> None:
    """A table or text, as wide as the terminal; brackets in it are no markup.

    Where stdout is a document, it goes to stderr, and nowhere if the command is to be quiet.
    """
    from mahtrt.verbs.rendering import Visible, VisibleConsole

    is_data = _talk.get().stdout_is_data
    stream: TextIO | None = sys.stderr if to_stderr or is_data else sys.stdout
    if stream is None or (is_data and is_quiet()):
        return
    width = width_of(stream)
    console = VisibleConsole(file=stream, width=width, highlight=False, markup=False, emoji=False)
    console.print(Visible(renderable))


def width_of(stream: TextIO) -> int:
    """Characters in a line: what COLUMNS says, else the terminal, else 120."""
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked) > 0:
        return max(int(asked), LEAST_WIDTH)
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # not a terminal, or not even a file
        columns = 0
    return max(columns, LEAST_WIDTH) if columns else USUAL_WIDTH


def write_json(document: Mapping[str, Any], target: str) -> None:
    """Write a document to a file, or to stdout where ``target`` is ``-``."""
    write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", target)


def write_text(text: str, target: str) -> None:
    """Write a text as UTF-8 to a file, or to stdout where ``target`` is ``-``.

    Stdout gets the bytes that a file would get, whatever the terminal's encoding.
    """
    from mahtrt.atomic import write_text_atomic

    if target != "-":
        write_text_atomic(Path(target), text)
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
    sys.stdout.buffer.flush()


class StageDisplay:
    """Draws progress on stderr, only when it is told of some.

    It has no refresh thread of its own, which would disturb what is being timed. Where stderr is
    no terminal, or one that cannot move its cursor, every stage is one line, and a long one tells
    of itself every few seconds. A quiet command shows nothing.
    """

    def __init__(self) -> None:
        self._begun = self._stage_begun = self._told = time.monotonic()
        self._drawn = 0.0
        self._stage = ""
        self._is_quiet = is_quiet()
        self._progress: Any = None
        self._task: Any = None

    def __enter__(self) -> StageDisplay:
        if not self._is_quiet and _can_draw():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn
            from rich.table import Column

            fixed = {"markup": False, "table_column": Column(no_wrap=True)}
            wide = width_of(sys.stderr) >= LEAST_WIDTH_OF_BAR
            self._progress = Progress(
                TextColumn("{task.description:<28}", markup=False, table_column=Column()),
                *([BarColumn(BAR)] if wide else []),
                TextColumn("{task.fields[count]:>9}", **fixed),  # type: ignore[arg-type]
                TextColumn("{task.fields[times]}", **fixed),  # type: ignore[arg-type]
                console=Console(stderr=True, width=width_of(sys.stderr)),
                auto_refresh=False,
            )
            self._progress.start()
        return self

    def __exit__(self, kind: object = None, *rest: object) -> None:
        if self._progress is not None:
            if kind is None:
                self._finish_bar()
            self._progress.refresh()
            self._progress.stop()
        elif self._stage and kind is None and time.monotonic() - self._begun > LONG_S:
            self._line("done")

    def __call__(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """Show how far a stage is; a total of 0 means that it is not known.

        Args:
            detail: What is going on within the stage.
        """
        if stage != self._stage:
            self._begin(stage)
        if self._progress is not None:
            self._draw(stage, done, total, detail)
        elif self._is_time_for_a_line():
            left = self._left(done, total)
            if detail:
                self._line(f"{stage}: {detail}{left}")
            elif done:
                self._line(f"{stage} {done}/{total or '?'}{left}")

    def _draw(self, stage: str, done: int, total: int, detail: str) -> None:
        now = time.monotonic()
        if now - self._drawn < DRAWN_EVERY_S and done < total:
            return
        self._drawn = now
        self._progress.update(
            self._task,
            completed=done,
            total=total or None,
            description=visible(f"{stage}: {detail}" if detail else stage),
            count=f"{done}/{total}" if total else "",
            times=clock(now - self._stage_begun) + self._left(done, total),
        )
        self._progress.refresh()

    def _left(self, done: int, total: int) -> str:
        """How long the rest takes, if it goes on as before; "" where nobody knows yet."""
        lasted = time.monotonic() - self._stage_begun
        if not 0 < done < total or lasted < LONG_S:
            return ""
        return f", {clock(lasted * (total - done) / done)} left"

    def _is_time_for_a_line(self) -> bool:
        now = time.monotonic()
        pause = min(max(SHORTEST_PAUSE_S, (now - self._stage_begun) / 20), LONGEST_PAUSE_S)
        return now - self._told > pause

    def _begin(self, stage: str) -> None:
        if self._progress is not None:
            self._finish_bar()
            self._task = self._progress.add_task(visible(stage), total=None, count="", times="")
            self._drawn = 0.0
        else:
            self._line(stage)
        self._stage_begun = time.monotonic()
        self._stage = stage

    def _finish_bar(self) -> None:
        """Fill the bar of the stage that is over, and say how long it took."""
        if self._task is None:
            return
        (task,) = (each for each in self._progress.tasks if each.id == self._task)
        total = task.total or 1
        took = clock(time.monotonic() - self._stage_begun)
        count = f"{total:.0f}/{total:.0f}" if task.total else ""
        done = {"completed": total, "total": total, "count": count, "times": took}
        self._progress.update(self._task, **done)

    def _line(self, text: str) -> None:
        self._told = time.monotonic()
        if not self._is_quiet:
            say(f"[{self._told - self._begun:6.1f} s] {text}")


def clock(seconds: float) -> str:
    """``m:ss``, or ``h:mm:ss`` from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _can_draw() -> bool:
    """Whether stderr is a terminal whose cursor moves."""
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    return is_terminal and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
