"""Regular files are read whole and once; everything else is refused without waiting."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from mahtrt.errors import DataError
from mahtrt.reading import Wanted, open_regular, read_regular

WANTED = Wanted("a table", DataError, "Name another file.")


def test_content_comes_back_through_a_link_too(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("a")
    assert read_regular(tmp_path / "a", WANTED, 5) == b"12345"
    with open_regular(tmp_path / "link", WANTED) as file:
        assert file.read() == b"12345"


def test_a_larger_file_is_refused_with_both_sizes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    with pytest.raises(DataError, match=r"got 5 bytes, of at most 4; expected a table\. Name"):
        read_regular(tmp_path / "a", WANTED, 4)


def test_a_file_that_says_it_is_empty_and_is_not_is_bounded_too() -> None:
    endless = Path("/proc/self/maps")  # its size is given as 0
    if not endless.exists():
        pytest.skip("needs /proc")
    with pytest.raises(DataError, match="over 16 bytes"):
        read_regular(endless, WANTED, 16)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    kinds = {"fifo": "a FIFO", "link": "a FIFO", "folder": "a folder", "socket": "a socket"}
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(tmp_path / "socket"))  # absolute ones are often too long
        for name, kind in kinds.items():
            with pytest.raises(DataError, match=f"{name}: got {kind}; expected a table"):
                open_regular(tmp_path / name, WANTED)
    with pytest.raises(DataError, match="got a character device"):
        read_regular(Path("/dev/zero"), WANTED, 10)


def test_a_fifo_that_took_the_files_place_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"1")
    real = os.stat(tmp_path / "a")
    os.mkfifo(tmp_path / "fifo")
    monkeypatch.setattr(os, "stat", lambda path: real)
    with pytest.raises(DataError, match="a FIFO"):
        open_regular(tmp_path / "fifo", WANTED)


def test_a_path_without_a_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing: got no such file; expected a table"):
        open_regular(tmp_path / "nothing", WANTED)
    with pytest.raises(DataError, match="null"):
        open_regular(tmp_path / "a\0b", WANTED)
