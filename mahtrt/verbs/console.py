"""What the command line shows: results on stdout, talk and progress on stderr, errors in a line."""

from __future__ import annotations

import errno
import functools
import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TextIO, TypeVar

import typer

from mahtrt.errors import MahtrtError, UsageError
from mahtrt.interrupt import Terminated
from mahtrt.names import visible

if TYPE_CHECKING:
    from rich.console import RenderableType

P = ParamSpec("P")
T = TypeVar("T")

# Between two lines about a stage: more of them while it is young than when it has lasted.
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 30.0


def say(*lines: str) -> None:
    """Talk: lines on stderr."""
    _print(lines, sys.stderr)


def answer(*lines: str) -> None:
    """A result in words: lines on stdout."""
    _print(lines, sys.stdout)


def _print(lines: Iterable[str], stream: TextIO | None) -> None:
    if stream is not None:  # None is a stream that was closed before we were started
        print(*map(visible, lines), sep="\n", file=stream, flush=True)


def show(renderable: RenderableType, *, to_stderr: bool = False) -> None:
    """A table or text, as wide as the terminal; brackets in it are no markup."""
    from mahtrt.verbs.rendering import Visible, VisibleConsole

    stream: TextIO | None = sys.stderr if to_stderr else sys.stdout
    if stream is None:
        return
    width = None if sys.stdout is not None and sys.stdout.isatty() else 120
    console = VisibleConsole(file=stream, width=width, highlight=False, markup=False, emoji=False)
    console.print(Visible(renderable))


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


def check_results(results: Mapping[str, str | None]) -> None:
    """Refuse files for results that cannot be written, before the work.

    Args:
        results: Option to the name that was given, ``-`` for stdout; None where none was.

    Raises:
        UsageError: Stdout is closed, or two results have one place.
        BuildError: A place cannot be written.
    """
    from mahtrt.destination import check_output, find_destination

    places: dict[object, str] = {}
    for name, given in results.items():
        if given is None:
            continue
        option = f"{name} {given}"
        if given == "-":
            if sys.stdout is None:
                raise UsageError(option, got="a closed stdout", expected="an open one, or a file")
            place: object = "-"
        else:
            check_output(Path(given))
            place = find_destination(Path(given)).target or option
        if place in places:
            raise UsageError(
                f"{places[place]} {option}",
                got="two results for stdout" if place == "-" else "two results for one file",
                expected="one",
            )
        places[place] = option


def keep_inputs(outputs: Mapping[str, Path], inputs: Iterable[Path]) -> None:
    """Refuse to write over what is read, before the work.

    Args:
        outputs: Option to the file or folder that it names.
        inputs: What is read, as far as it is there.

    Raises:
        UsageError: An output is an input, also by a link, or lies within a bundle that is read.
    """
    for given in (path for path in inputs if os.path.exists(path)):
        place = Path(os.path.realpath(given))
        is_bundle = (place / "manifest.json").exists()
        for option, output in outputs.items():
            target = Path(os.path.realpath(output))
            if target == place and not place.is_dir():
                got = "a file that is read"
            elif is_bundle and target.is_relative_to(place):
                got = f"a place in the bundle {given}, which is read"
            else:
                continue
            raise UsageError(
                f"{option} {output}",
                got=got,
                expected="a place of its own",
                fix="Choose another place.",
            )


def show_logs() -> None:
    """Show what mahtrt and the libraries log, and the traceback of an error: ``--debug``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_VisibleLines("%(name)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG, handlers=[handler])


class _VisibleLines(logging.Formatter):
    """Formats a record so that nothing in it acts on the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(visible, super().format(record).splitlines()))


def show_defect(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """The traceback of an error that nobody expected, for :data:`sys.excepthook`."""
    say(*"".join(traceback.format_exception(kind, error, trace)).splitlines())


def ends_well(command: Callable[P, T]) -> Callable[P, T]:
    """Turn mahtrt's errors and Ctrl-C into a line on stderr and the right exit code."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except MahtrtError as error:
            if logging.getLogger().isEnabledFor(logging.DEBUG):
                say(*traceback.format_exc().splitlines())
            say(f"error: {_one_line(error)}")
            raise typer.Exit(error.exit_code) from error
        except (KeyboardInterrupt, Terminated) as error:
            say(_end_of(error))
            number = getattr(error, "number", signal.SIGINT)
            raise typer.Exit(128 + number) from error
        except OSError as error:
            # What the system refuses has a number; a library's own OSError may be a defect.
            # A reader that closed the pipe (``| head``) is click's business.
            if error.errno in (None, errno.EPIPE):
                raise
            say_refused(error)
            raise typer.Exit(1) from error

    return wrapped


def say_refused(error: OSError) -> None:
    """Say what the system refused, in a line."""
    place = error.filename or "writing"
    say(f"error: {place}: got {error.strerror or _one_line(error)}. {_advice(error)}")


def _end_of(error: KeyboardInterrupt | Terminated) -> str:
    """What a signal ended, in a line."""
    word = "terminated" if isinstance(error, Terminated) else "interrupted"
    told = "" if isinstance(error, Terminated) else str(error)
    return f"{word}: {told or 'nothing half-written is left'}"


def _one_line(error: BaseException) -> str:
    """An error's message in one line; other libraries' messages, quoted in it, may have more."""
    return " ".join(str(error).split())


def _advice(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "Free some space, or choose another place."
    return "Check the place, and that you may read and write there."


class StageDisplay:
    """Draws progress on stderr, only when it is told of some.

    It has no refresh thread of its own, which would disturb what is being timed. Where stderr is
    no terminal, every stage is one line, and a long one tells of itself every few seconds.
    """

    def __init__(self) -> None:
        self._begun = self._stage_begun = self._told = time.monotonic()
        self._stage = ""
        self._live = sys.stderr is not None and sys.stderr.isatty()
        self._progress: Any = None
        self._task: Any = None

    def __enter__(self) -> StageDisplay:
        if self._live:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
            from rich.progress import TimeElapsedColumn as Elapsed

            self._progress = Progress(
                TextColumn("{task.description:<28}", markup=False),
                BarColumn(30),
                MofNCompleteColumn(),
                Elapsed(),
                console=Console(stderr=True),
                auto_refresh=False,
            )
            self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._progress is not None:
            self._progress.refresh()
            self._progress.stop()

    def __call__(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """Show how far a stage is; a total of 0 means that it is not known.

        Args:
            detail: What is going on within the stage.
        """
        if stage != self._stage:
            self._begin(stage)
        if self._progress is not None:
            shown = visible(f"{stage}: {detail}" if detail else stage)
            self._progress.update(
                self._task, completed=done, total=total or None, description=shown
            )
            self._progress.refresh()
        elif self._is_time_for_a_line():
            if detail:
                self._line(f"{stage}: {detail}")
            elif done:
                self._line(f"{stage} {done}/{total or '?'}")

    def _is_time_for_a_line(self) -> bool:
        now = time.monotonic()
        pause = min(max(SHORTEST_PAUSE_S, (now - self._stage_begun) / 20), LONGEST_PAUSE_S)
        return now - self._told > pause

    def _begin(self, stage: str) -> None:
        self._stage_begun = time.monotonic()
        if self._progress is not None:
            if self._task is not None:
                self._progress.stop_task(self._task)
            self._task = self._progress.add_task(visible(stage), total=None)
        else:
            self._line(stage)
        self._stage = stage

    def _line(self, text: str) -> None:
        self._told = time.monotonic()
        say(f"[{self._told - self._begun:6.1f} s] {text}")
