"""Names that others chose, kept in results and shown on terminals."""

from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mahtrt.names import text_of_path, visible


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain näme (2) 頭.png", "plain näme (2) 頭.png"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31mred", r"\x9b31mred"),
        ("two\nlines\r\t", r"two\nlines\r\t"),
        ("gnp.\u202eexe", r"gnp.\u202eexe"),
        (os.fsdecode(b"caf\xe9.png"), r"caf\xe9.png"),
        ("half \ud83d", r"half \ud83d"),
        ("\x00\x7f", r"\x00\x7f"),
    ],
)
def test_what_acts_on_a_terminal_is_shown_as_its_escape(name: str, shown: str) -> None:
    assert visible(name) == shown


@given(st.text())
def test_nothing_that_is_shown_is_a_control_character(text: str) -> None:
    assert {unicodedata.category(c) for c in visible(text)}.isdisjoint({"Cc", "Cs", "Zl", "Zp"})


def test_half_a_character_of_a_path_becomes_its_escape() -> None:
    assert text_of_path("a\ud800b\udc00\udce9.png") == r"a\ud800b\udc00\xe9.png"


@given(st.binary(min_size=1))
def test_a_path_is_a_text_that_every_file_can_hold(name: bytes) -> None:
    text_of_path(os.fsdecode(name)).encode("utf-8")


def test_a_path_stays_what_it_is_where_it_is_text() -> None:
    assert text_of_path("a\nä\x1b.png") == "a\nä\x1b.png"
    assert text_of_path(os.fsdecode(b"caf\xe9.png")) == r"caf\xe9.png"
