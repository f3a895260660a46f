"""What an engine's maps, logits and visibility are held to.

The limits themselves are fields of :class:`mahtrt.measure.limits.Limits`, where they are described.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

from mahtrt.bundle.output_records import LogitsRecord, MapRecord, VisibilityRecord
from mahtrt.bundle.records import AccuracyRecord
from mahtrt.measure.held import HeldLimit, at_least, at_most, none_broken

_ROUNDING = 1e-9  # of a number of decisions


class OutputLimits(Protocol):
    """The limits that are judged here."""

    @property
    def map_mean(self) -> float: ...
    @property
    def map_max(self) -> float | None: ...
    @property
    def map_ssim(self) -> float: ...
    @property
    def logits_max(self) -> float | None: ...
    @property
    def logits_agreement(self) -> float: ...
    @property
    def visibility_agreement(self) -> float: ...
    @property
    def fp32_map_max(self) -> float: ...
    @property
    def fp32_logits_max(self) -> float: ...
    @property
    def fp32_visibility_max(self) -> float: ...


def held_outputs(
    accuracy: AccuracyRecord, limits: OutputLimits, precision: str
) -> Iterator[HeldLimit]:
    """Every limit that an engine's outputs are held to; none where it has none of these kinds."""
    strict = precision == "fp32"
    for each in accuracy.maps:
        yield none_broken(f"values of {each.name}", each.non_finite)
        yield from _map(each, limits, strict)
    for logits in accuracy.logits:
        yield none_broken(f"values of {logits.name}", logits.non_finite)
        most = limits.fp32_logits_max if strict else limits.logits_max
        yield from _above(f"largest difference of {logits.name}", logits.max, most)
        yield _agreement(logits, "labels", limits.logits_agreement)
    for seen in accuracy.visibility:
        yield none_broken(f"values of {seen.name}", seen.non_finite)
        most = limits.fp32_visibility_max if strict else None
        yield from _above(f"largest difference of {seen.name}", seen.max, most)
        yield _agreement(seen, "landmarks", limits.visibility_agreement)


def _map(found: MapRecord, limits: OutputLimits, strict: bool) -> Iterator[HeldLimit]:
    if strict:
        yield from _above(f"largest difference of {found.name}", found.max, limits.fp32_map_max)
    else:
        yield from _above(f"mean difference of {found.name}", found.mean, limits.map_mean)
    yield from _above(f"largest difference of {found.name}", found.max, limits.map_max)
    yield at_least(f"SSIM of {found.name}", found.ssim, limits.map_ssim)


def _above(what: str, value: float, most: float | None) -> Iterator[HeldLimit]:
    if most is not None:
        yield at_most(what, value, most)


def _agreement(found: LogitsRecord | VisibilityRecord, what: str, least: float) -> HeldLimit:
    allowed = math.ceil((1 - least) * found.decisions - _ROUNDING)
    return at_least(
        f"agreement of {found.name}",
        found.agreement,
        least,
        passed=found.disagreements <= allowed,
        note=f"{found.disagreements} of {found.decisions} {what} differ",
    )
