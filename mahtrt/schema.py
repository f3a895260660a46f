"""Plain data to frozen dataclasses and back: what every JSON or TOML of mahtrt is read into.

A dataclass's annotations are its schema. Reading refuses unknown fields, missing fields and wrong
types, and names the field. Every type is bounded: a number is finite and an integer fits into 64
bits, a text has no control characters, texts and lists have a largest length; :class:`Between`
narrows a number further. Each artefact also says which version wrote it (``name/N``).
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping, Sized
from typing import Annotated, Any, Literal, TypeVar

from mahtrt.errors import IntegrityError, MahtrtError, SpecError, shown, some_of
from mahtrt.names import visible

T = TypeVar("T")

_NULL_IS_INFINITE = "null where not finite"
# A number that is measured: JSON has null for one that is not finite, which reads as infinity.
Measured = Annotated[float, _NULL_IS_INFINITE]

MOST_CHARACTERS = 65_536
MOST_ITEMS = 1_000_000
_INT64 = range(-(2**63), 2**63)


@dataclasses.dataclass(frozen=True, slots=True)
class Between:
    """Bounds of a number, as metadata of ``Annotated``; both belong to the range."""

    least: float
    most: float


# How many there are of something.
Count = Annotated[int, Between(0, 2**53)]
# Images per inference.
Batch = Annotated[int, Between(1, 65_536)]
# Rows or columns of an image.
Pixels = Annotated[int, Between(1, 65_536)]


@functools.cache
def _type_hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


def plain(value: Any) -> Any:
    """Dataclasses, tuples and mappings as JSON has them, so that they can be read again.

    A number that is not finite is null, and control characters of a text are written out.
    """
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, str):
        return visible(value)
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
    if got in {f"{name}/{i}" for i in range(1, int(number) + 1)}:
        return
    raise IntegrityError(
        where,
        got=f"schema {shown(got)}",
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
            got=f"unknown field {some_of(list(map(shown, unknown)))}",
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
        return _convert_free(value, where, error)
    if origin is Annotated:
        return _convert_annotated(hint, value, where, error)
    if dataclasses.is_dataclass(hint):
        return dataclass_from(typing.cast(type, hint), value, where, error=error)
    if origin is Literal:
        if value not in args:
            raise error(where, got=shown(value), expected=f"one of {', '.join(map(str, args))}")
        return value
    if origin in (typing.Union, types.UnionType):
        kind = next(a for a in args if a is not type(None))
        return None if value is None else _convert(kind, value, where, error)
    if origin is tuple:
        return _convert_tuple(args, value, where, error)
    if origin is not None:  # Mapping[str, V]
        return _convert_table(args[1], value, where, error)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(_checked(value, where, error))
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise error(where, got=shown(value), expected=f"a value of type {hint.__name__}")
    return _checked(value, where, error)


def _convert_annotated(hint: Any, value: Any, where: str, error: type[MahtrtError]) -> Any:
    kind, *metadata = typing.get_args(hint)
    if value is None and _NULL_IS_INFINITE in metadata:
        return math.inf
    value = _convert(kind, value, where, error)
    for bounds in metadata:
        if isinstance(bounds, Between) and not bounds.least <= value <= bounds.most:
            expected = f"a number from {bounds.least:g} to {bounds.most:g}"
            raise error(where, got=shown(value), expected=expected)
    return value


def _convert_tuple(
    args: tuple[Any, ...], value: Any, where: str, error: type[MahtrtError]
) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise error(where, got=shown(value), expected="a list")
    if args[-1] is not Ellipsis and len(value) != len(args):
        raise error(where, got=f"{len(value)} values", expected=f"{len(args)} values")
    _check_length(value, where, error)
    kinds = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
    return tuple(
        _convert(kind, item, f"{where}[{i}]", error)
        for i, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _convert_table(kind: Any, value: Any, where: str, error: type[MahtrtError]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise error(where, got=shown(value), expected="a table")
    _check_length(value, where, error)
    for key in value:
        if not isinstance(key, str):
            raise error(where, got=f"the name {shown(key)}", expected="names that are text")
        _checked(key, where, error)
    return {k: _convert(kind, item, f"{where}.{k}", error) for k, item in value.items()}


def _convert_free(value: Any, where: str, error: type[MahtrtError]) -> Any:
    """Data of any form, as JSON has them: only their leaves are judged."""
    if isinstance(value, Mapping):
        return _convert_table(Any, value, where, error)
    if isinstance(value, (list, tuple)):
        _check_length(value, where, error)
        return type(value)(
            [_convert_free(item, f"{where}[{i}]", error) for i, item in enumerate(value)]
        )
    if value is not None and not isinstance(value, (bool, int, float, str)):
        raise error(where, got=shown(value), expected="a value that JSON has")
    return _checked(value, where, error)


def _checked(value: Any, where: str, error: type[MahtrtError]) -> Any:
    """A leaf within the bounds of its type."""
    if isinstance(value, str):
        if len(value) > MOST_CHARACTERS:
            expected = f"at most {MOST_CHARACTERS}"
            raise error(where, got=f"{len(value)} characters", expected=expected)
        if visible(value) != value:
            raise error(where, got=shown(value), expected="text without control characters")
    elif isinstance(value, int) and value not in _INT64:
        raise error(where, got=f"a number of {value.bit_length()} bits", expected="at most 64")
    elif isinstance(value, float) and not math.isfinite(value):
        raise error(where, got=shown(value), expected="a finite number")
    return value


def _check_length(value: Sized, where: str, error: type[MahtrtError]) -> None:
    if len(value) > MOST_ITEMS:
        raise error(where, got=f"{len(value)} values", expected=f"at most {MOST_ITEMS}")
