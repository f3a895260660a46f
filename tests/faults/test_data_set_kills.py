"""A data set whose writer is killed at changes of files: no row is missing then, none is twice."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest
from archives import make_archive, rows_of, same_rows
from fault_cases import FAULTS, World
from fork_server import Fault, ForkServer

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows")]


def test_a_killed_run_goes_on_where_it_was(
    world: World, servers: tuple[ForkServer, ForkServer], tmp_path: Path
) -> None:
    archive, chance = make_archive(tmp_path / "archive"), random.Random("kills of a data set")

    def command(out: str) -> tuple[object, ...]:
        first = ("predict", world.tiny, archive, "--engine=onnxruntime-fp32", "--threads=1")
        return (*first, "--files-per-part=2", f"--out={tmp_path / out}")

    whole = servers[0].run(command("whole"))
    assert whole.status == 0, whole.said
    assert whole.calls is not None
    count = max(FAULTS // 10, 1)
    for number in range(count):
        out = f"killed{number}"
        for _ in range(3):  # each time at another change, of those that are left
            fault = Fault(call=chance.randint(1, whole.calls // 2), signal=signal.SIGKILL)
            servers[0].run(command(out), fault)
        ended = servers[0].run(command(out))
        assert ended.status == 0, ended.said
        assert rows_of(tmp_path / out)["image"].is_unique
        assert same_rows(tmp_path / "whole", tmp_path / out)
        assert not [place for place in (tmp_path / out).iterdir() if place.name.startswith(".")]
