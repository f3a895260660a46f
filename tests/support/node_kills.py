"""A node in a process of its own that is killed while images come in."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dicom_nodes import Archive, free_port, make_image, send
from pydicom.dataset import Dataset

PATIENCE_S = 300.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is tried.

    Attributes:
        bundle: What is served.
        engine: Which engine of it.
        images: How many are sent.
        side: Pixels of a side of each.
        kills: How often the process is killed.
        life_s: Shortest and longest time from a start to a kill.
        seed: Of the moments.
    """

    bundle: Path
    engine: str
    images: int = 20
    side: int = 40
    kills: int = 4
    life_s: tuple[float, float] = (0.5, 3.0)
    seed: int = 1


@dataclass
class Found:
    """What came of it.

    Attributes:
        tries: How often an image was sent, those that nobody answered included.
        kills: How often the process was killed.
        lives: Seconds from each start to its kill.
        memory_mib: Resident memory of the process, as it was sampled, with the reports until then.
    """

    tries: int = 0
    kills: int = 0
    lives: list[float] = field(default_factory=list)
    memory_mib: list[tuple[int, float]] = field(default_factory=list)


def run_with_kills(plan: Plan, archive: Archive, folder: Path) -> Found:
    """Send images, kill and start the node again meanwhile, and wait until every report is there.

    Args:
        archive: An open one.
        folder: For the queue and the log.
    """
    found, port = Found(), free_port()
    images = [make_image(number, plan.side) for number in range(plan.images)]
    sending = threading.Thread(target=_send_all, args=(images, port, found), daemon=True)
    sending.start()
    chance, end = random.Random(plan.seed), time.monotonic() + PATIENCE_S
    while True:
        # The last life is as long as it takes.
        life_s = chance.uniform(*plan.life_s) if found.kills < plan.kills else PATIENCE_S
        with _node(plan, archive, folder, port) as process:
            began = time.monotonic()
            while time.monotonic() < began + life_s:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < end, f"{len(archive.stored)} reports"
                _sample_memory(process.pid, archive, found)
                is_done = not sending.is_alive() and len(archive.stored) == plan.images
                if is_done and found.kills >= plan.kills:
                    process.terminate()
                    process.wait(PATIENCE_S)
                    return found
                time.sleep(0.02)
            process.kill()
            found.lives.append(round(time.monotonic() - began, 2))
        found.kills += 1


def _send_all(images: Sequence[Dataset], port: int, found: Found) -> None:
    """Each image until it is taken, as modalities do."""
    for image in images:
        status = None
        while status != 0:
            found.tries += 1
            (status,) = send([image], port)
            if status != 0:
                time.sleep(0.05)


@contextlib.contextmanager
def _node(
    plan: Plan, archive: Archive, folder: Path, port: int
) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        *(sys.executable, "-m", "mahtrt.cli", "serve", str(plan.bundle)),
        *(f"--engine={plan.engine}", "--threads=1", f"--dicom=MAHTRT:{port}"),
        *(f"--send-to=PACS@127.0.0.1:{archive.port}", f"--queue={folder / 'queue'}"),
        *("--retry-s=0.1", "--retry-most-s=0.5"),
    ]
    with (folder / "log").open("ab") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def _sample_memory(process: int, archive: Archive, found: Found) -> None:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        line = next(line for line in lines if line.startswith("VmRSS"))
        found.memory_mib.append((len(archive.stored), int(line.split()[1]) / 1024))
