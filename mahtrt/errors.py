"""Every error mahtrt raises on purpose, and the exit code each one ends a command with.

    MahtrtError                   1  failed
    ├── InputError                1  something the user gave cannot be used
    │   ├── ImageError               an image: unreadable, wrong rank, dtype or size
    │   ├── CheckpointError          a checkpoint: needs code, keys that do not match
    │   ├── DataError                a data set: missing, empty, random, no annotations
    │   ├── ModelError               a network or ONNX graph that cannot be used
    │   └── SpecError                a model spec or plan: unknown field, wrong value
    ├── BuildError                1  an engine could not be built
    ├── UsageError                2  options that contradict each other
    ├── GateError                 3  parity or accuracy over its budget
    ├── LatencyError              4  slower than the latency budget
    ├── IntegrityError            5  an artefact changed, or is newer than this mahtrt
    └── MissingComponentError     6  a package, device or CPU feature is missing

A message is one line: ``subject: got …; expected …. fix``. Ctrl-C ends a command with 130,
SIGTERM with 143, SIGHUP with 129.
"""

from __future__ import annotations

import importlib
import reprlib
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import cast

from mahtrt.names import visible

# Package to what its import must not bring along. OpenVINO's would send a message to its makers,
# from a fork of this process that keeps our ports open and may never end; without this, none.
_KEPT_OUT = {"openvino": "openvino_telemetry"}

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80


class MahtrtError(Exception):
    """Base of every deliberate error.

    Args:
        subject: What the message is about (a path, a field, an option).
        got: What was found.
        expected: What would have been right.
        fix: What the user can do, as a full sentence.
    """

    exit_code = 1

    def __init__(self, subject: str, *, got: str = "", expected: str = "", fix: str = "") -> None:
        subject = visible(subject)  # a file's name may hold line breaks
        self.subject, self.got, self.expected, self.fix = subject, got, expected, fix
        facts = "; ".join(
            part for part in (got and f"got {got}", expected and f"expected {expected}") if part
        )
        message = f"{subject}: {facts}" if facts else subject
        super().__init__(f"{message}. {fix}" if fix else message)

    def __reduce__(self) -> tuple[object, ...]:
        """How it goes to another process, whatever the arguments of its class."""
        return _again, (type(self), self.args, self.__dict__)


def _again(
    kind: type[MahtrtError], message: tuple[str, ...], facts: dict[str, object]
) -> MahtrtError:
    error = kind.__new__(kind, *message)
    error.__dict__.update(facts)
    return error


class InputError(MahtrtError):
    """Something the user gave cannot be used."""


class ImageError(InputError):
    """An image that cannot be read, or has a rank, dtype or size that cannot be used.

    Args:
        reason: What is wrong, in a word that quotes nothing of the image; "" where none was given.
            docs/dicom.md lists them.
    """

    def __init__(
        self, subject: str, *, got: str = "", expected: str = "", fix: str = "", reason: str = ""
    ) -> None:
        super().__init__(subject, got=got, expected=expected, fix=fix)
        self.reason = reason


class CheckpointError(InputError):
    """A checkpoint that cannot be loaded into the network."""


class DataError(InputError):
    """A data set that is missing, empty, random, or lacks the annotations needed."""


class ModelError(InputError):
    """A network or ONNX graph that cannot be used."""


class SpecError(InputError):
    """A model spec or plan with an unknown field or a wrong value."""


class BuildError(MahtrtError):
    """An engine could not be built."""


class UsageError(MahtrtError):
    """Options that contradict each other or name something unknown."""

    exit_code = 2


class GateError(MahtrtError):
    """Parity or accuracy is over its budget."""

    exit_code = 3


class LatencyError(MahtrtError):
    """Slower than the latency budget."""

    exit_code = 4


class IntegrityError(MahtrtError):
    """An artefact was changed after it was written, or is newer than this mahtrt."""

    exit_code = 5


class MissingComponentError(MahtrtError):
    """A package, device or CPU feature that is needed is not there."""

    exit_code = 6


def shown(value: object, most: int = 80) -> str:
    """A value for a message: as Python writes it, cut where it is long."""
    try:
        text = _SHORT.repr(value)
    except ValueError:  # more digits than Python writes
        return "a huge number"
    return text if len(text) <= most else f"{text[: most - 1]}…"


def some_of(items: Sequence[str], most: int = 3) -> str:
    """The first of many items, and how many there are more, for a message."""
    more = len(items) - most
    return ", ".join(items[:most]) + (f" and {more} more" if more > 0 else "")


def require(module: str, *, extra: str, needed_for: str) -> ModuleType:
    """Import an optional package, or say which extra installs it.

    Args:
        module: Import name, e.g. ``"torch"``.
        extra: The extra of mahtrt that brings it, e.g. ``"export"``; "" if none does.
        needed_for: What the package is wanted for, for the message.

    Raises:
        MissingComponentError: The package, or something it imports, is not installed.
            Any other failure of the import is passed on unchanged.
    """
    from mahtrt.interrupt import interrupt_later

    if (kept_out := _KEPT_OUT.get(module.partition(".")[0])) is not None:
        sys.modules.setdefault(kept_out, cast(ModuleType, None))
    try:
        with interrupt_later():  # some native modules abort the process when interrupted here
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        wanted = f"'mahtrt[{extra}]'" if extra else module.split(".")[0]
        fix = f"Install it: pip install {wanted}"
        missing = error.name or module
        what = (
            f"{module} (which needs {missing})"
            if missing.split(".")[0] != module.split(".")[0]
            else module
        )
        raise MissingComponentError(
            needed_for,
            got=f"no Python package {what}",
            expected="it to be installed",
            fix=fix + ".",
        ) from error
