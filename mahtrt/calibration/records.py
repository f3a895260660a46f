"""Reading mahtrt's JSON records (plan, ranges) strictly: what is unknown is refused."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mahtrt.errors import SpecError


def parse_json(text: str, *, where: str, what: str) -> Any:
    """The value of a JSON text.

    Raises:
        SpecError: The text is not JSON.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise SpecError(where, got=f"text that is not JSON ({error})", expected=what) from error


def read_text(path: Path, what: str) -> str:
    """The text of a file.

    Raises:
        SpecError: The file cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(str(path), got=str(error), expected=what) from error


def check_table(
    data: Any,
    where: str,
    fields: Mapping[str, type | tuple[type, ...]],
    optional: Iterable[str] = (),
) -> None:
    """Refuse a table with unknown or missing fields, or values of another type.

    Args:
        data: What JSON gave.
        where: Where it stood, for the message.
        fields: Name -> type (or types) of each field.
        optional: The fields that may be left out.

    Raises:
        SpecError: The table is not as ``fields`` say.
    """
    if not isinstance(data, Mapping):
        raise SpecError(where, got=type(data).__name__, expected="a table")
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise SpecError(
            where,
            got=f"unknown field {', '.join(map(repr, unknown))}",
            expected=f"fields {', '.join(fields)}",
            fix="Remove it or correct its name.",
        )
    missing = [name for name in fields if name not in data and name not in set(optional)]
    if missing:
        raise SpecError(
            where, got=f"no field {', '.join(map(repr, missing))}", expected="it to be set"
        )
    for name, value in data.items():
        wanted = fields[name]
        kinds = wanted if isinstance(wanted, tuple) else (wanted,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            names = " or ".join(kind.__name__ for kind in kinds)
            raise SpecError(
                f"{where}: {name}", got=repr(value), expected=f"a value of type {names}"
            )
