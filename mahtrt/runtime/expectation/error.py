"""The error about landmarks that are not those of the user's own pipeline, in words."""

from __future__ import annotations

from mahtrt.errors import GateError, some_of
from mahtrt.runtime.expectation.records import Agreement, Diagnosis, ImageParity

_NAMED = 3  # images, in the message


class ExpectationError(GateError):
    """The landmarks are not those that the user's own pipeline gave; ``parity`` says how far."""

    def __init__(self, parity: ImageParity) -> None:
        found = parity.agreement
        super().__init__(
            f"landmarks against {parity.predictions}",
            got=f"{found.landmark} {found.judged_px:.3g} px away on average over {found.images} "
            f"image(s), by {found.what} (largest {found.max_px:.3g} px, {found.max_landmark} in "
            f"{found.max_image}; {worst_of(found)})",
            expected=f"at most {found.limit_px:g} px of the image (--expect-px)",
            fix=conclusion_of(parity),
        )
        self.parity = parity


def worst_of(found: Agreement) -> str:
    """The worst images and how far their landmarks are away."""
    return "worst images " + ", ".join(
        f"{row.image} {row.mean_px:.3g} px" for row in found.worst[:_NAMED]
    )


def conclusion_of(parity: ImageParity) -> str:
    """What explains the difference, and what to do: some sentences; "" where there is none."""
    if parity.passed:
        return ""
    graph, engine = parity.fp32, parity.agreement
    if graph is not None and graph.passed:
        return (
            f"Preprocessing and decoding are the same: the FP32 graph is within the limit "
            f"({graph.judged_px:.3g} px). The rest is what {engine.what} moves landmarks by: "
            "allow it with a larger --expect-px, or build with a stricter --budget-px."
        )
    said = [] if parity.diagnosis is None else [diagnosis_in_words(parity.diagnosis)]
    if graph is not None:
        said.append(
            f"The FP32 graph is {graph.judged_px:.3g} px away, {engine.what} "
            f"{engine.judged_px:.3g} px."
        )
    return " ".join(said)


def diagnosis_in_words(found: Diagnosis) -> str:
    """The cause and what to change; or that there is none among those tried."""
    if found.explanations:
        first, *others = found.explanations
        told = f"{first.words} {first.advice} (With that, {first.judged_px:.3g} px are left.)"
        if others:
            names = some_of([f"{each.name} ({each.judged_px:.3g} px)" for each in others])
            told += f" These images cannot tell it from {names}."
        return told
    told = f"None of {found.tried} causes tried explains it."
    if found.nearest is not None:
        left, before, near = found.nearest.judged_px, found.judged_px, found.nearest
        told += f" Nearest is {near.name}, which leaves {left:.3g} of {before:.3g} px: {near.words}"
    return f"{told} {found.clue}".rstrip()
