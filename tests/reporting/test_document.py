"""Numbers with the place they come from."""

from __future__ import annotations

import pytest

from mahtrt.errors import DataError
from mahtrt.reporting.document import At, Number, number_text


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (13.378, "ms", "13.4"),
        (0.5, "ms", "0.50"),
        (9.996, "ms", "10.0"),
        (99.96, "ms", "100"),
        (123.4, "ms", "123"),
        (0.03455, "px", "0.035"),
        (0.9912, "share", "99.1%"),
        (98.76, "percent", "98.8%"),
        (3.237, "factor", "3.24×"),  # noqa: RUF001 - the multiplication sign
        (7, "count", "7"),
        (3.2109e-5, "small", "3.21e-05"),
        (7.62939453125e-06, "plain", "7.62939e-06"),
        (None, "ms", "–"),  # noqa: RUF001 - the dash
        (float("inf"), "px", "not finite"),
    ],
)
def test_a_number_has_the_digits_of_its_kind(value: float | None, kind: str, text: str) -> None:
    assert number_text(value, kind) == text  # type: ignore[arg-type]


def test_signs_are_written_where_they_say_something() -> None:
    assert number_text(0.0021, "mm", signed=True) == "+0.002"
    assert number_text(-0.0021, "mm", signed=True) == "\N{MINUS SIGN}0.002"
    assert number_text(-0.0001, "mm", signed=True) == "0.000"


def test_a_number_knows_its_place() -> None:
    place = At({"rows": [{"a/b~c": 1.5}]}, "", "report")
    number = place["rows"][0].number("a/b~c", "mm")
    assert number == Number(1.5, "/rows/0/a~1b~0c", "mm")
    assert 'data-at="/rows/0/a~1b~0c"' in number.__html__()
    assert 'value="1.5"' in number.__html__()


@pytest.mark.parametrize(
    ("document", "read", "said"),
    [
        ({}, lambda at: at["rows"], "report: the document: got {}; expected a value at 'rows'"),
        ({"a": "x"}, lambda at: at.number("a", "ms"), "/a: got 'x'; expected a number"),
        ({"a": True}, lambda at: at.number("a", "ms"), "/a: got True; expected a number"),
        ({"a": 1}, lambda at: at.text("a"), "/a: got 1; expected a text"),
        ({"a": 1}, lambda at: at.flag("a"), "/a: got 1; expected true or false"),
        ({"a": 1}, lambda at: list(at["a"].items()), "/a: got 1; expected a list"),
        ([], lambda at: at.get("a"), "got []; expected an object"),
    ],
)
def test_a_value_that_no_bench_writes_is_refused(document: object, read: object, said: str) -> None:
    with pytest.raises(DataError) as error:
        read(At(document, "", "report"))  # type: ignore[operator]
    assert said in str(error.value)


def test_what_is_not_there_is_told_from_what_is_wrong() -> None:
    place = At({"a": None}, "", "report")
    assert place.get("a") is None
    assert place.number("a", "ms").value is None
    assert place.number("b", "ms").value is None
    assert place.text("b", "none") == "none"
    assert not place.flag("b")
