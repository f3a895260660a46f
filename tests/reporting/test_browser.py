"""The page in a real browser, where one is installed: alone, readable when narrow, on paper."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_document import HOSTILE, write_document

from mahtrt.data.sample import Sample
from mahtrt.reporting.report import page_for

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed here")
# What is cut off, or lies over the edge of the screen, but tables that scroll by themselves.
OVERFLOW = """() => [...document.querySelectorAll('main *')].filter(e =>
    !e.closest('.dense, .scroll, svg, .axis') &&
    (e.getBoundingClientRect().right > innerWidth + 1 || e.scrollWidth > e.clientWidth + 1 &&
     getComputedStyle(e).display !== 'inline' && e.clientWidth > 0 &&
     getComputedStyle(e).overflowX === 'visible')).map(e => e.outerHTML.slice(0, 80))"""
CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = (colour, under) => { canvas.fillStyle = under; canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3); };
  const linear = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = c => c.map(v => linear(v / 255))
    .reduce((sum, v, k) => sum + v * [.2126, .7152, .0722][k], 0);
  const paper = getComputedStyle(document.body).backgroundColor;
  const wrong = [];
  for (const e of document.querySelectorAll('main *, header *, footer *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    let ground = paper; const above = [];
    for (let p = e; p; p = p.parentElement) above.unshift(getComputedStyle(p).backgroundColor);
    for (const colour of above) ground = 'rgb(' + rgb(colour, ground) + ')';
    const a = light(rgb(getComputedStyle(e).color, ground)), b = light(rgb(ground, ground));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) wrong.push([e.outerHTML.slice(0, 60), ratio]);
  }
  return wrong;
}"""


class _Images:
    """The images of the made-up cases."""

    source = "made up"
    names = ("0.png", HOSTILE)

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        image = np.tile(np.arange(80, dtype=np.uint8) * 3, (60, 1))
        return Sample(self.names[index], image)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    document = write_document()
    document["bundles"] += write_document(passed=False, bundle="other.mahtrt")["bundles"]
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(page_for(document, [_Images(), None]), encoding="utf-8")
    assert path.stat().st_size < 5_000_000
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_it_without_error_or_request(
    browser: Any, page: Path, width: int, scheme: str
) -> None:
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    asked: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(page.as_uri())
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [page.as_uri()]
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate(OVERFLOW) == []
    assert tab.evaluate(CONTRAST) == []
    pictures = tab.evaluate("[...document.images].map(i => [i.naturalWidth, i.alt])")
    assert len(pictures) == 6
    assert all(wide > 0 and alt for wide, alt in pictures)
    tab.close()


def test_a_keyboard_reaches_all_that_opens(browser: Any, page: Path) -> None:
    tab = browser.new_page()
    tab.goto(page.as_uri())
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    closed = tab.locator("details:not([open])")
    count = closed.count()
    assert count > 0
    closed.first.locator("summary").focus()
    tab.keyboard.press("Enter")
    assert tab.locator("details:not([open])").count() == count - 1
    headings = tab.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
    assert headings[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(headings))
    tab.close()


def test_paper_shows_what_is_folded(browser: Any, page: Path) -> None:
    tab = browser.new_page(viewport={"width": 760, "height": 1000}, color_scheme="dark")
    tab.goto(page.as_uri())
    tab.emulate_media(media="print")
    ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    hidden = (
        "[...document.querySelectorAll('details dl, details table')].filter(e => !e.offsetHeight)"
    )
    assert tab.evaluate(f"{hidden}.length") == 0
    tab.close()
