"""What ``mahtrt predict`` tells of a run."""

from __future__ import annotations

import pytest

from mahtrt.verbs.predict import _told_deaths


@pytest.mark.parametrize(
    ("restarts", "told"),
    [
        (0, ""),
        (1, "; 1 worker died; its files were done again"),
        (3, "; 3 workers died; their files were done again"),
    ],
)
def test_workers_that_died_are_told(restarts: int, told: str) -> None:
    assert _told_deaths(restarts) == told
