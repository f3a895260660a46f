"""The engine cache: same key, same engine; anything else is built, and the reason is named."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fork_server import ERRORS, Fault, counted

from mahtrt import scratch
from mahtrt.bundle.records import BuildFacts, EngineKey
from mahtrt.cache import cache_folder
from mahtrt.digest import sha256_of_bytes
from mahtrt.errors import InputError, MahtrtError
from mahtrt.schema import plain
from mahtrt.targets.tensorrt.cache import (
    CachedEngine,
    EngineCache,
    explain_difference,
    open_cache,
    read_timing_cache,
    write_timing_cache,
)

KEY = EngineKey(
    onnx_sha256="a" * 64,
    precision="fp16",
    flavour="tensorrt",
    tensorrt="10.16.1.11",
    platform="linux_x86_64",
    gpu="NVIDIA A10",
    compute_capabilities=("SM86",),
    cuda_driver="13.0",
    workspace_mib=None,
    optimization_level=3,
    hardware_compatibility="none",
)


FACTS = BuildFacts(5, "d" * 64, "off", 0.1, 0.9, (), (), {"CAST": 2}, (), None)


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "cache")


def put(
    cache: EngineCache,
    folder: Path,
    key: EngineKey = KEY,
    plan: bytes = b"plan",
    seconds: float = 1.0,
) -> CachedEngine:
    place = folder / "made.plan"
    place.write_bytes(plan)
    entry = CachedEngine(key, {"plan": sha256_of_bytes(plan)}, seconds, FACTS)
    cache.store(entry, {"plan": place})
    return entry


def test_the_same_key_gives_the_same_engine(cache: EngineCache, tmp_path: Path) -> None:
    assert cache.find(KEY) is None
    entry = put(cache, tmp_path, seconds=12.5)
    assert cache.find(replace(KEY)) == entry
    out = tmp_path / "out" / "model.plan"
    assert cache.take(entry, {"plan": out}) == "taken"
    assert out.read_bytes() == b"plan"


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("tensorrt", "11.4.0.106", "tensorrt (11.4.0.106 wanted, 10.16.1.11 cached)"),
        ("gpu", "NVIDIA L4", "gpu (NVIDIA L4 wanted, NVIDIA A10 cached)"),
        ("gpu", "", "gpu (none wanted, NVIDIA A10 cached)"),
        ("cuda_driver", "13.2", "cuda_driver (13.2 wanted, 13.0 cached)"),
        (
            "compute_capabilities",
            ("SM89", "SM120"),
            "compute_capabilities (SM89 SM120 wanted, SM86 cached)",
        ),
        ("workspace_mib", 512, "workspace_mib (512 wanted, default cached)"),
        ("optimization_level", None, "optimization_level (default wanted, 3 cached)"),
        ("plugin_sha256", "b" * 64, f"plugin_sha256 ({'b' * 64} wanted, none cached)"),
    ],
)
def test_any_other_key_misses_and_the_field_is_named(
    cache: EngineCache, tmp_path: Path, field: str, value: Any, said: str
) -> None:
    entry = put(cache, tmp_path)
    other = replace(KEY, **{field: value})
    assert cache.find(other) is None
    assert cache.nearest(other) == entry
    assert explain_difference(other, entry.key) == (said,)
    assert other.sha256 != KEY.sha256


def test_the_nearest_differs_least_and_is_of_the_same_graph(
    cache: EngineCache, tmp_path: Path
) -> None:
    put(cache, tmp_path, replace(KEY, onnx_sha256="c" * 64))
    put(cache, tmp_path, replace(KEY, flavour="tensorrt-rtx"))
    assert cache.nearest(KEY) is None
    put(cache, tmp_path, replace(KEY, gpu="NVIDIA L4", tensorrt="11.4.0.106"))
    near = put(cache, tmp_path, replace(KEY, gpu="NVIDIA L4"))
    assert cache.nearest(KEY) == near


def test_a_key_reads_as_what_it_is() -> None:
    data = json.loads(json.dumps(plain(KEY)))
    assert data["gpu"] == "NVIDIA A10"
    assert data["compute_capabilities"] == ["SM86"]
    assert data["schema"] == "mahtrt.engine-key/1"


@pytest.mark.parametrize("damage", [b"plam", b"pla", b"plan "])
def test_a_damaged_engine_is_never_used(cache: EngineCache, tmp_path: Path, damage: bytes) -> None:
    entry = put(cache, tmp_path)
    (stored,) = (cache.folder / "files").iterdir()
    stored.write_bytes(damage)
    out = tmp_path / "out" / "model.plan"
    assert cache.take(entry, {"plan": out}) == "damaged"
    assert not out.exists()
    assert cache.take(entry, {"plan": out}) == "gone"
    put(cache, tmp_path)
    assert cache.take(entry, {"plan": out}) == "taken"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"schema": "mahtrt.cached-engine/2"}',
        '{"schema": "mahtrt.cached-engine/1", "key": {}}',
    ],
)
def test_entries_that_cannot_be_read_are_none(
    cache: EngineCache, tmp_path: Path, text: str
) -> None:
    put(cache, tmp_path)
    (place,) = (cache.folder / "engines").iterdir()
    place.write_text(text)
    assert cache.find(KEY) is None
    assert cache.nearest(replace(KEY, gpu="")) is None


def test_an_entry_under_another_key_s_name_is_not_used(cache: EngineCache, tmp_path: Path) -> None:
    put(cache, tmp_path)
    (place,) = (cache.folder / "engines").iterdir()
    place.rename(place.with_name(f"{replace(KEY, gpu='').sha256}.json"))
    assert cache.find(replace(KEY, gpu="")) is None


def test_an_entry_cannot_point_out_of_the_cache(cache: EngineCache, tmp_path: Path) -> None:
    put(cache, tmp_path)
    (place,) = (cache.folder / "engines").iterdir()
    data = json.loads(place.read_text())
    place.write_text(json.dumps(data | {"files": {"plan": "../../made.plan"}}))
    assert cache.find(KEY) is None


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "cache", limit_bytes=250)
    entries = []
    for index in range(2):
        entries.append(
            put(cache, tmp_path, replace(KEY, workspace_mib=index + 1), bytes([index]) * 100)
        )
        os.utime(cache.folder / "files" / entries[-1].files["plan"], (index, index))
    out = tmp_path / "out.plan"
    assert cache.take(entries[0], {"plan": out}) == "taken"  # now the most recent
    entries.append(put(cache, tmp_path, replace(KEY, workspace_mib=3), b"c" * 100))
    outcomes = [cache.take(entry, {"plan": out}) for entry in entries]
    assert outcomes == ["taken", "gone", "taken"]
    # How long it took is known still.
    assert cache.find(entries[1].key) == entries[1]


def test_an_engine_over_the_limit_is_kept_once(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "cache", limit_bytes=10)
    entry = put(cache, tmp_path, plan=b"x" * 100)
    assert cache.take(entry, {"plan": tmp_path / "out.plan"}) == "taken"


def test_concurrent_builds_do_not_disturb_each_other(cache: EngineCache, tmp_path: Path) -> None:
    def build(number: int) -> None:
        folder = tmp_path / str(number)
        folder.mkdir()
        for round_ in range(5):
            put(EngineCache(cache.folder), folder, plan=bytes([number, round_]) * 1000)

    threads = [threading.Thread(target=build, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entry = cache.find(KEY)
    assert entry is not None
    assert cache.take(entry, {"plan": tmp_path / "out.plan"}) == "taken"
    assert not list(cache.folder.rglob(".*"))


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/srv/someone")
    assert cache_folder(tmp_path, {"MAHTRT_CACHE_DIR": "/elsewhere"}) == tmp_path
    both = {"MAHTRT_CACHE_DIR": "/elsewhere", "XDG_CACHE_HOME": "/xdg"}
    assert cache_folder(None, both) == Path("/elsewhere")
    assert cache_folder(None, {"XDG_CACHE_HOME": "/xdg"}) == Path("/xdg/mahtrt")
    assert cache_folder(None, {"XDG_CACHE_HOME": "relative"}) == Path("/srv/someone/.cache/mahtrt")
    assert cache_folder(None, {}) == Path("/srv/someone/.cache/mahtrt")


def test_a_cache_that_was_asked_for_must_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    inside = tmp_path / "file" / "cache"
    with pytest.raises(InputError, match=r"cache_dir: got .*Not a directory"):
        open_cache(inside)
    with pytest.raises(InputError, match=r"\$MAHTRT_CACHE_DIR: got"):
        open_cache(None, {"MAHTRT_CACHE_DIR": str(inside)})
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(InputError, match=r"cache folder .*got a folder that others") as caught:
        open_cache(tmp_path / "open")
    assert str(caught.value).count("expected") == 1


def test_a_cache_that_was_not_asked_for_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache, note = open_cache(None, {"XDG_CACHE_HOME": str(tmp_path / "file")})
    assert cache is None
    assert note.startswith("No engine cache: ")


def test_the_cache_is_the_user_s_alone(cache: EngineCache) -> None:
    assert cache.folder.stat().st_mode & 0o077 == 0


def test_timings_are_used_whole_or_not_at_all(cache: EngineCache) -> None:
    place = cache.timing_place(KEY)
    assert place.name == "tensorrt-10.16.1.11-linux_x86_64-NVIDIA_A10-SM86-cuda13.0.bin"
    assert read_timing_cache(place) == b""
    write_timing_cache(place, b"timings")
    assert read_timing_cache(place) == b"timings"
    place.write_bytes(place.read_bytes()[:-1])
    assert read_timing_cache(place) == b""


@pytest.mark.parametrize("error", ERRORS, ids=os.strerror)
def test_a_cache_whose_nth_change_fails_has_the_engine_whole_or_not_at_all(
    tmp_path: Path, error: int
) -> None:
    with counted(Fault()) as count:
        put(EngineCache(tmp_path / "usual"), tmp_path)
    for nth in range(1, count[0] + 1):
        scratch._swept.clear()
        folder = tmp_path / f"cache-{nth}"
        with contextlib.suppress(MahtrtError, OSError), counted(Fault(nth, error=error)):
            put(EngineCache(folder), tmp_path)
        scratch._swept.clear()
        cache, place = EngineCache(folder), tmp_path / "taken.plan"
        found = cache.find(KEY)
        assert found is None or cache.take(found, {"plan": place}) == "taken"
        put(cache, tmp_path)
        found = cache.find(KEY)
        assert found is not None
        assert cache.take(found, {"plan": place}) == "taken"
        assert [p for p in folder.rglob("*") if p.name.startswith(".")] == [], nth
