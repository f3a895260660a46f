"""Two processes that write to one place, and to one cache, at the same time."""

from __future__ import annotations

from pathlib import Path

import pytest
from fault_cases import CASES, World, lay_old, left_over, states
from fork_server import ForkServer

pytestmark = pytest.mark.slow

ROUNDS = 4


@pytest.mark.parametrize("verb", ["pack", "predict", "calibrate", "build"])
def test_both_end_well_and_one_result_is_there(
    verb: str, world: World, servers: tuple[ForkServer, ForkServer], temporary: Path, tmp_path: Path
) -> None:
    case = CASES[verb]
    arguments = case.arguments(world, tmp_path)
    for number in range(ROUNDS):
        if number == ROUNDS // 2:
            for output in tmp_path.iterdir():
                output.rename(temporary.parent / f"{verb}-{number}-{output.name}")
            lay_old(case, world, tmp_path)
        for server in servers:
            server.start(arguments)
        ended = [server.finish() for server in servers]
        assert [each.status for each in ended] == [0, 0], [each.said for each in ended]
        assert states(case, world, tmp_path) == {"new"}
        assert left_over(case, tmp_path, temporary) == []
