"""Section of the worst cases: images on which default engine and reference differ most."""

from __future__ import annotations

from mahtrt.reporting.blocks import Block, Case, Cases, Paragraph, Section, Words, words
from mahtrt.reporting.document import At
from mahtrt.reporting.sections.rows import default_name

_INTRO = (
    "Images ranked by the disagreement between the default engine and the reference, which are "
    "shown beside each other: the landmark that moved most, enlarged, or the whole map."
)
_NO_PICTURES = "Without pictures: they were not wanted, or the images were not at hand (--data)."
_NO_MAPS = (
    "Without pictures: they were not wanted, or this was measured earlier. Maps are drawn while "
    "they are measured: by bench --html, or by report --data without --measured."
)


def worst_section(bench: At, cases: Cases | None) -> Section | None:
    """The ten worst cases; None where a bench does not tell of any.

    Args:
        cases: The same cases with their pictures, where the images are at hand.
    """
    found = cases_of(bench)
    if found is None:
        return None
    blocks: tuple[Block, ...]
    if cases is not None:
        blocks = (cases,)
    else:
        told = tuple(Case(title_of(each), facts_of(each)) for each in found.items())
        why = _NO_PICTURES if bench.get("map_cases") is None else _NO_MAPS
        blocks = (Paragraph(words(why), "quiet"), Cases(told))
    return Section("cases", "Worst cases", _INTRO, blocks)


def cases_of(bench: At) -> At | None:
    """The ranked cases of the default engine, where a bench has some."""
    details = bench.get("details")
    engine = details.get(default_name(bench)) if details is not None else None
    cases = engine.get("cases") if engine is not None else bench.get("map_cases")
    return cases if cases is not None and cases.value else None


def title_of(case: At) -> str:
    """What a case is called."""
    output = case.text("output")
    return f"{output} of {case.text('image')}" if output else case.text("image")


def facts_of(case: At) -> Words:
    """What is known of a case, in words."""
    if case.get("output") is not None:
        return words(
            *("mean difference ", case.number("mean", "small")),
            *(", largest ", case.number("max", "small")),
        )
    return words(
        f"{case.text('worst_landmark')} moved by ",
        case.number("max_px", "px"),
        " px, all landmarks by ",
        case.number("mean_px", "px"),
        " px on average",
    )
