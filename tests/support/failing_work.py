"""Work of a cluster that ends with an error."""

from __future__ import annotations

from collections.abc import Callable

from mahtrt.errors import IntegrityError


def failing_work() -> Callable[[str], str]:
    """What gives a task back, but for the task ``b``."""

    def work(task: str) -> str:
        if task == "b":
            raise IntegrityError(task, got="another file", expected="that of the start")
        return task

    return work
