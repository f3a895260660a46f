"""Documents from templates: the files of ``templates/``, and how they write values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from mahtrt.errors import require
from mahtrt.names import visible

NOT_KNOWN = "not known"
TO_FILL_IN = "TO BE FILLED IN BY YOU"


def render(template: str, values: Mapping[str, Any]) -> str:
    """The text of a template.

    Args:
        template: Name of a file in ``templates/``, without ``.j2``.

    Raises:
        MissingComponentError: The template engine is not installed.
    """
    jinja2 = require("jinja2", extra="report", needed_for="a dossier")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mahtrt.dossier"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "number": number,
        "interval": interval,
        "cell": cell,
        "listed": listed,
        "yes": passed_text,
    }
    environment.globals["to_fill_in"] = TO_FILL_IN
    return str(environment.get_template(f"{template}.j2").render(**values))


def number(value: float | None, unit: str = "", digits: int = 4) -> str:
    """A number with its unit; what is not known is said in words."""
    if value is None:
        return NOT_KNOWN
    if not math.isfinite(value):
        return "infinite"
    return f"{value:.{digits}g} {unit}".strip()


def interval(ends: Iterable[float] | None, unit: str = "") -> str:
    """An interval with its unit, "" where there is none."""
    if ends is None:
        return ""
    low, high = ends
    return f"[{low:.4g}, {high:.4g}] {unit}".strip()


def cell(value: object) -> str:
    """A text for a table of Markdown: in one line, without what would end the cell."""
    text = visible(" ".join(str(value).split()))
    for sign in ("\\", "|", "<", "`", "*", "["):
        text = text.replace(sign, f"\\{sign}")
    return text


def listed(values: Iterable[object]) -> str:
    """Values in one line, "none" where there are none."""
    return ", ".join(map(str, values)) or "none"


def passed_text(passed: bool) -> str:
    """A verdict in a word."""
    return "pass" if passed else "**fail**"
