"""The page as PDF, by a browser of this host that is based on Chromium."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from mahtrt import files
from mahtrt.errors import MissingComponentError
from mahtrt.scratch import temporary_folder

VARIABLE = "MAHTRT_BROWSER"
BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
    *("microsoft-edge", "msedge", "chrome"),
)
TIME_LIMIT_S = 60.0
# What keeps the browser from the network, from this user's profile, and from the screen.
_ARGUMENTS = (
    *("--headless", "--disable-gpu", "--no-first-run", "--no-default-browser-check"),
    *("--disable-extensions", "--disable-background-networking", "--disable-sync"),
    *("--disable-component-update", "--disable-dev-shm-usage", "--mute-audio"),
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--no-pdf-header-footer",
)
_FIX = (
    "Install one (such as Debian's package chromium), name its program in "
    f"{VARIABLE}, or leave the PDF out with --no-pdf."
)


def find_browser(environment: Mapping[str, str] | None = None) -> Path:
    """The program of a browser that can print a page.

    Args:
        environment: Variables; None takes those of this process.

    Raises:
        MissingComponentError: There is none, or the one named by MAHTRT_BROWSER is not there.
    """
    variables = os.environ if environment is None else environment
    named, path = variables.get(VARIABLE), variables.get("PATH")
    for name in [named] if named else BROWSERS:
        if found := shutil.which(name, path=path):
            return Path(os.path.abspath(found))  # it runs in another folder
    raise MissingComponentError(
        "PDF of the report",
        got=f"{VARIABLE}={named}, which is no program" if named else "no browser",
        expected="Chromium, Chrome or Edge",
        fix=_FIX,
    )


def print_pdf(browser: Path, page: Path, pdf: Path, limit_s: float = TIME_LIMIT_S) -> None:
    """Print an HTML file.

    Args:
        browser: As :func:`find_browser` gives it.
        page: The HTML file, which needs nothing from the network.
        pdf: The file to write.
        limit_s: Seconds after which the browser is ended.

    Raises:
        MissingComponentError: The browser does not end in time, or writes no PDF.
    """
    with temporary_folder() as scratch:
        printed = scratch / "page.pdf"
        command = [
            str(browser),
            *_ARGUMENTS,
            *(["--no-sandbox"] if _is_root() else []),
            f"--user-data-dir={scratch / 'profile'}",
            f"--print-to-pdf={printed}",
            page.resolve().as_uri(),
        ]
        told = _ended(command, limit_s, scratch)
        if not (printed.is_file() and printed.read_bytes().startswith(b"%PDF-")):
            raise _useless(browser, f"no PDF ({told})")
        files.copy(printed, pdf)


def _ended(command: list[str], limit_s: float, folder: Path) -> str:
    """Run a browser to its end; the last line that it said.

    Raises:
        MissingComponentError: It does not end in time, or cannot be started.
    """
    browser = Path(command[0])
    try:
        with _started(command, folder) as process:
            _, said = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired as error:
        raise _useless(browser, f"no answer within {limit_s:g} s") from error
    except OSError as error:
        raise _useless(browser, error.strerror or str(error)) from error
    lines = said.decode("utf-8", "replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
    return f"exit code {process.returncode}: {last[:200]}"


@contextlib.contextmanager
def _started(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with all processes that it starts; none of them outlives the block."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=folder,
        # The browser writes settings and caches of its own there too.
        env={**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a browser and its helpers."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _useless(browser: Path, got: str) -> MissingComponentError:
    expected = "a browser that prints a page"
    return MissingComponentError(f"PDF by {browser}", got=got, expected=expected, fix=_FIX)


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0
