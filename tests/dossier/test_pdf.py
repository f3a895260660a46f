from __future__ import annotations

import re
import shutil
import stat
import subprocess
import time
from pathlib import Path

import pytest
from dossiers import Written

from mahtrt.dossier.pdf import VARIABLE, find_browser, print_pdf
from mahtrt.errors import MissingComponentError

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>t</title><style>
@page { size: A4; @bottom-right { content: "page " counter(page) " of " counter(pages); } }
h1 { break-before: page; }
</style></head><body><p>first</p><h1>second</h1><h1>third</h1></body></html>"""


def program(folder: Path, body: str) -> Path:
    place = folder / "browser"
    place.write_text(f"#!/bin/sh\n{body}\n")
    place.chmod(place.stat().st_mode | stat.S_IXUSR)
    return place


def test_a_browser_is_found_by_its_name_or_variable(tmp_path: Path) -> None:
    made = program(tmp_path, "exit 0")
    assert find_browser({VARIABLE: str(made), "PATH": ""}) == made
    made.rename(tmp_path / "google-chrome")
    assert find_browser({"PATH": str(tmp_path)}) == tmp_path / "google-chrome"


@pytest.mark.parametrize("named", [None, "/none/chromium"])
def test_no_browser_is_one_line(tmp_path: Path, named: str | None) -> None:
    variables = {"PATH": str(tmp_path)} | ({VARIABLE: named} if named else {})
    with pytest.raises(MissingComponentError) as caught:
        find_browser(variables)
    assert caught.value.exit_code == 6
    assert "--no-pdf" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "got"),
    [
        ("sleep 60", "no answer within 0.3 s"),
        ("echo first >&2; echo '  cannot start  ' >&2; exit 3", "exit code 3: cannot start"),
        (
            'for a in "$@"; do case $a in --print-to-pdf=*) echo no > "${a#*=}";; esac; done',
            "it said nothing",
        ),
    ],
)
def test_a_browser_that_does_not_print_is_ended_and_named(
    tmp_path: Path, body: str, got: str
) -> None:
    made, begun = program(tmp_path, body), time.monotonic()
    page = tmp_path / "page.html"
    page.write_text(PAGE)
    with pytest.raises(MissingComponentError, match=got):
        print_pdf(made, page, tmp_path / "page.pdf", 0.3 if "sleep" in body else 20.0)
    assert time.monotonic() - begun < 20
    assert not (tmp_path / "page.pdf").exists()


@pytest.fixture
def browser() -> Path:
    """A browser of this host."""
    try:
        return find_browser()
    except MissingComponentError as error:
        pytest.skip(str(error))


def pages_of(pdf: Path) -> int:
    """How many pages a PDF of Chromium has: its objects of pages are not compressed."""
    return len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes()))


def test_the_pdf_has_the_pages_of_the_page(browser: Path, tmp_path: Path) -> None:
    page, pdf = tmp_path / "page.html", tmp_path / "page.pdf"
    page.write_text(PAGE)
    print_pdf(browser, page, pdf)
    assert pages_of(pdf) == 3


def test_every_page_of_a_report_says_its_number(
    browser: Path, dossier: Written, tmp_path: Path
) -> None:
    tool = shutil.which("pdftotext")
    if tool is None:
        pytest.skip("no pdftotext, which reads what a PDF says")
    pdf = tmp_path / "report.pdf"
    print_pdf(browser, dossier.result.folder / "report.html", pdf)
    text = subprocess.run([tool, str(pdf), "-"], capture_output=True, text=True, check=True).stdout
    count = pages_of(pdf)
    said = re.findall(r"^page (\d+) of (\d+)$", text, re.MULTILINE)
    assert said == [(str(number), str(count)) for number in range(1, count + 1)]
