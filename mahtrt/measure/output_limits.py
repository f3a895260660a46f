"""What of an engine's maps, logits and visibility is over its limits, in words.

The limits themselves are fields of :class:`mahtrt.measure.limits.Limits`, where they are described.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

from mahtrt.bundle.output_records import LogitsRecord, MapRecord, VisibilityRecord
from mahtrt.bundle.records import AccuracyRecord

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


def over_outputs(accuracy: AccuracyRecord, limits: OutputLimits, precision: str) -> Iterator[str]:
    """Every limit that an engine's outputs are over; nothing where it has none of these kinds."""
    strict = precision == "fp32"
    for each in accuracy.maps:
        yield from _broken(each)
        yield from _map(each, limits, strict)
    for logits in accuracy.logits:
        yield from _broken(logits)
        most = limits.fp32_logits_max if strict else limits.logits_max
        yield from _above(f"largest difference of {logits.name}", logits.max, most)
        yield from _disagreeing(logits, "labels", limits.logits_agreement)
    for seen in accuracy.visibility:
        yield from _broken(seen)
        most = limits.fp32_visibility_max if strict else None
        yield from _above(f"largest difference of {seen.name}", seen.max, most)
        yield from _disagreeing(seen, "landmarks", limits.visibility_agreement)


def _map(found: MapRecord, limits: OutputLimits, strict: bool) -> Iterator[str]:
    if strict:
        yield from _above(f"largest difference of {found.name}", found.max, limits.fp32_map_max)
    else:
        yield from _above(f"mean difference of {found.name}", found.mean, limits.map_mean)
    yield from _above(f"largest difference of {found.name}", found.max, limits.map_max)
    if not found.ssim >= limits.map_ssim:
        yield f"SSIM of {found.name} {found.ssim:.6g} is below its least of {limits.map_ssim:g}"


def _broken(found: MapRecord | LogitsRecord | VisibilityRecord) -> Iterator[str]:
    if found.non_finite:
        yield f"{found.non_finite} values of {found.name} are NaN or infinite"


def _above(what: str, value: float, most: float | None) -> Iterator[str]:
    if most is not None and not value <= most:  # NaN fails too
        yield f"{what} {value:.3g} is over its budget of {most:g}"


def _disagreeing(found: LogitsRecord | VisibilityRecord, what: str, least: float) -> Iterator[str]:
    allowed = math.ceil((1 - least) * found.decisions - _ROUNDING)
    if found.disagreements > allowed:
        yield (
            f"agreement of {found.name} {found.agreement:.6g} is below its least of {least:g} "
            f"({found.disagreements} of {found.decisions} {what} differ)"
        )
