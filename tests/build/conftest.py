"""Fixtures of the engine tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import mahtrt.engine.build


@pytest.fixture(scope="module", autouse=True)
def _one_timed_round() -> Iterator[None]:
    """A build ranks its engines; tests don't mind in which order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mahtrt.engine.build, "TIMED_ROUNDS", 1)
        yield
