"""Rows of a bench's JSON, as the sections of a page take them."""

from __future__ import annotations

from collections.abc import Iterator

from mahtrt.reporting.blocks import Between, Status, Words, words
from mahtrt.reporting.document import At, Kind


def rows_of(bench: At, scope: str) -> Iterator[At]:
    """The rows of a scope, in their order."""
    return (row for row in bench["rows"].items() if row.text("scope") == scope)


def label_of(row: At) -> str:
    """What a row is called."""
    name = row.text("name")
    if row.flag("reference"):
        return f"{name} {row.text('precision')}"
    return name if row.text("measured_on") in ("", "engine") else f"{name} (graph)"


def is_engine(row: At) -> bool:
    """Whether the row is of an engine of the bundle."""
    return not (row.flag("reference") or row.flag("peer"))


def default_name(bench: At) -> str:
    """Name of the engine that the latency was judged of."""
    return bench["verdict"].text("latency_engine")


def row_named(bench: At, name: str, scope: str) -> At | None:
    """The row of a name in a scope, or None."""
    return next((row for row in rows_of(bench, scope) if row.text("name") == name), None)


def gate_of(row: At) -> Status:
    """What the accuracy gate said of a row."""
    if row.flag("peer"):
        return Status("peer", "quiet")
    if row.get("verdict") is None:
        return Status("reference", "quiet")
    return Status("passed", "pass") if row["verdict"].flag("passed") else Status("failed", "fail")


def between(place: At, key: str, kind: Kind, *, signed: bool = False) -> Between | None:
    """The interval behind a key, or None."""
    pair = place.get(key)
    if pair is None:
        return None
    return Between(pair.number(0, kind, signed=signed), pair.number(1, kind, signed=signed))


def with_interval(place: At, key: str, kind: Kind, interval: str, *, signed: bool = False) -> Words:
    """A number with its interval, as far as they are there."""
    number = place.number(key, kind, signed=signed)
    if number.value is None:
        return words()
    around = between(place, interval, kind, signed=signed)
    return words(number) if around is None else words(number, " ", around)
