"""A training that is terminated keeps its state, even where its workers get the signal too."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from fork_server import ForkServer, living_in_session

pytestmark = pytest.mark.slow

COMMAND = (
    *("train", "--model=unet/nano", "--data=phantom:4@1", "--input-size=64", "--batch-size=2"),
    *("--workers=1", "--steps=100000"),
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminated_training_can_be_resumed(
    number: int, servers: tuple[ForkServer, ForkServer], tmp_path: Path
) -> None:
    server, out = servers[0], tmp_path / "net.safetensors"
    pid = server.start((*COMMAND, f"--out={out}"))
    said = server.folder / "stderr"
    end = time.monotonic() + 60
    while "] training" not in said.read_text():
        assert time.monotonic() < end
        time.sleep(0.1)
    os.killpg(pid, number)  # the workers get it too
    ended = server.finish()
    assert ended.status == 128 + number, ended.said
    lines = ended.said.splitlines()
    (place,) = (i for i, text in enumerate(lines) if "interrupted: training stopped" in text)
    # The tracker of multiprocessing is a process of its own: it may speak of a killed worker's
    # semaphores, which it removes, after the command has ended.
    assert all("resource_tracker" in text for text in lines[place + 1 :]), ended.said
    assert [place.name for place in tmp_path.iterdir()] == ["net.safetensors.state.pt"]
    while living_in_session(pid):
        assert time.monotonic() < end
        time.sleep(0.1)
