"""Values of a JSON document with the place that each comes from.

A page must not show a number that the document behind it does not hold. So nothing on a page is
computed while it is drawn: every number is a :class:`Number`, which knows where in the document it
stands (a JSON pointer, RFC 6901) and writes that beside itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

from mahtrt.errors import DataError, shown

Kind = Literal[
    "ms",
    "px",
    "mm",
    "deg",
    "ratio",
    "percent",
    "share",
    "count",
    "factor",
    "mib",
    "megabytes",
    "rate",
    "small",
    "plain",
]

# Digits behind the point; None for three significant ones. A share is
# shown in percent, bytes in megabytes.
_DECIMALS: Mapping[str, int | None] = {
    "share": 1,
    "ms": None,
    "px": 3,
    "mm": 3,
    "deg": 3,
    "ratio": 3,
    "percent": 1,
    "count": 0,
    "factor": 2,
    "mib": 0,
    "megabytes": 1,
    "rate": None,
}
_SCALE: Mapping[str, float] = {"share": 100.0, "megabytes": 1e-6}
_SUFFIX: Mapping[str, str] = {"percent": "%", "share": "%", "factor": "\N{MULTIPLICATION SIGN}"}
NOTHING = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, slots=True)
class Number:
    """A number of a document, as a page shows it.

    Attributes:
        value: The number, None where the document has none.
        pointer: Where it stands in the document.
        kind: What it measures, which decides its digits.
        signed: Whether a plus is written.
    """

    value: float | None
    pointer: str
    kind: Kind
    signed: bool = False

    @property
    def text(self) -> str:
        """The number as a reader sees it, without a unit."""
        return number_text(self.value, self.kind, signed=self.signed)

    def __html__(self) -> str:
        if self.value is None:
            return f'<span class="none">{NOTHING}</span>'
        return (
            f'<data value="{self.value!r}" data-at="{escape(self.pointer)}" '
            f'data-kind="{self.kind}{"+" if self.signed else ""}">{self.text}</data>'
        )


def number_text(value: float | None, kind: Kind, *, signed: bool = False) -> str:
    """A number with the digits of its kind.

    Args:
        value: None for a number that is not known.
    """
    if value is None:
        return NOTHING
    if not math.isfinite(value):
        return "not finite"
    size = abs(value) * _SCALE.get(kind, 1.0)
    text = _digits(size, kind)
    is_zero = float(text) == 0
    sign = _MINUS if value < 0 and not is_zero else ("+" if signed and not is_zero else "")
    return f"{sign}{text}{_SUFFIX.get(kind, '')}"


def _digits(size: float, kind: Kind) -> str:
    """A number that is not negative."""
    if kind == "small":
        return f"{size:.3g}"
    if kind == "plain":
        return f"{size:.6g}" if isinstance(size, float) else str(size)
    decimals = _DECIMALS[kind]
    return f"{size:.{_for_three_digits(size) if decimals is None else decimals}f}"


def _for_three_digits(size: float) -> int:
    if size >= 99.95:
        return 0
    return 1 if size >= 9.995 else 2


@dataclass(frozen=True, slots=True)
class At:
    """A place in a document.

    Attributes:
        value: What stands there.
        pointer: The place as a JSON pointer, "" for the whole.
        where: Name of the document, for messages.
    """

    value: Any
    pointer: str
    where: str

    def __getitem__(self, key: str | int) -> At:
        """The value behind a key or an index.

        Raises:
            DataError: There is none.
        """
        try:
            inner = self.value[key]
        except (KeyError, IndexError, TypeError) as error:
            raise self._wrong(f"a value at {key!r}") from error
        name = str(key).replace("~", "~0").replace("/", "~1")
        return At(inner, f"{self.pointer}/{name}", self.where)

    def get(self, key: str) -> At | None:
        """The value behind a key; None where there is none, or null."""
        if not isinstance(self.value, Mapping):
            raise self._wrong("an object")
        return None if self.value.get(key) is None else self[key]

    def items(self) -> Iterator[At]:
        """The items of a list, in their order."""
        if not isinstance(self.value, list):
            raise self._wrong("a list")
        return (self[index] for index in range(len(self.value)))

    def keys(self) -> tuple[str, ...]:
        """The keys of an object, in their order."""
        if not isinstance(self.value, Mapping):
            raise self._wrong("an object")
        return tuple(self.value)

    def number(self, key: str | int, kind: Kind, *, signed: bool = False) -> Number:
        """The number behind a key; one without a value where there is none, or null."""
        if isinstance(key, str) and self.get(key) is None:
            return Number(None, f"{self.pointer}/{key}", kind, signed)
        inner = self[key]
        value = inner.value
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise inner._wrong("a number")
        return Number(value, inner.pointer, kind, signed)

    def text(self, key: str, default: str = "") -> str:
        """The text behind a key, or ``default`` where there is none."""
        inner = self.get(key)
        if inner is None:
            return default
        if not isinstance(inner.value, str):
            raise inner._wrong("a text")
        return inner.value

    def flag(self, key: str) -> bool:
        """Whether true stands behind a key; false where there is nothing."""
        inner = self.get(key)
        if inner is None:
            return False
        if not isinstance(inner.value, bool):
            raise inner._wrong("true or false")
        return inner.value

    def _wrong(self, expected: str) -> DataError:
        return DataError(
            f"{self.where}: {self.pointer or 'the document'}",
            got=shown(self.value),
            expected=expected,
            fix="Give what mahtrt wrote, unchanged.",
        )
