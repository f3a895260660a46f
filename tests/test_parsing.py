"""JSON and TOML texts: what is not finite, repeated, too deep, too large or half is refused."""

from __future__ import annotations

import ast
import contextlib
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mahtrt import parsing
from mahtrt.errors import DataError, IntegrityError, SpecError
from mahtrt.parsing import MOST_DEPTH, read_json, read_json_file, read_toml
from mahtrt.reading import Wanted

ROOT = Path(__file__).parents[1] / "mahtrt"
HUGE = "a = 0x" + "f" * 5000


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        (b"\xff", "can't decode"),
        ("\ud800", "can't encode"),
        ('"\\ud800"', "half a character"),
        ('"\\udc00\\ud800"', "half a character"),
        ('{"a": NaN}', "NaN, which JSON does not have"),
        ('{"a": [-Infinity]}', "-Infinity, which JSON does not have"),
        ("1e999", "1e999, which is not a finite number"),
        ("[-1e400]", "-1e400, which is not a finite number"),
        ("9" * 65, "a number of 65 digits, of at most 64"),
        ("0." + "9" * 5000, "a number of 5002 digits, of at most 64"),
        ('[{"a": 1, "b": 2, "a": 3}]', "field 'a' twice"),
        ("[" * 65, "more than 64 tables and lists within each other"),
        ("[" * 200_000, "more than 64 tables and lists within each other"),
        ('{"a":' * 65 + "1" + "}" * 65, "more than 64 tables and lists within each other"),
        ("[" * 65 + "]" * 65, "more than 64 tables and lists within each other"),
    ],
)
def test_json_that_cannot_be_used(text: str | bytes, got: str) -> None:
    with pytest.raises(IntegrityError, match=f"here: got text that is not JSON .*{got}") as caught:
        read_json(text, "here", "a table", error=IntegrityError, fix="Copy it again.")
    assert str(caught.value).endswith("expected a table. Copy it again.")


@pytest.mark.parametrize(
    "text", ["[" * MOST_DEPTH + "]" * MOST_DEPTH, '{"a":' * MOST_DEPTH + "1" + "}" * MOST_DEPTH]
)
def test_what_is_as_deep_as_may_be_is_read(text: str) -> None:
    read_json(text, "here", "a table")


def test_brackets_and_quotes_within_a_text_are_text() -> None:
    text = r'{"a": "' + "[" * 1000 + r' \" [ \\", "\\\"[": "\\ud800", "😀": "\ud83d\ude00"}'
    assert read_json(text, "here", "a table") == {
        "a": "[" * 1000 + ' " [ \\',
        '\\"[': "\\ud800",
        "😀": "😀",
    }


def test_depth_is_refused_whatever_stack_is_left() -> None:
    """A thread with a small stack, and an interpreter that was told to recurse without end."""
    refused: list[str] = []

    def read() -> None:
        for text in ("[" * 200_000, '{"a":[' * 100_000):
            with pytest.raises(SpecError):
                read_json(text, "here", "a table")
            refused.append(text)

    limit, size = sys.getrecursionlimit(), threading.stack_size(256 * 1024)
    sys.setrecursionlimit(10**6)
    try:
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    finally:
        sys.setrecursionlimit(limit)
        threading.stack_size(size)
    assert len(refused) == 2


def test_toml_that_is_too_deep_says_so() -> None:
    with pytest.raises(SpecError, match="too many tables or lists within each other"):
        read_toml("a = " + "[" * 100_000, "here", "a table")


@given(st.text(alphabet='[]{}",:\\u0d8a1e- ', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (read_json, read_toml):
        with contextlib.suppress(SpecError):
            read(text, "here", "a table")


@given(st.text(alphabet='[]{}",:\\u0', max_size=200), st.integers(1, 7))
def test_what_is_outside_of_texts_does_not_depend_on_the_parts(text: str, size: int) -> None:
    plain = text.replace("\\\\", "").replace('\\"', "").encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parsing, "_CHUNK_BYTES", size)
        parts = b"".join(parsing._outside_of_texts(plain))
    assert parts == b"".join(plain.split(b'"')[::2])


def test_a_text_of_quotes_takes_no_memory() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(SpecError):
            read_json(b'"' * 2**22, "here", "a table")
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**22
    finally:
        tracemalloc.stop()


def test_sizes_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "MOST_VALUES", 10)
    monkeypatch.setattr(parsing, "MOST_TOML_BYTES", 100)
    with pytest.raises(SpecError, match="102 bytes, of at most 100"):
        read_json('"' + "x" * 100 + '"', "here", "a text", most_bytes=100)
    with pytest.raises(SpecError, match="11 values, of at most 10"):
        read_json("[" + ",".join("0" * 11) + "]", "here", "numbers", most_bytes=100)
    with pytest.raises(SpecError, match=r"text that is not TOML .101 bytes, of at most 100"):
        read_toml("#" * 101, "here", "a table")
    with pytest.raises(SpecError, match="21 texts, of at most 20"):
        read_json('""' * 21, "here", "a table", most_bytes=100)


def test_a_repeated_field_among_many_is_found_at_once() -> None:
    fields = ",".join(f'"{i}":0' for i in range(200_000))
    started = time.monotonic()
    with pytest.raises(SpecError, match="field '199999' twice"):
        read_json("{" + fields + ',"199999":1}', "here", "a table")
    assert time.monotonic() - started < 10


def test_files(tmp_path: Path) -> None:
    place, wanted = tmp_path / "a.json", Wanted("numbers", DataError, "Make it again.")
    place.write_text("\ufeff[1, 2.5]", encoding="utf-8")
    assert read_json_file(place, wanted) == [1, 2.5]
    place.write_text("[1,", encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.json: got text that is not .*expected numbers\. Make"):
        read_json_file(place, wanted)
    place.write_text("1" * 102)
    with pytest.raises(DataError, match="102 bytes, of at most 100"):
        read_json_file(place, wanted, most_bytes=100)


@pytest.mark.parametrize(
    "text",
    [
        "a = inf",
        "a = nan",
        "a = 1e999",
        "a = " + "[" * 5000,
        "a." * 5000 + "a = 1",
        "a",
        HUGE,
        f"a = [{{b = {HUGE[4:]}}}]",
    ],
    ids=range(8),
)
def test_toml_that_cannot_be_used(text: str) -> None:
    with pytest.raises(SpecError, match="here: got text that is not TOML"):
        read_toml(text, "here", "a table")


def test_deep_keys_of_toml_are_refused_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(SpecError, match="a line of more than 256 dots"):
        read_toml("\n" + "a." * 20_000 + "a = 1", "here", "a table")
    assert time.monotonic() - started < 1


def test_integers_of_64_bits_are_read() -> None:
    text = f"most = {2**63 - 1}\nleast = {-(2**63)}"
    assert read_toml(text, "here", "a table") == {"most": 2**63 - 1, "least": -(2**63)}


def test_json_and_toml_are_parsed_in_one_place() -> None:
    parsers = {("json", "load"), ("json", "loads"), ("tomllib", "load"), ("tomllib", "loads")}
    found = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Attribute(value=ast.Name(id=module), attr=name):
                    used = (module, name) in parsers
                case ast.ImportFrom(module=source):
                    used = source in ("json", "tomllib")
                case _:
                    used = False
            if used:
                found.add(path.name)
    assert found == {"parsing.py"}
