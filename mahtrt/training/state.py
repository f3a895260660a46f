"""The state of an interrupted training: a file beside its checkpoint."""

from __future__ import annotations

import io
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mahtrt.atomic import write_bytes_atomic
from mahtrt.errors import CheckpointError
from mahtrt.interrupt import handled_signals
from mahtrt.models.weights_file import MOST_FILE_BYTES, load_torch
from mahtrt.reading import Wanted, read_regular

# The weights, their average, the best ones, and two moments of each.
_MOST_STATE_BYTES = 6 * MOST_FILE_BYTES


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C or a signal; the state up to the last finished step is at ``state_path``."""

    def __init__(self, state_path: Path, step: int, number: int = signal.SIGINT) -> None:
        super().__init__(
            f"training stopped after step {step}; state kept in {state_path}, "
            "go on with the same command and --resume"
        )
        self.state_path, self.step, self.number = state_path, step, number


def state_path(out: Path) -> Path:
    """Where the state of a training of this checkpoint is."""
    return out.with_name(out.name + ".state.pt")


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state, whole or not at all."""
    content = io.BytesIO()
    torch.save(dict(state), content)
    write_bytes_atomic(path, content.getbuffer())


def load_state(path: Path, keys: set[str]) -> dict[str, Any]:
    """Read a state.

    Args:
        keys: What it has to hold.

    Raises:
        CheckpointError: There is none, or it is damaged.
    """
    if not path.is_file():
        raise CheckpointError(
            str(path),
            got="no state of an interrupted run",
            expected="one to resume",
            fix="Start without --resume.",
        )
    wanted = Wanted("the state of an interrupted run", CheckpointError)
    content = read_regular(path, wanted, _MOST_STATE_BYTES)
    try:
        state = load_torch(content, path)
    except CheckpointError as error:
        raise damaged(path) from error
    if not isinstance(state, dict) or not keys <= set(state):
        raise damaged(path)
    return state


def damaged(path: Path) -> CheckpointError:
    """The error of a state that cannot be used."""
    return CheckpointError(
        str(path),
        got="a damaged file",
        expected="the state of an interrupted run",
        fix="Start without --resume.",
    )


class InterruptFlag:
    """Ctrl-C or a signal ends the run after the step under way instead of in its middle.

    Attributes:
        raised: The signal; None without one.
    """

    def __init__(self) -> None:
        self.raised: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        # In another thread, the caller handles signals.
        if threading.current_thread() is threading.main_thread():
            self._before = {n: signal.signal(n, self._set) for n in handled_signals()}

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _set(self, number: int, _frame: object) -> None:
        self.raised = number
