"""Writing whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from mahtrt.atomic import atomic_path, naming_place, write_text_atomic
from mahtrt.errors import BuildError


def write_and_raise(path: Path, error: BaseException) -> None:
    with atomic_path(path) as sibling:
        sibling.write_text("half")
        raise error


def test_a_file_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new/folder/a.json"
    with atomic_path(path) as sibling:
        assert sibling.suffix == ".json"
        sibling.write_text("x")
        assert not path.exists()
    assert path.read_text() == "x"
    write_text_atomic(path, "ä\n")
    assert path.read_bytes() == "ä\n".encode()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interruption_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    for place in (path, tmp_path / "new/b.txt"):
        with pytest.raises(error):
            write_and_raise(place, error())
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "old"


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    for code in (errno.ENOSPC, errno.EDQUOT):
        with (
            pytest.raises(BuildError, match=r"writing .*b\.txt: got a full disk") as caught,
            atomic_path(tmp_path / "new/b.txt"),
        ):
            raise OSError(code, "no space")
        assert caught.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BuildError, match="expected a folder that can be written"):
        write_text_atomic(tmp_path / "file/b.txt", "x")


def test_errors_about_other_files_pass_through(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), naming_place(tmp_path / "a"):
        raise PermissionError(errno.EACCES, "not allowed", "/elsewhere/calibration.png")
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a"):
        (tmp_path / "none").read_text()
