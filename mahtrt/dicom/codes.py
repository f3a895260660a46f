"""Codes of landmarks and quantities: a table that can be edited, and private codes for the rest.

The table is TOML, ``mahtrt.landmark-codes/1`` (``docs/dicom.md``). A code says exactly what a
landmark is; a site is the structure that it lies on, in a coding scheme that archives know.
"""

from __future__ import annotations

import functools
import importlib.resources
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mahtrt.digest import sha256_of_bytes
from mahtrt.errors import SpecError, shown
from mahtrt.measure.quantities import spelling
from mahtrt.parsing import MOST_TOML_BYTES, first_repeat, read_toml
from mahtrt.reading import Wanted, read_regular
from mahtrt.schema import check_schema, dataclass_from

SCHEMA = "mahtrt.landmark-codes/1"
SHIPPED = "landmark-codes.toml"
PRIVATE = "99MAHTRT"  # names of private schemes begin with 99 (DICOM PS3.16, section 8.2)
MOST_MEANING, MOST_SCHEME, MOST_SHORT_VALUE, MOST_VALUE = 64, 16, 16, 64  # characters (PS3.5, 6.2)
_WHAT = "a table of landmark codes"
_WANTED = Wanted(f"{_WHAT} (TOML, {SCHEMA})", SpecError)


@dataclass(frozen=True, slots=True)
class Code:
    """A code as DICOM has it (PS3.3, table 8.8-1).

    Attributes:
        scheme: Coding Scheme Designator, such as ``SCT``.
        value: Code Value.
        meaning: Code Meaning, for people.
    """

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What the table says of landmarks, or of quantities.

    Attributes:
        names: The names that mean it; case, spaces and the characters ``_ - .`` do not count.
        code: What it is; None where no scheme has a code for it.
        site: The structure that it lies on; None where that is not known.
    """

    names: tuple[str, ...]
    code: Code | None = None
    site: Code | None = None


@dataclass(frozen=True, slots=True)
class _File:
    schema: str
    landmark: tuple[Entry, ...] = ()
    quantity: tuple[Entry, ...] = ()


_Kind = Literal["landmark", "quantity"]


@dataclass(frozen=True, slots=True)
class CodeTable:
    """Names of landmarks and quantities to codes."""

    entries: dict[tuple[_Kind, str], Entry]

    def landmark(self, name: str) -> Code:
        """The code of a landmark, a private one where the table has none."""
        return self._code("landmark", name)

    def quantity(self, name: str) -> Code:
        """The code of a quantity, a private one where the table has none."""
        return self._code("quantity", name)

    def site(self, name: str) -> Code | None:
        """The structure that a landmark lies on, where the table says it."""
        entry = self.entries.get(("landmark", spelling(name)))
        return entry.site if entry else None

    def _code(self, kind: _Kind, name: str) -> Code:
        entry = self.entries.get((kind, spelling(name)))
        return entry.code if entry and entry.code else private_code(name)


def private_code(name: str, meaning: str = "") -> Code:
    """A code of mahtrt's own scheme; the meaning is the name, where nothing else is given."""
    return Code(PRIVATE, _value_from_name(name), short_text(meaning or name))


def short_text(text: str) -> str:
    """A text of at most 64 characters that a LO element can hold (DICOM PS3.5, section 6.2)."""
    kept = "".join("?" if _is_refused(character) else character for character in text)
    return kept[:MOST_MEANING].strip() or "?"


def codes_for(path: Path | None = None) -> CodeTable:
    """The table that mahtrt ships, and before it that of the user.

    Args:
        path: The user's file, whose names come first; None for none.

    Raises:
        SpecError: No such file, or what it says is not clear: an unknown field, a name that is
            there twice, a text that DICOM does not allow.
        IntegrityError: A newer format.
    """
    return CodeTable(_shipped() | (_read(path) if path is not None else {}))


def entries_without_landmark(path: Path, landmarks: Iterable[str]) -> list[str]:
    """The first name of each landmark in the user's table that none of ``landmarks`` is.

    Raises:
        SpecError, IntegrityError: As :func:`codes_for`.
    """
    known = set(map(spelling, landmarks))
    entries = {entry: None for (kind, _), entry in _read(path).items() if kind == "landmark"}
    return [each.names[0] for each in entries if known.isdisjoint(map(spelling, each.names))]


@functools.cache
def _shipped() -> dict[tuple[_Kind, str], Entry]:
    return _read(Path(str(importlib.resources.files("mahtrt") / "assets" / SHIPPED)))


def _read(path: Path) -> dict[tuple[_Kind, str], Entry]:
    where = str(path)
    data = read_toml(read_regular(path, _WANTED, MOST_TOML_BYTES), where, _WHAT)
    check_schema(str(data.get("schema", "")), SCHEMA, where)
    file = dataclass_from(_File, data, where)
    return {
        **_by_name("landmark", file.landmark, where),
        **_by_name("quantity", file.quantity, where),
    }


def _by_name(kind: _Kind, entries: Iterable[Entry], where: str) -> dict[tuple[_Kind, str], Entry]:
    found: dict[tuple[_Kind, str], Entry] = {}
    names: list[str] = []
    for number, entry in enumerate(entries, 1):
        about = f"{where}: {kind} {number}"
        if not entry.names or not (entry.code or entry.site):
            raise SpecError(about, got="no names, or no code and no site", expected="both")
        for code in filter(None, (entry.code, entry.site)):
            _check_code(code, about)
        names += dict.fromkeys(map(spelling, entry.names))
        found |= {(kind, spelling(name)): entry for name in entry.names}
    if (twice := first_repeat(names)) is not None:
        raise SpecError(f"{where}: {kind}", got=f"the name {shown(twice)} twice", expected="once")
    return found


def _check_code(code: Code, about: str) -> None:
    for name, text, most in (
        ("scheme", code.scheme, MOST_SCHEME),
        ("value", code.value, MOST_VALUE),
        ("meaning", code.meaning, MOST_MEANING),
    ):
        plain = text.isascii() or name == "meaning"
        if not (0 < len(text) <= most and plain and text == text.strip()) or any(
            map(_is_refused, text)
        ):
            expected = f"1 to {most} characters without \\ and line breaks"
            raise SpecError(f"{about}: {name}", got=shown(text), expected=expected)


def _is_refused(character: str) -> bool:
    return character == "\\" or unicodedata.category(character)[0] == "C"


def _value_from_name(name: str) -> str:
    """The name itself where it can be a short code value (SH), else a digest of it."""
    short = name.isascii() and 0 < len(name) <= MOST_SHORT_VALUE and name == name.strip()
    if short and not any(map(_is_refused, name)):
        return name
    return sha256_of_bytes(name.encode("utf-8", "surrogatepass"))[:MOST_SHORT_VALUE].upper()
