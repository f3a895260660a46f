"""A page of HTML from the JSON of benches: one file, without network, scripts or fonts of its own.

The document behind a page is ``mahtrt.report/1``: a list of bundles, each with the document of its
bench, its plan, and the sensitivity of its blocks where that is known. The page holds it, so that
whoever has the page has the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mahtrt.errors import require
from mahtrt.reporting.blocks import Cases, Page, Section
from mahtrt.reporting.document import At
from mahtrt.reporting.sections.agreement import accuracy_section, quantity_section
from mahtrt.reporting.sections.origin import origin_section
from mahtrt.reporting.sections.precision import precision_section
from mahtrt.reporting.sections.speed import speed_section
from mahtrt.reporting.sections.verdict import comparison_of, part_of
from mahtrt.reporting.sections.worst import worst_section

SCHEMA = "mahtrt.report/1"


def page_of(
    document: Mapping[str, Any], *, cases: Sequence[Cases | None] = (), where: str = "report"
) -> Page:
    """What a page says of a document.

    Args:
        document: A ``mahtrt.report/1``.
        cases: The worst cases of each bundle with their pictures; none where they are not at hand.
        where: Name of the document, for messages.

    Raises:
        DataError: A value that a bench does not write.
    """
    parts = list(At(document, "", where)["bundles"].items())
    pictured = [*cases, *[None] * (len(parts) - len(cases))]
    told = tuple(
        part_of(part, _sections(part, shown), name=f"bundle-{number}")
        for number, (part, shown) in enumerate(zip(parts, pictured, strict=True), 1)
    )
    titles = ", ".join(part.title for part in told)
    comparison = comparison_of(parts) if len(parts) > 1 else None
    return Page(f"mahtrt report: {titles}", told, comparison, document)


def _sections(part: At, cases: Cases | None) -> tuple[Section, ...]:
    bench = part["bench"]
    found = (
        speed_section(bench),
        accuracy_section(bench),
        quantity_section(bench),
        worst_section(bench, cases),
        precision_section(part),
        origin_section(bench),
    )
    return tuple(each for each in found if each is not None and each.blocks)


def html_of(page: Page) -> str:
    """The page as HTML.

    Raises:
        MissingComponentError: The template engine is not installed.
    """
    jinja2 = require("jinja2", extra="report", needed_for="the page of a report")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mahtrt.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return str(environment.get_template("page.html.j2").render(page=page)) + "\n"
