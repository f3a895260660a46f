"""What takes seconds to make is made once per run of the tests, not once by each of its processes.

The first process of the run that asks makes it, in a folder that all of them see; the others wait,
and read it. What is made is not to be changed.
"""

from __future__ import annotations

import fcntl
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

Made = TypeVar("Made")


def made_once(temporary: pytest.TempPathFactory, name: str, make: Callable[[Path], Made]) -> Made:
    """What ``make`` gives for a folder of this name.

    Args:
        temporary: The run's temporary folders.
        name: Of the folder; one name is one thing to make.
        make: Writes into the folder; what it returns has to survive pickling.
    """
    own = temporary.getbasetemp()
    # The processes of pytest-xdist have folders of their own, side by side.
    root = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "made-once"
    folder, result = root / name, root / f"{name}.pickle"
    folder.mkdir(parents=True, exist_ok=True)
    with result.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # it ends with its process
        if not result.exists():
            made = make(folder)
            result.write_bytes(pickle.dumps(made))
    return pickle.loads(result.read_bytes())  # type: ignore[no-any-return]
