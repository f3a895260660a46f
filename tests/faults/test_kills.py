"""A killed command leaves what was there or the whole new thing, and after the next run nothing.

``make faults`` tries some hundred kills; here it is a few of each verb, at seeded moments.
"""

from __future__ import annotations

import random
import signal
import time
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from fault_cases import (
    CASES,
    FAULTS,
    World,
    check_all_whole,
    is_scratch,
    lay_old,
    left_over,
    states,
)
from fork_server import Ended, Fault, ForkServer, living_in_session

from mahtrt.cli import VERBS
from mahtrt.verbs.command import OUTPUT

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows")]

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
# Child processes look for their parent every few seconds.
CHILDREN_END_S = 60.0
SHORT = [verb for verb, case in CASES.items() if FAULTS or not case.long]


# It needs the C library installed; its JSON is written as that of doctor is.
APART = {"native-info"}


def test_every_verb_that_writes_is_in_the_table() -> None:
    writing = {verb for verb, module in VERBS.items() if output_options(module)} - APART
    assert writing | {verb for verb, case in CASES.items() if case.in_place} == set(CASES)


def output_options(module: Any) -> list[str]:
    """The options of a verb that name something to write."""
    name = module.__name__.rpartition(".")[2]
    kind = getattr(module, f"{name.title().replace('_', '')}Arguments")
    hints = get_type_hints(kind, include_extras=True)
    return [
        field.name
        for field in fields(kind)
        for note in getattr(hints[field.name], "__metadata__", ())
        if getattr(note, "rich_help_panel", None) == OUTPUT
        and get_args(hints[field.name])[0] is not bool
    ]


@pytest.mark.parametrize("verb", SHORT)
def test_a_killed_command_leaves_nothing_half(
    verb: str, world: World, servers: tuple[ForkServer, ForkServer], temporary: Path, tmp_path: Path
) -> None:
    server, case, chance = servers[0], CASES[verb], random.Random(f"kills of {verb}")
    arguments, folders = case.arguments(world, tmp_path), (tmp_path, temporary)
    lay_old(case, world, tmp_path, wanted=False)
    usual = server.run(arguments)
    assert (usual.status, left_over(case, *folders)) == (0, []), usual.said
    share = -(-FAULTS // max(1, len(SHORT) - 1))
    count = max(share // 6 if case.long else share, len(SIGNALS))
    for number in range(count):
        fault = draw(chance, SIGNALS[number % len(SIGNALS)], usual)
        clear(tmp_path)
        lay_old(case, world, tmp_path, wanted=number % 2 == 1)
        before = left_over(case, *folders)
        ended = server.run(arguments, fault)
        left = {*left_over(case, *folders)} - {*before, case.resumable}
        check_ended(fault, ended, left, states(case, world, tmp_path))
        check_all_whole(tmp_path)
        if number % 3 == 2 or number == count - 1:
            last = server.run(arguments)
            assert (last.status, left_over(case, *folders)) == (0, []), (fault, last.said)
            assert states(case, world, tmp_path) <= {"new"}, fault


def draw(chance: random.Random, number: int, usual: Ended) -> Fault:
    """A moment: half of them at a change of files, where most can go wrong."""
    if chance.random() < 0.5:
        return Fault(call=chance.randint(1, usual.calls or 1), signal=number)
    return Fault(after_s=chance.uniform(0, usual.seconds), signal=number)


def check_ended(fault: Fault, ended: Ended, left: set[str], found: set[str]) -> None:
    """What a signal may leave: after kill -9 scratch folders, after others nothing."""
    happened = f"{fault} {ended}"
    assert "Traceback" not in ended.said, happened
    if fault.signal == signal.SIGKILL:
        assert ended.status in (0, -signal.SIGKILL), happened
        assert all(
            any(is_scratch(part) for part in (Path(name), *Path(name).parents)) for name in left
        ), happened
    else:
        # Before the handlers are there, the signal does what it does to any process.
        assert ended.status in (0, 128 + fault.signal, -fault.signal), happened
        assert left == set(), happened
        assert len(found) <= 1, f"some old, some new: {happened}"
    end = time.monotonic() + CHILDREN_END_S
    while living_in_session(ended.pid):
        assert time.monotonic() < end, f"children are left: {happened}"
        time.sleep(0.1)


def clear(folder: Path) -> None:
    """Remove outputs, not what a killed command left beside them."""
    for place in folder.iterdir():
        if not is_scratch(place):
            remove(place)


def remove(place: Path) -> None:
    if place.is_dir():
        clear(place)
        if not any(place.iterdir()):
            place.rmdir()
    else:
        place.unlink()
