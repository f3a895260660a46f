"""The interface of the C library is the recorded one: programs compiled with it go on working."""

from __future__ import annotations

from pathlib import Path

import pytest
from native_abi import ABI, HEADER, compare_with, functions, layout, shell, structs
from native_library import needed

RECORDED = ABI / "libmahtrt.abi"


def test_the_functions_are_the_recorded_ones() -> None:
    assert functions() == (ABI / "symbols.txt").read_text().split()
    assert len(functions()) > 25


def test_sizes_offsets_and_constants_are_the_recorded_ones() -> None:
    """Where they were meant to grow: python tests/support/native_abi.py."""
    assert layout() == (ABI / "layout.txt").read_text()


def test_structs_that_the_caller_may_grow_begin_with_their_size() -> None:
    found = structs()
    assert len(found) == 7
    # Landmarks are an array; their size is an argument.
    assert {name for name, fields in found.items() if fields[0] != "size"} == {"mahtrt_landmark"}


def test_abidiff_finds_no_difference(tmp_path: Path) -> None:
    needed("abidiff")
    assert compare_with(RECORDED, shell(tmp_path)) == ""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("int32_t width, height;    /*", "int32_t depth; int32_t width, height; /*"),
        ("size_t row_bytes;  ", "uint32_t row_bytes;"),
        ("MAHTRT_API size_t mahtrt_batch", "MAHTRT_API int mahtrt_batch"),
        ("mahtrt_verify(const char *bundle)", "mahtrt_verify(const char *bundle, int how)"),
    ],
    ids=["inserted field", "smaller field", "other result", "new argument"],
)
def test_abidiff_finds_a_change(tmp_path: Path, old: str, new: str) -> None:
    needed("abidiff")
    text = HEADER.read_text(encoding="utf-8")
    assert text.count(old) == 1
    (tmp_path / "mahtrt.h").write_text(text.replace(old, new))
    assert compare_with(RECORDED, shell(tmp_path, tmp_path / "mahtrt.h"))
