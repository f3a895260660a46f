"""A node in a process of its own under bad connections, and what is left of it after each lot."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from dicom_nodes import Archive, free_port, is_open, make_image, send, until
from node_fuzz import KINDS, idle
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from mahtrt.serving.transport import ClosingEntity

PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class FuzzPlan:
    """What is tried.

    Attributes:
        bundle: What is served.
        engine: Which engine of it.
        each: Connections of each kind.
        lot: Connections between two checks.
        at_once: Connections at a time.
        associations: The node's limit.
        timeout_s: The node's patience.
        seed: Of all bytes.
        kinds: Of connections; besides those, ``idle`` ones.
    """

    bundle: Path
    engine: str
    each: int = 1000
    lot: int = 100
    at_once: int = 8
    associations: int = 16
    timeout_s: float = 1.0
    seed: int = 1
    kinds: tuple[str, ...] = tuple(KINDS)


@dataclass(frozen=True, slots=True)
class State:
    """The node's process after a lot.

    Attributes:
        kind: Of the connections.
        rss_mib: Resident memory.
        files: Open files, sockets included.
        threads: Its threads.
        check_s: How long it took until an echo and an image were answered.
    """

    kind: str
    rss_mib: float
    files: int
    threads: int
    check_s: float


@dataclass
class FuzzFound:
    """What came of it.

    Attributes:
        states: After each lot.
        connections: How many there were of each kind.
        refused: Those that the node did not let in.
        events: How often the log names each event.
        log: The node's log.
        images: Valid images that were sent.
    """

    states: list[State] = field(default_factory=list)
    connections: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    log: str = ""
    images: int = 0


def fuzz(plan: FuzzPlan, archive: Archive, folder: Path) -> FuzzFound:
    """Do all kinds to a node, and wait until the report of every valid image is there."""
    found = FuzzFound()
    with _node(plan, archive, folder) as (process, port):
        _check(process, port, "start", found)
        for kind in plan.kinds:
            for first in range(0, plan.each, plan.lot):
                numbers = range(first, min(first + plan.lot, plan.each))
                _lot(plan, kind, numbers, port, found)
                _check(process, port, kind, found)
        for first in range(0, plan.each, plan.lot):
            count = min(plan.lot, plan.each - first)
            found.refused["idle"] += idle(port, count, plan.timeout_s / 4)
            found.connections["idle"] += count
            _check(process, port, "idle", found)
        until(lambda: len(archive.stored) >= found.images, PATIENCE_S)
        time.sleep(2 * plan.timeout_s)
        _check(process, port, "end", found)
        until(lambda: len(archive.stored) >= found.images, PATIENCE_S)
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    found.log = (folder / "log").read_text(errors="replace")
    for line in found.log.splitlines():
        with contextlib.suppress(ValueError):
            found.events[json.loads(line)["event"]] += 1
    return found


def problems(found: FuzzFound, archive: Archive, most_growth_mib: float = 24.0) -> list[str]:
    """Which bars were missed.

    Args:
        most_growth_mib: Of the memory from the first kind's end to the last one's.
    """
    first = next(state for state in found.states[::-1] if state.kind == found.states[1].kind)
    last = found.states[-1]
    told = []
    if last.rss_mib > first.rss_mib + most_growth_mib:
        told.append(f"{last.rss_mib:.1f} MiB after {first.rss_mib:.1f} MiB")
    # What the last check left may be there still, as it is in the beginning.
    if last.threads > found.states[0].threads + 4 or last.files > found.states[0].files + 4:
        told.append(f"{last.threads} threads, {last.files} files in the end")
    if "Traceback" in found.log or any(line[:1] != "{" for line in found.log.splitlines() if line):
        told.append("the log has more than events")
    if len(archive.stored) != found.images or set(archive.count.values()) != {1}:
        told.append(f"{len(archive.stored)} reports of {found.images} images")
    return told


def _lot(plan: FuzzPlan, kind: str, numbers: range, port: int, found: FuzzFound) -> None:
    def one(number: int) -> None:
        chance = random.Random(f"{plan.seed} {kind} {number}")
        try:
            KINDS[kind](port, chance)
        except OSError:  # the node ended it first, which is its good right
            found.refused[kind] += 1

    with ThreadPoolExecutor(plan.at_once) as pool:
        list(pool.map(one, numbers))
    found.connections[kind] += len(numbers)


def _check(process: subprocess.Popen[bytes], port: int, kind: str, found: FuzzFound) -> None:
    """The node answers an echo and takes an image; connections of before may hold their places."""
    assert process.poll() is None, f"the node has ended after {kind}"
    began = time.monotonic()
    until(lambda: _echo(port), PATIENCE_S)
    image = make_image(found.images)
    until(lambda: send([image], port) == [0], PATIENCE_S)
    found.images += 1
    took_s = time.monotonic() - began
    status = Path(f"/proc/{process.pid}/status").read_text()
    numbers = {line.split(":")[0]: line.split()[1:] for line in status.splitlines()}
    files = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
    rss_mib = int(numbers["VmRSS"][0]) / 1024
    found.states.append(State(kind, rss_mib, files, int(numbers["Threads"][0]), took_s))


def _echo(port: int) -> bool:
    entity = ClosingEntity("CT1")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 5
    entity.add_requested_context(Verification)
    association = entity.associate("127.0.0.1", port, ae_title="MAHTRT")
    if not association.is_established:
        return False
    status = association.send_c_echo().get("Status")
    association.release()
    return bool(status == 0)


@contextlib.contextmanager
def _node(
    plan: FuzzPlan, archive: Archive, folder: Path
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    command = [
        *(sys.executable, "-m", "mahtrt.cli", "serve", str(plan.bundle)),
        *(f"--engine={plan.engine}", "--threads=1", f"--dicom=MAHTRT:{port}", "--log=json"),
        *(f"--send-to=PACS@127.0.0.1:{archive.port}", f"--queue={folder / 'queue'}"),
        *(f"--timeout-s={plan.timeout_s}", f"--associations={plan.associations}", "--allow=CT1"),
        *("--retry-s=0.1", "--retry-most-s=0.5"),
    ]
    with (folder / "log").open("ab") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            until(lambda: process.poll() is not None or is_open(port), PATIENCE_S)
            yield process, port
        finally:
            process.kill()
            process.wait()
