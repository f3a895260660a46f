"""Mutated input of every kind: an error of mahtrt's or a right result, never anything else.

Every case runs in a child that is watched (tests/support/watched.py): a crash, a traceback, 20
seconds, 2 GiB, a temporary file left behind, or a broken rule of the case is a finding. A finding
becomes a regression case by one line in ``FINDINGS``.

``make fuzz MINUTES=n`` goes on with other seeds for n minutes, and prints what it tried as JSON.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from findings import FINDINGS
from fuzz_kinds import KINDS, Kind
from hypothesis import HealthCheck, Phase, given, seed, settings
from watched import Outcome, Watcher

pytestmark = pytest.mark.slow

MINUTES = float(os.environ.get("MAHTRT_FUZZ_MINUTES", "0"))
FIRST_SEED = int(os.environ.get("MAHTRT_FUZZ_SEED", "0")) or (int(time.time()) if MINUTES else 1)
ROUND = 100  # examples between two looks at the clock


@dataclass
class Tally:
    """What was tried of one kind."""

    kind: str
    seeds: list[int] = field(default_factory=list)
    endings: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    peak_bytes: int = 0

    def add(self, outcome: Outcome) -> None:
        self.endings[outcome.ending] += 1
        self.slowest_s = max(self.slowest_s, outcome.seconds)
        self.peak_bytes = max(self.peak_bytes, outcome.peak_bytes)

    def line(self) -> str:
        return json.dumps(
            {
                "kind": self.kind,
                "seeds": [min(self.seeds), max(self.seeds)],
                "cases": sum(self.endings.values()),
                **self.endings,
                "slowest_s": round(self.slowest_s, 1),
                "peak_mib": self.peak_bytes >> 20,
            }
        )


@pytest.fixture(scope="module")
def watcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watcher]:
    world = tmp_path_factory.mktemp("fuzz") / "world"
    world.mkdir()
    found = Watcher(world)
    made = found.run("fuzz_works:prepare", None)
    assert made.ending == "done", made.text
    yield found
    found.close()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_mutated_input_is_refused_or_right(kind: Kind, watcher: Watcher) -> None:
    tally = Tally(kind.name)
    until = time.monotonic() + 60 * MINUTES / len(KINDS)
    number = FIRST_SEED
    try:
        while number == FIRST_SEED or time.monotonic() < until:
            tally.seeds.append(number)
            _try_round(kind, number, watcher, tally)
            number += 1
    finally:
        if MINUTES:
            print(tally.line(), flush=True)


@pytest.mark.parametrize(
    ("work", "case"),
    [pytest.param(*found, id=f"{found[0]}-{n}") for n, found in enumerate(FINDINGS)],
)
def test_what_was_found_once_stays_mended(work: str, case: Any, watcher: Watcher) -> None:
    outcome = watcher.run(f"fuzz_works:{work}", case)
    assert outcome.is_good, f"{outcome.ending}: {outcome.text}"


def _try_round(kind: Kind, number: int, watcher: Watcher, tally: Tally) -> None:
    """One seed's examples."""

    @seed(number)
    @settings(
        max_examples=ROUND if MINUTES else kind.examples,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(kind.cases)
    def tried(case: Any) -> None:
        outcome = watcher.run(f"fuzz_works:{kind.name}", case)
        tally.add(outcome)
        assert outcome.is_good, (
            f"{outcome.ending} with seed {number}: {outcome.text}\n"
            f"A line for tests/fuzz/findings.py:\n    ({kind.name!r}, {case!r}),"
        )

    tried()


def test_the_watcher_sees_what_it_is_there_for(tmp_path: Path) -> None:
    (tmp_path / "world").mkdir()
    watcher = Watcher(tmp_path / "world", longest_s=10)
    wanted = {
        "done": "done",
        "refused": "refused",
        "raise": "traceback",
        "wrong": "wrong",
        "abort": "crash",
        "sleep": "hang",
        "eat": "memory",
        "leave": "left over",
    }
    found = {how: watcher.run("ways_to_end:end", how).ending for how in wanted}
    watcher.close()
    assert found == wanted
