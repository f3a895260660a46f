"""The page at ``/`` in a real browser: an image to landmarks, errors in words, nothing foreign."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from dicom_files import write_dicom
from http_services import Running, running

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed here")
TOKEN = "a-token-of-tests-0123456789"
LANDMARKS = 3
ROWS = "#landmarks tbody tr"
# What is cut off, or lies over the edge of the screen, but tables that scroll by themselves.
OVERFLOW = """() => [...document.querySelectorAll('main *')].filter(e => e.offsetParent &&
    !e.closest('.scroll, svg') && e.getBoundingClientRect().right > innerWidth + 1)
    .map(e => e.outerHTML.slice(0, 80))"""
DROP = """(zone) => { const files = new DataTransfer();
  const bytes = Uint8Array.from(atob(zone.dataset.test), each => each.charCodeAt(0));
  files.items.add(new File([bytes], zone.dataset.name));
  zone.dispatchEvent(new DragEvent('drop',
    {dataTransfer: files, bubbles: true, cancelable: true})); }"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images and other files, one of them with a name that would like to be HTML."""
    folder = tmp_path_factory.mktemp("page")
    image = np.tile(np.arange(120, dtype=np.uint8) * 2, (90, 1))
    cv2.imwrite(str(folder / "a.png"), image)
    shutil.copy(folder / "a.png", folder / "<img src=x onerror=alert(1)>.png")
    write_dicom(folder / "a.dcm", image.astype(np.uint16) * 8, BitsStored=12, Modality="DX")
    (folder / "a.txt").write_text("no image", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def service(tiny_bundle: Path, folder: Path) -> Iterator[Running]:
    tokens = folder / "tokens"
    tokens.write_text(TOKEN + "\n", encoding="utf-8")
    bundles = [f"first={tiny_bundle}", f"second={tiny_bundle}"]
    with running(*bundles, token_file=tokens, body_mib=1) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running_:
        opened = running_.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


class Tab:
    """A tab with the page, and what it said and asked for."""

    def __init__(self, browser: Any, service: Running, **looks: Any) -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self.address = f"http://127.0.0.1:{service.port}"
        self.page = browser.new_page(**looks)
        self.page.set_default_timeout(30_000)
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append(dialog.message))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(self.address + "/")

    def give_token(self) -> None:
        self.page.fill("#token", TOKEN)
        self.page.keyboard.press("Tab")
        self.page.wait_for_selector("#state.good")

    def choose(self, path: Path) -> None:
        self.page.set_input_files("#file", path)

    def foreign(self) -> list[str]:
        """Requests to anything but the service."""
        ours = (self.address, f"blob:{self.address}", "data:")
        return [url for url in self.asked if not url.startswith(ours)]


@pytest.fixture
def tab(browser: Any, service: Running) -> Iterator[Tab]:
    opened = Tab(browser, service)
    yield opened
    opened.page.close()


def test_an_image_that_is_dropped_gets_its_landmarks(tab: Tab, folder: Path) -> None:
    tab.give_token()
    zone = tab.page.locator("#drop")
    hostile = "<img src=x onerror=alert(1)>.png"
    content = base64.b64encode((folder / hostile).read_bytes()).decode()
    zone.evaluate("(e, [t, n]) => { e.dataset.test = t; e.dataset.name = n; }", [content, hostile])
    zone.evaluate(DROP)
    tab.page.wait_for_selector(ROWS)
    assert tab.page.locator(ROWS).count() == LANDMARKS
    assert tab.page.locator("#picture circle.mark").count() == LANDMARKS
    assert tab.page.locator("#title").inner_text() == hostile
    assert tab.page.evaluate("document.querySelector('#picture img').naturalWidth") == 120
    assert f"{LANDMARKS} landmarks by" in tab.page.locator("#live").inner_text()
    assert tab.page.locator("#model option").count() == 2
    first_errors = [text for text in tab.said if "401" not in text]  # before the token was given
    assert first_errors == []
    assert tab.foreign() == []
    kept = "localStorage.length + sessionStorage.length + document.cookie.length"
    assert tab.page.evaluate(kept) == 0


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (400, "light")])
def test_nothing_is_cut_off(
    browser: Any, service: Running, folder: Path, width: int, scheme: str
) -> None:
    tab = Tab(browser, service, viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab.give_token()
    tab.choose(folder / "a.dcm")
    tab.page.wait_for_selector(ROWS)
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.page.evaluate(OVERFLOW) == []
    size = "(e => [e.width, e.height])(document.querySelector('#picture canvas'))"
    assert tab.page.evaluate(size) == [120, 90]
    assert "Preview" in tab.page.locator("#caption").inner_text()
    tab.page.close()


def test_errors_are_told_in_words(tab: Tab, folder: Path) -> None:
    assert "asks for a token" in tab.page.locator("#state").inner_text(timeout=30_000)
    message = tab.page.locator("#message.bad")
    tab.choose(folder / "a.png")
    assert "No bundle is ready" in message.inner_text()
    tab.give_token()
    tab.choose(folder / "a.txt")
    assert "expected an image" in message.inner_text()
    assert "(HTTP 400)" in message.inner_text()
    large = folder / "large.png"
    large.write_bytes(bytes(2**20 + 1))
    tab.choose(large)
    tab.page.get_by_text("too large for this service").wait_for()
    tab.page.fill("#frame", "x")
    tab.choose(folder / "a.png")
    tab.page.get_by_text("a number from 1").wait_for()
    assert tab.page.locator(ROWS).count() == 0
    assert tab.foreign() == []


def test_a_keyboard_does_it_all(tab: Tab, folder: Path) -> None:
    tab.give_token()
    tab.page.locator("#choose").focus()
    with tab.page.expect_file_chooser() as chooser:
        tab.page.keyboard.press("Space")
    chooser.value.set_files(folder / "a.png")
    tab.page.wait_for_selector(ROWS)
    unnamed = tab.page.evaluate(
        "[...document.querySelectorAll('input:not([hidden]), select, button')]"
        ".filter(e => !(e.labels?.length || e.innerText)).length"
    )
    assert unnamed == 0
    assert tab.page.evaluate("document.images[0].alt") == "The image, 120 by 90 pixels"


def test_the_policy_lets_nothing_in(tab: Tab) -> None:
    run = """() => { const s = document.createElement('style'); s.textContent = 'body{color:red}';
      document.head.append(s); return getComputedStyle(document.body).color; }"""
    assert tab.page.evaluate(run) != "rgb(255, 0, 0)"
    refused = "() => fetch('http://127.0.0.2:9/').then(() => 'sent', () => 'refused')"
    assert tab.page.evaluate(refused) == "refused"
    assert any("Content Security Policy" in text for text in tab.said)
