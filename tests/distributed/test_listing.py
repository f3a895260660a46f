"""What an archive holds: every file of it comes, and what cannot be looked into says so."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from dicom_files import write_dicom

from mahtrt.distributed.digest_set import DigestSet
from mahtrt.distributed.listing import ListedFile, check_archives, files_of
from mahtrt.distributed.loading import Failed, LoadedFile, Loader, PassedOver
from mahtrt.distributed.spacings import Spacings
from mahtrt.distributed.storage import text_of_location
from mahtrt.errors import DataError, MissingComponentError, UsageError


def listed(*archives: Path | str) -> list[str]:
    return [each.location for each in files_of([str(each) for each in archives])]


def rows_of_file(file: ListedFile, done: DigestSet | None = None) -> list[tuple[str, str]]:
    """Name and message of each error; nothing of a file that is passed over."""
    loaded = Loader(done or DigestSet(), Spacings(None)).load(file)
    if isinstance(loaded, PassedOver):
        return []
    failed = [each for each in loaded.images if isinstance(each, Failed)]
    assert {each.facts.file for each in failed} <= {loaded.called}
    return [(each.facts.image, f"{type(each.error).__name__}: {each.error}") for each in failed]


@pytest.mark.parametrize(
    ("first", "is_header"),
    [("IM0001", False), ("1.2.840.99", False), ("file", True), ("images", True), ("a.png", False)],
)
def test_a_first_row_that_names_a_file_is_no_header(
    tmp_path: Path, first: str, is_header: bool
) -> None:
    (tmp_path / "images").mkdir()
    for name in ("IM0001", "1.2.840.99"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "list.csv").write_text(f"{first}\nlast\n")
    names = ["last"] if is_header else [first, "last"]
    assert listed(tmp_path / "list.csv") == [str(tmp_path / name) for name in names]


def test_a_list_in_a_store_has_a_header_only_where_there_is_no_such_file() -> None:
    store = fsspec.filesystem("memory")
    store.pipe_file("/lists/IM1", b"x")
    store.pipe_file("/lists/image/IM2", b"x")
    store.pipe_file("/lists/one.csv", b"IM1\nlast\n")
    store.pipe_file("/lists/two.csv", b"image\nlast\n")
    place = "memory://lists"
    assert listed(f"{place}/one.csv") == [f"{place}/IM1", f"{place}/last"]
    assert listed(f"{place}/two.csv") == [f"{place}/last"]
    store.rm("/lists", recursive=True)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://user:secret@127.0.0.1/a.png",
        "HTTPS://user:secret@host/a.png",
        "simplecache::ftp://user:secret@host/a.png",
    ],
)
def test_a_url_with_a_user_is_refused_in_a_list_too(tmp_path: Path, url: str) -> None:
    (tmp_path / "list.csv").write_text(f"a.png\n{url}\n")
    with pytest.raises(UsageError, match=r"list\.csv row 2: a URL of") as caught:
        listed(tmp_path / "list.csv")
    assert "secret" not in str(caught.value)
    with pytest.raises(UsageError):
        text_of_location(url)


def test_a_bad_url_is_a_row_with_its_error() -> None:
    unknown, silent = "foo://bucket/x.png", "ftp://127.0.0.1:1/a.png"  # nobody listens there
    assert rows_of_file(ListedFile(unknown)) == [
        (unknown, f"ImageError: {unknown}: got the protocol foo; expected one that fsspec knows")
    ]
    ((name, told),) = rows_of_file(ListedFile(silent))
    assert name == silent
    assert told.startswith(f"ImageError: {silent}: got ")
    assert rows_of_file(ListedFile(unknown), DigestSet([unknown])) == []
    with pytest.raises(DataError, match=r"127\.0\.0\.1:1"):
        check_archives([silent])


def test_a_store_whose_package_is_missing_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(protocol: str) -> None:
        raise ImportError(f"Install {protocol}fs")

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    with pytest.raises(MissingComponentError, match=r"s3://bucket/x\.png: got Install s3fs"):
        rows_of_file(ListedFile("s3://bucket/x.png"))


def test_what_may_not_be_read_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder and a file without an ending; empty files and links to folders are no images."""
    top = tmp_path / "archive"
    (top / "patient name").mkdir(parents=True)
    write_dicom(top / "IM1", np.zeros((4, 4), np.uint8))
    (top / "empty").touch()
    (top / "gone").symlink_to(tmp_path / "nowhere")
    (top / "link").symlink_to(tmp_path)
    (top / "shut").write_bytes(b"x" * 200)
    scandir, opened = os.scandir, os.open

    def refuse(place: Any) -> None:
        if os.fspath(place) in (str(top / "patient name"), str(top / "shut")):
            raise PermissionError(13, "Permission denied", place)

    def open_or_refuse(place: Any, *args: Any, **named: Any) -> int:
        refuse(place)
        return opened(place, *args, **named)

    def scan_or_refuse(place: Any) -> Any:
        refuse(place)
        return scandir(place)

    monkeypatch.setattr(os, "scandir", scan_or_refuse)
    monkeypatch.setattr(os, "open", open_or_refuse)
    found = list(files_of([str(top)]))
    assert {Path(each.location).name for each in found} == {
        *("IM1", "empty", "gone", "link", "shut", "patient name")
    }
    told = {Path(each.location).name: rows_of_file(each) for each in found}
    assert [name for name in told if told[name]] == ["shut", "patient name"]
    for name in ("shut", "patient name"):
        ((called, message),) = told[name]
        assert "Permission denied" in message
        assert message.startswith(f"ImageError: {called}: got ")
        assert name not in called + message
    assert isinstance(Loader(DigestSet(), Spacings(None)).load(found[2]), LoadedFile)
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)
        with pytest.raises(DataError, match="may be read"):
            check_archives([str(top)])


def test_what_a_store_refuses_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prefix and an object without an ending, without the store's words, which quote names."""
    store = fsspec.filesystem("memory")
    store.pipe_file("/shelf/a/1.png", b"x")
    store.pipe_file("/shelf/b/2.png", b"x")
    store.pipe_file("/shelf/empty", b"")
    store.pipe_file("/shelf/shut", b"x" * 200)
    listing, opened, reading = type(store).ls, type(store).open, type(store).cat_file

    def refuse(path: str) -> None:
        if path.rstrip("/").endswith(("/shelf/a", "/shut")):
            raise PermissionError(f"403 for {path}")

    def ls(self: Any, path: str, *args: Any, **named: Any) -> Any:
        refuse(path)
        return listing(self, path, *args, **named)

    def open_object(self: Any, path: str, *args: Any, **named: Any) -> Any:
        refuse(path)
        return opened(self, path, *args, **named)

    def cat_file(self: Any, path: str, *args: Any, **named: Any) -> Any:
        refuse(path)
        return reading(self, path, *args, **named)

    for name, made in (("ls", ls), ("open", open_object), ("cat_file", cat_file)):
        monkeypatch.setattr(type(store), name, made)
    found = list(files_of(["memory://shelf"]))
    assert [each.location.rpartition("/")[2] for each in found] == ["empty", "shut", "a", "2.png"]
    (folder,) = (each for each in found if each.problem)
    chosen = [rows_of_file(each) for each in (found[1], folder)]
    for ((name, told),) in chosen:
        assert "PermissionError" in told
        assert told.startswith(f"ImageError: {name}: got ")
        assert "403" not in told
        assert "shut" not in told
    assert rows_of_file(found[0]) == []
    monkeypatch.undo()
    store.rm("/shelf", recursive=True)
