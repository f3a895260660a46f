"""Outputs that lead to links, devices, FIFOs and descriptors."""

from __future__ import annotations

import os
import socket
import stat
import sys
import threading
from pathlib import Path

import pytest
from programs import run_python

from mahtrt.atomic import write_bytes_atomic, write_text_atomic
from mahtrt.destination import check_output, find_destination
from mahtrt.errors import BuildError

can_make_devices = pytest.mark.skipif(
    not hasattr(os, "mknod") or os.geteuid() != 0, reason="only root makes devices"
)


def names_in(folder: Path) -> list[str]:
    return sorted(place.name for place in folder.iterdir())


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    target, link, second = tmp_path / "far/a.json", tmp_path / "link", tmp_path / "second"
    target.write_text("old")
    link.symlink_to("far/a.json")
    second.symlink_to(link)
    write_text_atomic(second, "new")
    assert target.read_text() == "new"
    assert not target.is_symlink()
    assert os.readlink(link) == "far/a.json"
    assert second.is_symlink()
    assert names_in(tmp_path) == ["far", "link", "second"]


def test_a_dangling_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("missing/a.json")
    write_text_atomic(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "missing/a.json").read_text() == "new"


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(BuildError, match="links that lead in a circle"):
        write_text_atomic(tmp_path / "a", "x")


def make_device(place: Path, minor: int) -> Path:
    """A device of memory of our own: 3 is /dev/null, 7 is /dev/full."""
    try:
        os.mknod(place, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
        place.open("wb").close()
    except PermissionError:  # a container may forbid either
        pytest.skip("devices cannot be made or used here")
    return place


@can_make_devices
def test_a_device_stays_a_device(tmp_path: Path) -> None:
    null = make_device(tmp_path / "null", 3)
    link = tmp_path / "link"
    link.symlink_to("null")
    for place in (null, link):
        write_text_atomic(place, "x" * 100)
    assert stat.S_ISCHR(null.stat().st_mode)
    assert link.is_symlink()
    assert names_in(tmp_path) == ["link", "null"]


@can_make_devices
def test_a_full_device_is_named(tmp_path: Path) -> None:
    full = make_device(tmp_path / "full", 7)
    with pytest.raises(BuildError, match=r"writing .*full: got a full disk"):
        write_text_atomic(full, "x" * 100)


def test_a_fifo_is_written_into(tmp_path: Path) -> None:
    fifo, read = tmp_path / "fifo", []
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()))
    reader.start()
    write_bytes_atomic(fifo, b"x" * 200_000)
    reader.join(10)
    assert read == [b"x" * 200_000]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_folder_and_a_socket_are_refused_by_their_name(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for place, kind in ((tmp_path, "a folder"), (tmp_path / "socket", "a socket")):
            for act in (check_output, lambda path: write_text_atomic(path, "x")):
                with pytest.raises(BuildError, match=f"writing {place}: got {kind}"):
                    act(place)
        assert names_in(tmp_path) == ["socket"]


PROGRAM = """
import sys
from pathlib import Path
from mahtrt.atomic import write_text_atomic
print("before")
write_text_atomic(Path(sys.argv[1]), "result\\n")
print("after")
"""


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("to_file", [True, False])
def test_standard_output_by_name_is_standard_output(
    tmp_path: Path, name: str, to_file: bool
) -> None:
    (tmp_path / "link").symlink_to(name)
    if to_file:  # the shell's redirection keeps its file
        (tmp_path / "program.py").write_text(PROGRAM)
        os.system(f"{sys.executable} {tmp_path}/program.py {tmp_path}/link > {tmp_path}/out")
        said = (tmp_path / "out").read_text()
    else:
        said = run_python("-c", PROGRAM, tmp_path / "link").stdout
    assert said == "before\nresult\nafter\n"
    assert (tmp_path / "link").is_symlink()


def test_a_closed_stream_is_refused(tmp_path: Path) -> None:
    program = "import os, sys; os.execv(sys.executable, [sys.executable, '-c', sys.argv[1]])"
    inner = (
        "import sys; from pathlib import Path; from mahtrt.destination import check_output\n"
        "try: check_output(Path('/dev/stdout'))\n"
        "except Exception as error: sys.stderr.write(str(error))"
    )
    closed = f"import os; os.close(1); {program}"
    assert "a stream that is closed" in run_python("-c", closed, inner).stderr


def test_a_place_is_judged_before_the_work(tmp_path: Path) -> None:
    check_output(tmp_path / "new/folder/a.json")
    assert names_in(tmp_path) == []
    (tmp_path / "file").write_text("x")
    with pytest.raises(BuildError, match="which is not a folder"):
        check_output(tmp_path / "file/a.json")
    assert find_destination(tmp_path / "file").target == tmp_path / "file"
