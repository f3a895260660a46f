"""Section of provenance: what was measured where, with which versions, from which files."""

from __future__ import annotations

from collections.abc import Iterator

from mahtrt.reporting.blocks import Cell, Facts, Section, words
from mahtrt.reporting.document import At, Number

_INTRO = "What a reader needs to repeat the measurement, or to find out why another one differs."
_PARTS = (
    ("conditions", "Conditions", False),
    ("machine", "Machine", False),
    ("versions", "Versions", True),
    ("model", "Network and files", True),
)
_MOST = 400  # facts of one part: a document that was made by hand may hold any number


def origin_section(bench: At) -> Section:
    """Conditions, machine, versions, and the network's digests."""
    blocks = []
    for key, caption, is_folded in _PARTS:
        facts = tuple(_facts(bench[key], ""))[:_MOST]
        if facts:
            blocks.append(Facts(caption, facts, is_folded))
    return Section("provenance", "Provenance", _INTRO, tuple(blocks))


def _facts(place: At, prefix: str) -> Iterator[tuple[str, Cell]]:
    """Every value below a place, with the path of words that leads to it."""
    for key in place.keys():  # noqa: SIM118 - of a place in a document
        inner = place.get(key)
        if inner is None:
            continue
        name = f"{prefix} · {key}" if prefix else key
        if isinstance(inner.value, dict):
            yield from _facts(inner, name)
        elif isinstance(inner.value, list):
            yield from _listed(inner, name)
        else:
            yield name, _cell(place, key)


def _listed(found: At, name: str) -> Iterator[tuple[str, Cell]]:
    """A list: texts and numbers beside each other, objects one below the other."""
    plain: list[str | Number] = []
    for index, item in enumerate(found.items()):
        if isinstance(item.value, dict):
            yield from _facts(item, name)
        elif isinstance(item.value, str):
            plain += [", " if plain else "", item.value]
        elif isinstance(item.value, int | float) and not isinstance(item.value, bool):
            plain += [", " if plain else "", found.number(index, "plain")]
    if plain:
        yield name, words(*plain)


def _cell(place: At, key: str) -> Cell:
    value = place[key].value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return place.number(key, "plain")
    return place.text(key)
