"""Every JSON and TOML text that is read, within limits that hold before anything is built from it.

A text of a few bytes can ask for a great deal: a bracket 200,000 times for more stack than there
is, one number for a million digits, ``1e999`` for infinity. The limits are counted on the bytes,
so they do not depend on how deep the interpreter's own parser dares to go.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mahtrt.errors import MahtrtError, SpecError
from mahtrt.reading import Wanted, read_regular

MOST_JSON_BYTES = 16 * 2**20
# The parser of TOML is slow, and what it reads was written by hand.
MOST_TOML_BYTES = 2**20
# Annotations of a whole data set: numbers by the million.
MOST_DATA_SET_BYTES = 128 * 2**20
MOST_VALUES = 5_000_000  # tables, lists and the commas between their items
MOST_DEPTH = 64  # tables and lists within each other
MOST_DIGITS = 64  # characters of one number in JSON
MOST_DOTS = 256  # in a line of TOML: a key takes the square of its parts

_CHUNK_BYTES = 2**16
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_HALF_CHARACTER = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F]"
)


def read_json(
    text: str | bytes,
    where: str,
    what: str,
    *,
    error: type[MahtrtError] = SpecError,
    fix: str = "",
    most_bytes: int = MOST_JSON_BYTES,
) -> Any:
    """The value of a JSON text: every JSON that mahtrt reads is parsed here.

    Args:
        text: The text, in UTF-8 where it is bytes.
        where: Where the text came from, for messages.
        what: What it should hold, for messages.
        error: What to raise.
        fix: What the user can do, for messages.
        most_bytes: Size of the text in UTF-8.

    Raises:
        MahtrtError: ``error``, for text that is not JSON or over a limit, for numbers that are not
            finite, for half a character, and for tables that name a field twice.
    """
    try:
        raw = text.encode() if isinstance(text, str) else text
        _check_extent(raw, most_bytes)
        return json.loads(
            raw.decode("utf-8-sig"),
            parse_constant=_refuse_constant,
            parse_float=lambda number: _finite(_short(number)),
            parse_int=lambda number: int(_short(number)),
            object_pairs_hook=_table,
        )
    except (ValueError, RecursionError) as cause:  # bad UTF-8 is a ValueError too
        got = f"text that is not JSON ({_reason(cause)})"
        raise error(where, got=got, expected=what, fix=fix) from cause


def read_json_file(path: Path, wanted: Wanted, *, most_bytes: int = MOST_JSON_BYTES) -> Any:
    """The value of a JSON file; raises ``wanted.error`` as :func:`read_json` does."""
    raw = read_regular(path, wanted, most_bytes)
    return read_json(
        raw, str(path), wanted.expected, error=wanted.error, fix=wanted.fix, most_bytes=most_bytes
    )


def read_toml(text: str | bytes, where: str, what: str) -> Any:
    """The table of a TOML text.

    Raises:
        SpecError: Text that is not TOML or over a limit, or a number that is not finite.
    """
    try:
        raw = text.encode() if isinstance(text, str) else text
        _check_size(raw, MOST_TOML_BYTES)
        if max(line.count(b".") for line in raw.split(b"\n")) > MOST_DOTS:
            raise ValueError(f"a line of more than {MOST_DOTS} dots")
        data = tomllib.loads(raw.decode("utf-8-sig"), parse_float=_finite)
        _check_values(data)
        return data
    except (ValueError, RecursionError) as cause:
        got = f"text that is not TOML ({_reason(cause)})"
        raise SpecError(where, got=got, expected=what) from cause


def _reason(cause: Exception) -> str:
    deep = isinstance(cause, RecursionError)
    return "too many tables or lists within each other" if deep else str(cause)


def first_repeat(names: Iterable[str]) -> str | None:
    """The first name that was there before, None where each is there once."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _check_size(raw: bytes, most_bytes: int) -> None:
    if len(raw) > most_bytes:
        raise ValueError(f"{len(raw)} bytes, of at most {most_bytes}")


def _check_extent(raw: bytes, most_bytes: int) -> None:
    """Refuse a JSON text over a limit, before anything is built from it."""
    _check_size(raw, most_bytes)
    plain = raw.replace(b"\\\\", b"").replace(b'\\"', b"")  # every quote left is a string's end
    texts = plain.count(b'"') // 2
    if texts > 2 * MOST_VALUES:
        raise ValueError(f"{texts} texts, of at most {2 * MOST_VALUES}")
    values, nesting = 0, bytearray()
    for outside in _outside_of_texts(plain):
        values += sum(map(outside.count, (b",", b"[", b"{")))
        nesting += outside.translate(_BRACKETS, _NO_BRACKETS)
    if values > MOST_VALUES:
        raise ValueError(f"{values} values, of at most {MOST_VALUES}")
    if _HALF_CHARACTER.search(plain):
        raise ValueError("half a character, as \\ud800 alone is")
    for _ in range(MOST_DEPTH):  # each round takes the innermost level away
        nesting = nesting.replace(b"[]", b"")
    if b"[]" in nesting or nesting.count(b"[") > MOST_DEPTH:
        raise ValueError(f"more than {MOST_DEPTH} tables and lists within each other")


def _outside_of_texts(plain: bytes) -> Iterator[bytes]:
    """What is not between quotes, a part at a time: a text may have more quotes than memory."""
    inside = 0
    for start in range(0, len(plain), _CHUNK_BYTES):
        pieces = plain[start : start + _CHUNK_BYTES].split(b'"')
        yield b"".join(pieces[inside::2])
        inside = (inside + len(pieces) - 1) % 2


def _check_values(value: Any) -> None:
    """Refuse depth and huge integers of TOML; without a call per level, as these may be many."""
    level = [value]
    for _ in range(MOST_DEPTH + 1):
        if any(isinstance(v, int) and not -(2**63) <= v < 2**63 for v in level):
            raise ValueError("an integer of more than 64 bits")
        tables = [v for v in level if isinstance(v, (dict, list))]
        level = [x for v in tables for x in (v.values() if isinstance(v, dict) else v)]
    if level:
        raise ValueError(f"more than {MOST_DEPTH} tables and lists within each other")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name}, which JSON does not have")


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number}, which is not a finite number")
    return value


def _short(number: str) -> str:
    if len(number) > MOST_DIGITS:
        raise ValueError(f"a number of {len(number)} digits, of at most {MOST_DIGITS}")
    return number


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError(f"field {first_repeat(name for name, _ in pairs)!r} twice")
    return table
