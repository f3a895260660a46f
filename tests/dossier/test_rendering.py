from __future__ import annotations

import pytest

from mahtrt.dossier.rendering import cell, interval, number


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("a|b", r"a\|b"),
        ("two\nlines", "two lines"),
        ("<script>", r"\<script>"),
        ("[x](y)", r"\[x](y)"),
        ("\x1b[0m", r"\\x1b\[0m"),
        (3, "3"),
    ],
)
def test_no_text_ends_its_cell(given: object, written: str) -> None:
    assert cell(given) == written


def test_numbers_have_units_and_what_is_not_known_says_so() -> None:
    assert number(0.12345678, "px") == "0.1235 px"
    assert number(None, "px") == "not known"
    assert number(float("inf"), "px") == "infinite"
    assert interval((0.1, 0.25), "mm") == "[0.1, 0.25] mm"
    assert interval(None) == ""
