"""Plain data to frozen dataclasses and back: how every JSON or TOML of mahtrt is read.

A dataclass's annotations are its schema. Reading refuses unknown fields, missing fields and wrong
types, and names the field. Each artefact also says which version wrote it (``name/N``).
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from mahtrt.errors import IntegrityError, MahtrtError, SpecError

T = TypeVar("T")

# A number that is measured: JSON has null for one that is not finite, which reads as infinity.
Measured = Annotated[float, "null where not finite"]


@functools.cache
def _type_hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


def read_json(
    text: str | bytes, where: str, what: str, *, error: type[MahtrtError] = SpecError, fix: str = ""
) -> Any:
    """The value of a JSON text: every JSON that mahtrt writes is parsed here.

    Args:
        text: The text, in UTF-8 where it is bytes.
        where: Where the text came from, for messages.
        what: What it should hold, for messages.
        error: What to raise.
        fix: What the user can do, for messages.

    Raises:
        MahtrtError: ``error``, for text that is not JSON or nested too deep, for NaN and infinity,
            and for tables that name a field twice.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_table)
    except (ValueError, RecursionError) as cause:  # bad UTF-8 is a ValueError too
        got = f"text that is not JSON ({cause})"
        raise error(where, got=got, expected=what, fix=fix) from cause


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name}, which JSON does not have")


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in table if names.count(name) > 1)
        raise ValueError(f"field {repeated!r} twice")
    return table


def plain(value: Any) -> Any:
    """Dataclasses, tuples and mappings as JSON has them; a number that is not finite is null."""
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def check_schema(got: str, known: str, where: str) -> None:
    """Refuse an artefact whose schema this version does not read.

    Args:
        got: The artefact's schema, ``name/N``.
        known: The newest schema this version reads.
        where: The artefact, for the message.

    Raises:
        IntegrityError: Another name, or a newer number.
    """
    name, _, number = known.partition("/")
    got_name, _, got_number = got.partition("/")
    if got_name == name and got_number.isdecimal() and 1 <= int(got_number) <= int(number):
        return
    raise IntegrityError(
        where,
        got=f"schema {got!r}",
        expected=f"{name}/1 to {known}" if int(number) > 1 else known,
        fix="Upgrade mahtrt, or make the artefact again with this version.",
    )


def dataclass_from(
    cls: type[T], data: Any, where: str, *, error: type[MahtrtError] = SpecError
) -> T:
    """A dataclass from a mapping, field by field, with the types of its annotations.

    Args:
        cls: The dataclass; nested dataclasses, tuples, literals and mappings are followed.
        data: What JSON or TOML gave.
        where: Where the data came from, for messages.
        error: What to raise.

    Raises:
        MahtrtError: ``error``, for an unknown field, a missing one, or a value of another type.
    """
    if not isinstance(data, Mapping):
        raise error(where, got=type(data).__name__, expected=f"a table for {cls.__name__}")
    fields = {f.name: f for f in dataclasses.fields(typing.cast(Any, cls))}
    unknown = sorted(str(name) for name in data if name not in fields)
    if unknown:
        raise error(
            where,
            got=f"unknown field {', '.join(map(repr, unknown))}",
            expected=f"fields {', '.join(fields)}",
            fix="Remove it or correct its name.",
        )
    missing = [name for name, f in fields.items() if name not in data and _required(f)]
    if missing:
        names = ", ".join(map(repr, missing))
        raise error(where, got=f"no field {names}", expected="it to be set")
    hints = _type_hints(typing.cast(Any, cls))
    return cls(
        **{
            name: _convert(hints[name], value, f"{where}: {name}", error)
            for name, value in data.items()
        }
    )


def _required(f: dataclasses.Field[Any]) -> bool:
    return f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING


def _convert(hint: Any, value: Any, where: str, error: type[MahtrtError]) -> Any:
    """``value`` as the type ``hint``, or an error that names the field."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin is Annotated:
        return math.inf if value is None else _convert(args[0], value, where, error)
    if dataclasses.is_dataclass(hint):
        return dataclass_from(typing.cast(type, hint), value, where, error=error)
    if origin is Literal:
        if value not in args:
            raise error(where, got=repr(value), expected=f"one of {', '.join(map(str, args))}")
        return value
    if origin in (typing.Union, types.UnionType):
        kind = next(a for a in args if a is not type(None))
        return None if value is None else _convert(kind, value, where, error)
    if origin is tuple:
        return _convert_tuple(args, value, where, error)
    if origin is not None:  # Mapping[str, V]
        if not isinstance(value, Mapping):
            raise error(where, got=repr(value), expected="a table")
        return {k: _convert(args[1], v, f"{where}.{k}", error) for k, v in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise error(where, got=repr(value), expected=f"a value of type {hint.__name__}")
    return value


def _convert_tuple(
    args: tuple[Any, ...], value: Any, where: str, error: type[MahtrtError]
) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise error(where, got=repr(value), expected="a list")
    if args[-1] is not Ellipsis and len(value) != len(args):
        raise error(where, got=f"{len(value)} values", expected=f"{len(args)} values")
    kinds = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
    return tuple(
        _convert(kind, item, f"{where}[{i}]", error)
        for i, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )
