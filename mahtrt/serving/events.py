"""What a service tells of itself: one event a line, without pixels and without names of patients.

Objects are told apart by the first letters of a digest. An AE title and an address are those of
machines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from mahtrt.names import visible

Fact = str | int | float | bool


@dataclass(frozen=True, slots=True)
class ServeEvent:
    """Something that happened.

    Attributes:
        name: What, e.g. ``received``; docs/dicom.md lists them.
        facts: What there is to know of it.
    """

    name: str
    facts: Mapping[str, Fact] = field(default_factory=dict)


class Tell(Protocol):
    """Somebody who is told; called from several threads."""

    def __call__(self, event: ServeEvent, /) -> None:
        """Take note."""


def unheard(event: ServeEvent, /) -> None:
    """Nobody listens."""


def text_line(event: ServeEvent, at: datetime | None = None) -> str:
    """``time=… event=… key=value …``; texts with spaces stand in quotation marks."""
    pairs = {"time": _stamp(at), "event": event.name, **event.facts}
    return " ".join(f"{key}={_value(value)}" for key, value in pairs.items())


def json_line(event: ServeEvent, at: datetime | None = None) -> str:
    """The event as a JSON object in one line."""
    return json.dumps({"time": _stamp(at), "event": event.name, **event.facts}, ensure_ascii=True)


def short(digest: str) -> str:
    """As much of a digest as tells the objects of a queue apart."""
    return digest[:12]


def _stamp(at: datetime | None) -> str:
    return (at or datetime.now(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _value(value: Fact) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    text = visible(str(value))
    plain = text and not any(c in ' ="\\' for c in text)
    return text if plain else json.dumps(text, ensure_ascii=False)
