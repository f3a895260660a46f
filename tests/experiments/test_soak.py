"""The soak sees what grows, and a few runs of an engine do not."""

from __future__ import annotations

import importlib.util
import mmap
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PLACE = Path(__file__).parents[2] / "experiments" / "soak.py"


@pytest.fixture(scope="module")
def soak() -> ModuleType:
    spec = importlib.util.spec_from_file_location("soak", PLACE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["soak"] = module
    spec.loader.exec_module(module)
    return module


def test_an_engine_opens_no_more_files_and_threads(soak: ModuleType, tiny_bundle: Path) -> None:
    running, opening = soak.soak(tiny_bundle, "onnxruntime", 100, 20)
    assert (running.times, opening.times) == (100, 20)
    for found in (running, opening):
        assert (found.end.files, found.end.threads) == (found.settled.files, found.settled.threads)


def test_what_keeps_memory_or_files_is_seen(soak: ModuleType, tmp_path: Path) -> None:
    kept: list[Any] = []

    def keep_memory() -> None:
        kept.append(mmap.mmap(-1, 500_000))  # not from what the allocator has left
        kept[-1].write(b"x" * 500_000)

    grown = soak._watched("x", "keeps memory", 40, keep_memory)
    assert not grown.is_steady
    assert grown.grown_bytes > 10_000_000
    (tmp_path / "a").touch()
    opened = soak._watched("x", "keeps files", 20, lambda: kept.append((tmp_path / "a").open()))
    assert not opened.is_steady
    assert opened.end.files == opened.settled.files + 15
    for each in kept:
        each.close()
