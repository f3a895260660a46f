"""Plain data to dataclasses."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pytest

from mahtrt.errors import IntegrityError, SpecError
from mahtrt.schema import Measured, check_schema, dataclass_from, plain, read_json


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
        ({"words": {"k": 1}}, r"here: words\.k: got 1; expected a value of type str"),
    ],
)
def test_wrong_data_names_the_field(change: dict[str, Any], message: str) -> None:
    data = {"kind": "a", "inner": {"size": [1, 2]}, **change}
    for error in (SpecError, IntegrityError):
        with pytest.raises(error, match=message):
            dataclass_from(Outer, data, "here", error=error)


def test_a_measured_number_that_is_null_is_infinite() -> None:
    data = plain(Outer("a", Inner((1, 2)), moved=math.nan))
    assert data["moved"] is None
    assert dataclass_from(Outer, data, "here").moved == math.inf


def test_schemas() -> None:
    check_schema("x/1", "x/1", "here")
    check_schema("x/1", "x/3", "here")
    for got in ("x/2", "y/1", "x", "", "x/0", "x/-1", "x/²", "None"):
        with pytest.raises(IntegrityError, match="expected x/1"):
            check_schema(got, "x/1", "here")
    with pytest.raises(IntegrityError, match="expected x/1 to x/3"):
        check_schema("x/4", "x/3", "here")


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        (b"\xff", "can't decode"),
        ('{"a": NaN}', "NaN, which JSON does not have"),
        ('{"a": [-Infinity]}', "-Infinity, which JSON does not have"),
        ('[{"a": 1, "b": 2, "a": 3}]', "field 'a' twice"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_json_that_cannot_be_used(text: str | bytes, got: str) -> None:
    with pytest.raises(IntegrityError, match=f"here: got text that is not JSON .*{got}") as caught:
        read_json(text, "here", "a table", error=IntegrityError, fix="Copy it again.")
    assert str(caught.value).endswith("expected a table. Copy it again.")


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
    }
