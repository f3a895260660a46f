"""Plain data to dataclasses."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

import pytest

from mahtrt.errors import IntegrityError, SpecError
from mahtrt.parsing import read_json
from mahtrt.schema import Between, Measured, check_schema, dataclass_from, plain


@dataclass(frozen=True, slots=True)
class Inner:
    size: tuple[int, int]
    rate: float = 1.0


@dataclass(frozen=True, slots=True)
class Outer:
    kind: Literal["a", "b"]
    inner: Inner
    many: tuple[Inner, ...] = ()
    text: str | None = None
    words: Mapping[str, str] = field(default_factory=dict)
    free: Mapping[str, Any] = field(default_factory=dict)
    moved: Measured = 0.0
    batch: Annotated[int, Between(1, 8)] | None = None
    anything: Any = None


def test_there_and_back() -> None:
    outer = Outer("b", Inner((1, 2), 2), (Inner((3, 4)),), "x", {"k": "v"}, {"n": [1, {"m": None}]})
    assert dataclass_from(Outer, asdict(outer), "here") == outer
    assert isinstance(dataclass_from(Outer, asdict(outer), "here").inner.rate, float)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, "here: got unknown field 'colour'; expected fields kind, inner"),
        ({"kind": "c"}, "here: kind: got 'c'; expected one of a, b"),
        ({"inner": {}}, "here: inner: got no field 'size'"),
        ({"inner": 3}, "here: inner: got int; expected a table for Inner"),
        ({"inner": {"size": [1]}}, "here: inner: size: got 1 values; expected 2 values"),
        ({"inner": {"size": [1, True]}}, r"size\[1\]: got True; expected a value of type int"),
        ({"inner": {"size": [1, 2], "rate": "1"}}, "rate: got '1'; expected a value of type float"),
        ({"inner": {"size": [1, 2], "rate": None}}, "rate: got None; expected a value of type flo"),
        ({"moved": "1"}, "here: moved: got '1'; expected a value of type float"),
        ({"many": {}}, "here: many: got {}; expected a list"),
        ({"many": [{"size": 1}]}, r"here: many\[0\]: size: got 1; expected a list"),
        ({"text": 1}, "here: text: got 1; expected a value of type str"),
        ({"words": []}, r"here: words: got \[\]; expected a table"),
        ({"inner": {"size": [1, 2**63]}}, r"size\[1\]: got a number of 64 bits; expected at most"),
        ({"inner": {"size": [1, 2], "rate": math.nan}}, "rate: got nan; expected a finite number"),
        ({"inner": {"size": [1, 2], "rate": 10**400}}, "rate: got a number of 1329 bits"),
        ({"moved": -math.inf}, "moved: got -inf; expected a finite number"),
        ({"batch": 0}, "batch: got 0; expected a number from 1 to 8"),
        ({"batch": 9}, "batch: got 9; expected a number from 1 to 8"),
        ({"text": "a\x1b[2J"}, r"text: got 'a\\x1b\[2J'; expected text without control characters"),
        ({"text": "a\nb"}, "text without control characters"),
        ({"text": "\ud800"}, "text without control characters"),
        ({"text": "\u202egnp.exe"}, "text without control characters"),
        ({"text": "x" * 65_537}, "text: got 65537 characters; expected at most 65536"),
        ({"words": {"\x1b": "v"}}, "words: got '\\\\x1b'; expected text without control"),
        ({"words": {1: "v"}}, "words: got the name 1; expected names that are text"),
        ({"free": {"n": [{"m": math.inf}]}}, r"free\.n\[0\]\.m: got inf; expected a finite number"),
        ({"anything": {1, 2}}, "expected a value that JSON has"),
        ({"many": [{"size": [1, 1]}] * 1_000_001}, "many: got 1000001 values; expected at most"),
        ({"x" * 10_000: 1}, "unknown field 'x{30,40}[.]{3}x{30,40}'; expected fields"),
        ({"words": {"k": 1}}, r"here: words\.k: got 1; expected a value of type str"),
    ],
)
def test_wrong_data_names_the_field(change: dict[str, Any], message: str) -> None:
    data = {"kind": "a", "inner": {"size": [1, 2]}, **change}
    for error in (SpecError, IntegrityError):
        with pytest.raises(error, match=message):
            dataclass_from(Outer, data, "here", error=error)


def test_a_message_about_a_huge_value_is_short() -> None:
    data = {"kind": "a", "inner": {"size": [1, 2]}, "many": {"x" * 10**6: ["y" * 10**6] * 100}}
    with pytest.raises(SpecError) as caught:
        dataclass_from(Outer, data, "here")
    assert len(str(caught.value)) < 300


def test_a_number_that_python_does_not_write_is_named() -> None:
    with pytest.raises(SpecError, match="got a huge number; expected one of a, b"):
        dataclass_from(Outer, {"kind": 16**5000, "inner": {"size": [1, 2]}}, "here")


def test_control_characters_are_written_out_and_can_be_read_again() -> None:
    outer = Outer("a", Inner((1, 2)), text="a\x1b[31m\nb\udcff", words={"\t": "\x9b"})
    data = plain(outer)
    assert data["text"] == r"a\x1b[31m\nb\xff"
    assert data["words"] == {r"\t": r"\x9b"}
    dataclass_from(Outer, data, "here")
    kept = "Prüfung 5\u00a0mm, 頭部 👩\u200d⚕️"
    assert plain(kept) == kept


def test_a_measured_number_that_is_null_is_infinite() -> None:
    data = plain(Outer("a", Inner((1, 2)), moved=math.nan))
    assert data["moved"] is None
    assert dataclass_from(Outer, data, "here").moved == math.inf


def test_schemas() -> None:
    check_schema("x/1", "x/1", "here")
    check_schema("x/1", "x/3", "here")
    for got in (
        "x/2",
        "y/1",
        "x",
        "",
        "x/0",
        "x/-1",
        "x/²",
        "x/1 ",
        "x/01",
        "x/" + "9" * 5000,
        "None",
    ):
        with pytest.raises(IntegrityError, match="expected x/1"):
            check_schema(got, "x/1", "here")
    with pytest.raises(IntegrityError, match="expected x/1 to x/3"):
        check_schema("x/4", "x/3", "here")


def test_plain_data_are_what_json_has() -> None:
    outer = Outer("b", Inner((1, 2), float("nan")), (Inner((3, 4)),), free={"n": (1, float("inf"))})
    text = json.dumps(plain(outer), allow_nan=False)
    assert read_json(text, "here", "a table") == {
        "kind": "b",
        "inner": {"size": [1, 2], "rate": None},
        "many": [{"size": [3, 4], "rate": 1.0}],
        "text": None,
        "words": {},
        "free": {"n": [1, None]},
        "moved": 0.0,
        "batch": None,
        "anything": None,
    }
