"""Small changes of bytes and of JSON trees, drawn by hypothesis and written in one line each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

_WHOLE = 1 << 16
_NUMBERS = (0, 1, 2, -1, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)


@dataclass(frozen=True, slots=True)
class Bytes:
    """One change of a file's bytes.

    Attributes:
        how: ``set``, ``insert`` and ``number`` put ``data`` there; ``delete`` and ``zero`` take
            ``count`` bytes; ``cut`` ends the file there; ``repeat`` writes ``count`` bytes twice.
        at: Where, in 65536ths of the file.
    """

    how: str
    at: int
    data: bytes = b""
    count: int = 0

    def apply(self, content: bytes) -> bytes:
        at = len(content) * self.at // _WHOLE
        before, after = content[:at], content[at:]
        if self.how == "set":
            return before + self.data + after[len(self.data) :]
        if self.how == "insert":
            return before + self.data + after
        if self.how == "delete":
            return before + after[self.count :]
        if self.how == "zero":
            return before + bytes(min(self.count, len(after))) + after[self.count :]
        if self.how == "repeat":
            return before + after[: self.count] + after
        assert self.how == "cut"
        return before


def apply_all(edits: Sequence[Bytes], content: bytes) -> bytes:
    for edit in edits:
        content = edit.apply(content)
    return content


def byte_edits(most: int = 4) -> st.SearchStrategy[tuple[Bytes, ...]]:
    """Some changes of one file, more of them at its start, where headers are."""
    at = st.integers(0, _WHOLE) | st.integers(0, 600)
    count = st.sampled_from((1, 2, 4, 16, 300, 5000))
    number = st.builds(
        lambda value, size, order: (value % 256**size).to_bytes(size, order),
        st.sampled_from(_NUMBERS),
        st.sampled_from((1, 2, 4, 8)),
        st.sampled_from(("little", "big")),
    )
    data = st.binary(min_size=1, max_size=8) | number
    one = st.one_of(
        st.builds(Bytes, st.just("set"), at, data),
        st.builds(Bytes, st.just("insert"), at, data),
        st.builds(lambda how, at, n: Bytes(how, at, count=n), _sized, at, count),
        st.builds(Bytes, st.just("cut"), at),
    )
    return st.lists(one, min_size=1, max_size=most).map(tuple)


_sized = st.sampled_from(("delete", "zero", "repeat"))


@dataclass(frozen=True, slots=True)
class Json:
    """One change of a JSON tree.

    Attributes:
        at: Number of the node that is changed, modulo how many there are.
        how: ``put`` puts the JSON text ``text`` in its place, ``delete`` removes it, ``add`` puts
            ``text`` beside it under ``name``, ``twice`` writes its field two times.
        text: ``("deep", n)``, ``("long", n)`` and ``("digits", n)`` stand for texts of that size.
    """

    at: int
    how: str
    text: str | tuple[str, int] = "null"
    name: str = "extra"

    @property
    def written(self) -> str:
        """The JSON text that is put in; it need not be valid."""
        if isinstance(self.text, str):
            return self.text
        kind, size = self.text
        texts = {"deep": "[" * size + "]" * size, "long": '"' + "x" * size + '"'}
        return texts.get(kind) or "9" * size


_MARK = "\ue000%d\ue000"


def edited_json(edits: Sequence[Json], tree: Any) -> str:
    """A tree after some changes, as text."""
    root = {"root": json.loads(json.dumps(tree))}
    texts: list[tuple[str, str]] = []
    for edit in edits:
        holders = list(_holders(root))
        holder, key = holders[edit.at % len(holders)]
        mark = _MARK % len(texts)
        if edit.how == "delete" and holder is not root:
            del holder[key]
        elif edit.how == "add" and isinstance(holder[key], dict):
            holder[key][edit.name] = mark
            texts.append((json.dumps(mark), edit.written))
        elif edit.how == "twice" and isinstance(holder, dict) and holder is not root:
            value = json.dumps(holder[key])
            holder[key] = mark
            texts.append((json.dumps(mark), f"{value}, {json.dumps(key)}: {value}"))
        else:
            holder[key] = mark
            texts.append((json.dumps(mark), edit.written))
    text = json.dumps(root["root"], indent=2)
    for mark, written in reversed(texts):
        text = text.replace(mark, written)
    return text


def json_edits(most: int = 3) -> st.SearchStrategy[tuple[Json, ...]]:
    scalars = st.one_of(
        st.sampled_from(("null", "true", "false", "0", "1", "-1", "0.5", "NaN", "Infinity")),
        st.sampled_from(
            ("1e999", "-1e999", "1e308", "-0.0", "2147483648", '""', "[]", "{}", "[0]")
        ),
        st.integers(-(2**70), 2**70).map(str),
        st.floats(allow_nan=False, allow_infinity=False).map(repr),
        st.text(max_size=12).map(json.dumps),
        st.sampled_from(
            (r'"\ud800"', r'"\u0000"', r'"\u001b[2J"', r'"a\nb"', '"../x"', '"/etc/passwd"', '"."')
        ),
        st.sampled_from((("deep", 200_000), ("deep", 300), ("long", 100_000), ("digits", 10_000))),
        st.lists(st.integers(-2, 2**40), max_size=4).map(json.dumps),
    )
    one = st.builds(
        Json,
        st.integers(0, 5000),
        st.sampled_from(("put", "put", "put", "delete", "add", "twice")),
        scalars,
        st.sampled_from(("extra", "name", "", "\x1b[31m", "__class__")),
    )
    return st.lists(one, min_size=1, max_size=most).map(tuple)


def _holders(tree: Any) -> Any:
    """Every place of a tree: the table or list that holds it, and its key."""
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], (dict, list)):
            yield from _holders(tree[key])
