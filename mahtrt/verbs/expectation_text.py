"""What a comparison with the user's own pipeline says on the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from mahtrt.verbs.console import complain, write_json
from mahtrt.verbs.documents import expectation_document

if TYPE_CHECKING:
    from mahtrt.runtime.expectation.records import Agreement, ImageParity

Result = TypeVar("Result")


def comparing(work: Callable[[], Result], schema: str, json: str | None) -> Result:
    """Do what may compare landmarks; where they are others, show by how much before the error.

    Args:
        schema: Schema of the verb's document.
        json: Where the document is written; with such an error it holds the comparison alone.
    """
    from mahtrt.runtime.expectation.error import ExpectationError

    try:
        return work()
    except ExpectationError as error:
        complain(*lines_of(error.parity))
        if json is not None:
            write_json(expectation_document(schema, error.parity), json)
        raise


def lines_of(parity: ImageParity) -> list[str]:
    """The numbers, and the worst images where the landmarks do not agree."""
    compared = [each for each in (parity.agreement, parity.fp32) if each is not None]
    lines = [_line(each, parity.predictions) for each in compared]
    if not parity.passed:
        shown = next((each for each in reversed(compared) if not each.passed), compared[0])
        width = max(len(row.image) for row in shown.worst)
        lines += [
            f"  {row.image.ljust(width)}  mean {row.mean_px:8.3f} px  largest {row.max_px:8.3f} px "
            f" {row.landmark}"
            for row in shown.worst
        ]
    return lines


def _line(found: Agreement, predictions: str) -> str:
    verdict = "agrees with" if found.passed else "differs from"
    return (
        f"{found.what} {verdict} {predictions}: {found.images} image(s), worst landmark "
        f"{found.landmark} {found.judged_px:.4f} px on average (limit {found.limit_px:g}), all "
        f"{found.mean_px:.4f} px, largest {found.max_px:.4f} px"
    )
