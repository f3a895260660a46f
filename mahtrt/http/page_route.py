"""The page at ``/``: drop an image, see its landmarks.

The page is one document without anything from elsewhere. Its ``Content-Security-Policy`` (CSP
Level 3) allows exactly its own script and style, by their digests, requests to this service alone,
and pictures that the page makes itself; whatever else a hostile name or message might bring in is
not run. The page is open to whoever reaches the port, as it says nothing of the bundles; what it
asks for needs the token.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.resources

from starlette.requests import Request
from starlette.responses import Response

_SCRIPTS = ("dicom.js", "page.js")
_ALLOWED = (
    "default-src 'none'; script-src {script}; style-src {style}; img-src blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "cache-control": "no-cache",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


async def page(request: Request) -> Response:
    """The page, with what a browser may do for it."""
    html, policy = page_with_policy()
    headers = {**_HEADERS, "content-security-policy": policy}
    return Response(html, headers=headers, media_type="text/html")


@functools.cache
def page_with_policy() -> tuple[bytes, str]:
    """The page as one document, and its ``Content-Security-Policy``."""
    script = "".join(_part(name) for name in _SCRIPTS)
    style = _part("page.css")
    html = _part("page.html").replace("/*style*/", style).replace("/*script*/", script)
    return html.encode(), _ALLOWED.format(script=_digest(script), style=_digest(style))


def _part(name: str) -> str:
    folder = importlib.resources.files("mahtrt") / "http" / "page"
    return (folder / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """A source of a policy by SHA-256 (CSP Level 3, "hash-source")."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
