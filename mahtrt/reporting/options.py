"""What a report is asked to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mahtrt.measure.limits import Limits
from mahtrt.models.reference import ModelSource

if TYPE_CHECKING:
    from mahtrt.bundle.signature import Trust


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """Which bundles a page tells of, and where its numbers are from.

    Attributes:
        bundles: The ``.mahtrt`` folders; several are compared.
        html: The file that the page is written to; True makes it and writes none.
        measured: JSON of benches of the bundles, in their order. Without, each bundle is measured
            where ``data`` is given, and else the report is used that its build wrote into it.
        data: DATA to measure on, or, with ``measured``, that was measured on: for the pictures.
        points: Which annotated points of DATA are the network's landmarks.
        spacing_mm: Millimetres per image pixel of DATA.
        skip_bad: Leave unreadable images of DATA out.
        images: How many of the images to measure on; None for what a bench does.
        reference: Checkpoint of the PyTorch reference, where it is not found by itself.
        model: A foreign network's code, for the reference.
        limits: How far engines may be from the reference.
        latency_budget_ms: Limit of the default engine's end-to-end p99, where bundles are measured.
        sensitivity: ``sensitivity.json`` of ``mahtrt calibrate`` for each bundle, in their order.
        pictures: Whether the page holds pictures of the worst cases, which are parts of images.
        threads: Threads of one inference; None leaves it to each runtime.
        trust: Whose signature the bundles have to have; None asks for none.
    """

    bundles: Sequence[Path]
    html: Path | bool = False
    measured: Sequence[Path] = ()
    data: str | None = None
    points: tuple[int, ...] | None = None
    spacing_mm: float | None = None
    skip_bad: bool = False
    images: int | None = None
    reference: Path | None = None
    model: ModelSource | None = None
    limits: Limits = field(default_factory=Limits)
    latency_budget_ms: float | None = 100.0
    sensitivity: Sequence[Path] = ()
    pictures: bool = True
    threads: int | None = None
    trust: Trust | None = None


@dataclass(frozen=True, slots=True)
class ReportResult:
    """What a report says.

    Attributes:
        document: The ``mahtrt.report/1`` that every number of the page is from.
        page: The page as HTML; None where none was asked for.
        passed: Whether every bundle passed its bench.
        reasons: Why not, one sentence each.
        exit_code: 3 where an engine that was measured now is over an accuracy limit, 4 where the
            latency is, else 0. What was measured earlier is shown, and not judged again.
    """

    document: dict[str, Any]
    page: str | None
    passed: bool
    reasons: tuple[str, ...] = ()
    exit_code: int = 0
