"""The cache folder: for its user alone, because engines in it are code."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mahtrt.cache import make_private
from mahtrt.errors import InputError
from mahtrt.planning.store import LandmarkStore, StoredLandmarks, usable_cache
from mahtrt.targets.tensorrt.cache import EngineCache, open_cache

FOUND = StoredLandmarks(np.zeros((1, 2, 2)), np.ones((1, 2)))


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def old_umask() -> Iterator[int]:
    before = os.umask(0)
    yield before
    os.umask(before)


def test_every_folder_that_is_made_is_the_user_s_alone(tmp_path: Path, old_umask: int) -> None:
    made = make_private(tmp_path / "a/b/mahtrt")
    assert [mode_of(path) for path in (made, made.parent, made.parent.parent)] == [0o700] * 3
    LandmarkStore(tmp_path / "sensitivities").write({"a": 1}, FOUND)
    EngineCache(tmp_path / "engines")
    for folder in ("sensitivities", "sensitivities/sensitivity", "engines", "engines/timing"):
        assert mode_of(tmp_path / folder) == 0o700


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777, 0o1777])
def test_a_folder_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "cache"
    EngineCache(folder)
    folder.chmod(mode)
    message = f"cache: got a folder that others may write .mode {mode:04o}.*chmod go-w"
    with pytest.raises(InputError, match=message):
        EngineCache(folder)
    with pytest.raises(InputError, match="a folder that others may write"):
        open_cache(folder)
    with pytest.raises(InputError, match="a folder that others may write"):
        open_cache(None, {"MAHTRT_CACHE_DIR": str(folder)})
    with pytest.raises(InputError, match=message):
        LandmarkStore(folder)


def test_a_usual_cache_that_others_may_write_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "mahtrt").mkdir(mode=0o700)
    (tmp_path / "mahtrt").chmod(0o777)
    cache, note = open_cache(None, {"XDG_CACHE_HOME": str(tmp_path)})
    assert cache is None
    assert "a folder that others may write" in note


@pytest.mark.parametrize("place", ["mahtrt", "mahtrt/sensitivity"])
def test_sensitivities_do_without_a_usual_cache_that_others_may_write(
    tmp_path: Path, place: str
) -> None:
    usual = {"XDG_CACHE_HOME": str(tmp_path)}
    assert usable_cache(None, usual) == (tmp_path / "mahtrt", "")
    (tmp_path / place).chmod(0o775)
    folder, note = usable_cache(None, usual)
    assert folder is None
    assert "Sensitivities are not kept: " in note
    assert "a folder that others may write (mode 0775)" in note
    for given, environment in (
        (tmp_path / "mahtrt", {}),
        (None, {"MAHTRT_CACHE_DIR": str(tmp_path / "mahtrt")}),
    ):
        with pytest.raises(InputError, match="a folder that others may write"):
            usable_cache(given, environment)


def test_a_folder_within_the_cache_counts_too(tmp_path: Path) -> None:
    EngineCache(tmp_path / "cache")
    (tmp_path / "cache/files").chmod(0o777)
    with pytest.raises(InputError, match="files: got a folder that others may write"):
        EngineCache(tmp_path / "cache")


def test_others_may_read(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(mode=0o755)
    (tmp_path / "cache").chmod(0o755)
    make_private(tmp_path / "cache")


def test_a_folder_above_counts_but_for_a_sticky_one(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    make_private(shared / "mine")
    shared.chmod(0o777)
    with pytest.raises(InputError, match="shared: got a folder that others may write"):
        make_private(shared / "mine")
    link = tmp_path / "link"
    link.symlink_to(shared / "mine")
    with pytest.raises(InputError, match="shared: got a folder that others may write"):
        make_private(link)


def test_a_folder_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_private(tmp_path / "cache")
    if os.geteuid() == 0:
        os.chown(folder, 12_345, 12_345)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12_345)
    with pytest.raises(InputError, match=r"got a folder of user \d+; expected one of user \d+"):
        EngineCache(folder)
    with pytest.raises(InputError, match="a folder of user"):
        LandmarkStore(folder)


def test_a_cache_of_root_may_be_used_by_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root makes folders of root")
    folder = make_private(tmp_path / "cache")
    monkeypatch.setattr(os, "geteuid", lambda: 12_345)
    assert make_private(folder) == folder


def test_a_fifo_among_what_is_kept_is_as_good_as_nothing(tmp_path: Path) -> None:
    store = LandmarkStore(tmp_path / "cache")
    store.write({"a": 1}, FOUND)
    (kept,) = (tmp_path / "cache/sensitivity").iterdir()
    assert store.read({"a": 1}) is not None
    kept.unlink()
    os.mkfifo(kept)
    assert store.read({"a": 1}) is None
