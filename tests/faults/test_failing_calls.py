"""Every change of files of a write fails once: a full disk, a broken one, no permission, no files.

The result is the old one or the new one, whole; the next write leaves nothing beside it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

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
from fork_server import ERRORS, Fault, ForkServer, counted
from tiny_bundle import write_tiny

from mahtrt import scratch
from mahtrt.atomic import scratch_beside, together, write_bytes_atomic, write_text_atomic
from mahtrt.bundle.pack import PackOptions, pack
from mahtrt.errors import MahtrtError

pytestmark = pytest.mark.slow

OLD, NEW = b"old", b"new" * 100


@dataclass(frozen=True, slots=True)
class Kind:
    """A way of writing, and the files that it writes, all of them or none."""

    write: Callable[[Path], object]
    outputs: tuple[str, ...]


def write_several(out: Path) -> None:
    with together():
        for name in ("a.json", "far/b.csv", "drawn/c.png"):
            write_bytes_atomic(out / name, NEW)


def write_link(out: Path) -> None:
    out.mkdir(exist_ok=True)
    if not (out / "link").is_symlink():
        (out / "link").symlink_to("far/a.json")
    write_bytes_atomic(out / "link", NEW)


KINDS = {
    "a file": Kind(lambda out: write_bytes_atomic(out / "a.json", NEW), ("a.json",)),
    "a file in new folders": Kind(
        lambda out: write_text_atomic(out / "x/y/a.json", NEW.decode()), ("x/y/a.json",)
    ),
    "a link": Kind(write_link, ("far/a.json",)),
    "several files": Kind(write_several, ("a.json", "far/b.csv", "drawn/c.png")),
}


def content(out: Path) -> dict[str, bytes]:
    """Every file in a folder that is no scratch folder."""
    files = [place for place in out.rglob("*") if place.is_file() and not place.is_symlink()]
    names = {place.relative_to(out).as_posix(): place for place in files}
    return {
        name: place.read_bytes()
        for name, place in names.items()
        if not any(is_scratch(parent) for parent in place.parents)
    }


def scratch_folders(out: Path) -> list[Path]:
    return [place for place in out.rglob("*") if is_scratch(place)]


def new_process() -> None:
    """What a new process does not know: which places have been looked through."""
    scratch._swept.clear()


def calls_of(write: Callable[[], object]) -> int:
    new_process()
    with counted(Fault()) as count:
        write()
    return count[0]


def try_to(write: Callable[[], object], fault: Fault) -> bool:
    """Whether a write ended well although a change of files failed in it."""
    new_process()
    refused: MahtrtError | None = None
    try:
        with counted(fault):
            write()
    except MahtrtError as error:
        refused = error
    # The place is named, not the temporary one.
    assert refused is None or ("writing" in str(refused) and ".mahtrt-" not in refused.subject)
    return refused is None


@pytest.mark.parametrize("before", [False, True], ids=["new", "replaced"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_write_whose_nth_change_fails(kind: str, before: bool, tmp_path: Path) -> None:
    way, old = KINDS[kind], dict.fromkeys(KINDS[kind].outputs, OLD) if before else {}
    number = calls_of(lambda: way.write(tmp_path / "first"))
    assert number >= 5
    for nth in range(1, number + 3):  # replacing takes a little more
        for error in ERRORS:
            out = tmp_path / f"{nth}-{error}"
            lay(out, old)
            ended = try_to(lambda out=out: way.write(out), Fault(nth, error=error))  # type: ignore[misc]
            assert content(out) == (dict.fromkeys(way.outputs, NEW) if ended else old), (nth, error)
            new_process()
            way.write(out)
            assert content(out) == dict.fromkeys(way.outputs, NEW)
            assert scratch_folders(out) == [], (nth, error)


def lay(out: Path, old: Mapping[str, bytes]) -> None:
    out.mkdir()
    for name, data in old.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(data)


@pytest.mark.parametrize("before", [False, True], ids=["new", "replaced"])
def test_a_bundle_whose_nth_change_fails(before: bool, tmp_path: Path) -> None:
    source, out = write_tiny(tmp_path / "source.mahtrt"), tmp_path / "out"
    old = write_tiny(tmp_path / "old.mahtrt", off_px=0.3)
    place = out / "packed.mahtrt"

    def write() -> None:
        pack(PackOptions(source, place))

    number, whole = calls_of(write), content(place)
    for nth in range(1, number + 1):
        error = ERRORS[nth % len(ERRORS)]
        shutil.rmtree(place, ignore_errors=True)
        if before:
            shutil.copytree(old, place)
        was = content(place)
        ended = try_to(write, Fault(nth, error=error))
        assert content(place) == (whole if ended else was), (nth, error)
        new_process()
        write()
        assert content(place) == whole
        assert scratch_folders(out) == [], (nth, error)


def test_a_scratch_folder_whose_making_fails_leaves_no_folders(tmp_path: Path) -> None:
    def write() -> None:
        with scratch_beside(tmp_path / "x/y/z"):
            pass

    number = calls_of(write)
    shutil.rmtree(tmp_path / "x")
    for nth in range(1, number + 1):
        for error in ERRORS:
            if not try_to(write, Fault(nth, error=error)):
                assert list(tmp_path.iterdir()) == [], (nth, error)
            new_process()
            write()
            assert scratch_folders(tmp_path) == []
            shutil.rmtree(tmp_path / "x")


# Those that take least, with one error a change; make faults tries all verbs with all errors, but
# for the demo, whose steps are those of other verbs.
SHORT = ("predict", "inspect")
ALL = [verb for verb, case in CASES.items() if not case.long]


@pytest.mark.parametrize("verb", ALL if FAULTS else SHORT)
def test_a_command_whose_nth_change_fails(
    verb: str, world: World, servers: tuple[ForkServer, ForkServer], temporary: Path, tmp_path: Path
) -> None:
    server, case = servers[0], CASES[verb]
    arguments = case.arguments(world, tmp_path)
    lay_old(case, world, tmp_path, wanted=False)
    usual = server.run(arguments)
    assert usual.status == 0, usual.said
    for nth in range(1, (usual.calls or 0) + 1):
        for error in ERRORS if FAULTS else ERRORS[nth % len(ERRORS) :][:1]:
            shutil.rmtree(tmp_path)
            tmp_path.mkdir()
            lay_old(case, world, tmp_path, wanted=nth % 2 == 1)
            ended = server.run(arguments, Fault(nth, error=error))
            happened = (nth, os.strerror(error), ended.said)
            errors = [line for line in ended.said.splitlines() if line.startswith("error: ")]
            assert (ended.status, len(errors)) in ((0, 0), (1, 1)), happened
            assert "Traceback" not in ended.said, happened
            assert len(states(case, world, tmp_path)) <= 1, happened
            if ended.status == 0:
                assert states(case, world, tmp_path) <= {"new"}, happened
            check_all_whole(tmp_path)
            if nth % 4 == 0:
                last = server.run(arguments)
                assert (last.status, left_over(case, tmp_path, temporary)) == (0, []), happened


def test_json_of_what_failed_is_never_half(tmp_path: Path) -> None:
    """A write in many parts: each part fails once."""
    text = json.dumps(list(range(500_000)))
    number = calls_of(lambda: write_text_atomic(tmp_path / "a.json", text))
    for nth in range(1, number + 1):
        try_to(lambda: write_text_atomic(tmp_path / "a.json", "[]"), Fault(nth, error=ERRORS[0]))
        assert json.loads((tmp_path / "a.json").read_text()) in ([], list(range(500_000)))
