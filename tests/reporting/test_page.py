"""Every number of a page is in its document, and nothing of a document acts on the page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import resources
from typing import Any

import pytest
from bench_document import HOSTILE, LANDMARKS, write_document

from mahtrt.errors import DataError
from mahtrt.reporting.document import number_text
from mahtrt.reporting.page import html_of, page_of
from mahtrt.reporting.report import page_for

NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
VOID = {"meta", "link", "img", "br", "circle", "rect"}


class Reader(HTMLParser):
    """What a page shows: numbers with their place, and all other text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.numbers: list[tuple[dict[str, str | None], str]] = []
        self.texts: list[str] = []
        self.document = ""
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            opened, _ = self.open.pop()
            assert opened == tag, f"<{opened}> is closed by </{tag}>"

    def handle_data(self, data: str) -> None:
        tags = [tag for tag, _ in self.open]
        if "script" in tags:
            self.document += data
        elif tags and tags[-1] == "data":
            self.numbers.append((self.open[-1][1], data))
        elif "style" not in tags and not any(a.get("class") == "axis" for _, a in self.open):
            self.texts.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def at(document: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        document = document[int(name)] if isinstance(document, list) else document[name]
    return document


def strings(value: Any) -> Iterator[str]:
    """Every text and key of a document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def words_of_the_page() -> str:
    """What the package itself says on a page: its templates, and the texts of its sections."""
    folder = resources.files("mahtrt.reporting")
    parts = [each.read_text("utf-8") for each in (folder / "templates").iterdir()]
    parts += [e.read_text("utf-8") for e in (folder / "sections").iterdir() if e.name[-3:] == ".py"]
    return " ".join(parts)


@pytest.mark.parametrize("passed", [True, False])
def test_every_number_is_in_the_document(passed: bool) -> None:
    document = write_document(passed=passed)
    reader = read(html_of(page_of(document)))
    shown = json.loads(reader.document)
    assert shown == document
    assert len(reader.numbers) > 150
    for attributes, text in reader.numbers:
        value, kind = at(shown, str(attributes["data-at"])), str(attributes["data-kind"])
        assert float(str(attributes["value"])) == value
        assert text == number_text(value, kind.rstrip("+"), signed=kind.endswith("+"))  # type: ignore[arg-type]
    known = " ".join(strings(document)) + words_of_the_page()
    for text in reader.texts:
        for number in NUMBER.findall(text):
            assert number in known, f"{number} of {text!r} is neither in the document nor fixed"


def test_every_part_of_a_document_is_shown() -> None:
    reader = read(html_of(page_of(write_document())))
    text = " ".join(reader.texts)
    sections = {attrs["id"] for tag, attrs in reader.tags if tag == "section" and "id" in attrs}
    names = ("speed", "accuracy", "quantities", "cases", "precision", "provenance")
    assert sections == {f"bundle-1-{name}" for name in names}
    for said in (
        *("Passed", "Read with care", "Roofline", "Throughput", "Start of a new process"),
        *("Since old.json", "torch-tensorrt", "no GPU", "unstable", "SNA", "Steiner 1953", "IMPA"),
        *("Output change", "Output finding", "Sensitivity", *LANDMARKS, "81159ee6890d"),
    ):
        assert said in text, said


def test_a_document_of_the_least_that_a_bench_writes_is_shown() -> None:
    document = write_document()
    bench = document["bundles"][0]["bench"]
    for name in ("details", "quantities", "startup", "sizes", "throughput", "roofline", "changes"):
        del bench[name]
    for row in bench["rows"]:
        row["samples_ms"] = []
    del document["bundles"][0]["plan"], document["bundles"][0]["sensitivity"]
    sections = {a.get("id") for t, a in read(html_of(page_of(document))).tags if t == "section"}
    assert sections == {f"bundle-1-{name}" for name in ("speed", "accuracy", "provenance")}


def test_names_are_text_and_never_markup() -> None:
    html = html_of(page_of(write_document(bundle=HOSTILE)))
    reader = read(html)
    assert "<img src=x" not in html
    assert HOSTILE in " ".join(reader.texts)
    assert all("onerror" not in attributes for _, attributes in reader.tags)


def test_a_page_needs_nothing_else() -> None:
    reader = read(page_for(write_document()))
    for tag, attributes in reader.tags:
        for name in ("src", "href", "action", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, attributes)
    scripts = [attributes for tag, attributes in reader.tags if tag == "script"]
    assert [each["type"] for each in scripts] == ["application/json"]


def test_two_bundles_are_compared() -> None:
    document = write_document()
    document["bundles"] += write_document(passed=False, bundle="other.mahtrt")["bundles"]
    reader = read(html_of(page_of(document)))
    text = " ".join(reader.texts)
    assert "2 bundles compared" in text.replace("\n", " ") or "bundles compared" in text
    assert "1. net.mahtrt" in text
    assert "2. other.mahtrt" in text
    assert "over its budget" in text
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_a_wrong_value_is_one_clear_line() -> None:
    document = write_document()
    document["bundles"][0]["bench"]["rows"][3]["p50_ms"] = "fast"
    with pytest.raises(DataError, match=r"/bundles/0/bench/rows/3/p50_ms: got 'fast'"):
        page_of(document)
