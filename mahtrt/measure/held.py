"""A number beside the limit that it is held to, and why it fails."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HeldLimit:
    """One number of an engine, its limit, and the judgement.

    Attributes:
        what: The number in words, such as "mean displacement".
        value: The number; None where the data do not give it, which fails.
        limit: The most that it may be, or the least where ``is_least``.
        unit: ``px`` of the network's input, ``mm``, ``%``, or "" for the number's own unit.
        reason: Why it fails, in a sentence; "" where it passes.
    """

    what: str
    value: float | None
    limit: float
    unit: str = ""
    is_least: bool = False
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether the number is within its limit."""
        return not self.reason


def at_most(
    what: str, value: float | None, most: float, unit: str = "", *, absent: str = "it is not known"
) -> HeldLimit:
    """A number that may not be larger than its limit; NaN fails too.

    Args:
        absent: Why the number may be missing.
    """
    space = f" {unit}" if unit else ""
    if value is None:
        reason = f"{what} cannot be judged: {absent}"
    elif value <= most:
        reason = ""
    else:
        reason = f"{what} {value:.3g}{space} is over its budget of {most:g}{space}"
    return HeldLimit(what, value, most, unit, reason=reason)


def at_least(
    what: str, value: float, least: float, *, passed: bool | None = None, note: str = ""
) -> HeldLimit:
    """A share that may not be smaller than its limit.

    Args:
        passed: The judgement, where it does not rest on the share alone.
        note: What to add where it fails.
    """
    fine = value >= least if passed is None else passed
    more = f" ({note})" if note else ""
    reason = "" if fine else f"{what} {value:.6g} is below its least of {least:g}{more}"
    return HeldLimit(what, value, least, is_least=True, reason=reason)


def none_broken(what: str, count: int) -> HeldLimit:
    """Numbers that are NaN or infinite, of which there may be none.

    Args:
        what: What they are, in the plural.
    """
    reason = f"{count} {what} are NaN or infinite" if count else ""
    return HeldLimit(f"{what} that are NaN or infinite", count, 0, reason=reason)
