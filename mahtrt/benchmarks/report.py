"""What a bench found: rows, verdict, the JSON ``mahtrt.bench/1`` and the table on screen.

Two scopes, always both: ``engine`` is a prepared tensor to the network's outputs; ``end_to_end``
is an image at acquisition size in memory to landmarks in that image's pixels. The latency budget
is judged on the p99 of ``end_to_end``, of the bundle's default engine: what a user waits for, in
nearly every case. Accuracy is judged for every engine, so that no engine of a bundle is wrong.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mahtrt.benchmarks.accuracy import Accuracy, Verdict
from mahtrt.benchmarks.timing import Timings
from mahtrt.errors import GateError, LatencyError

if TYPE_CHECKING:
    from rich.console import RenderableType

SCHEMA = "mahtrt.bench/1"
Scope = Literal["engine", "end_to_end"]
SCOPES: tuple[Scope, ...] = ("engine", "end_to_end")
TIMES = ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms", "mean_ms")

LEGEND = (
    "engine: prepared tensor to outputs. end_to_end: image in memory to landmarks in its pixels.",
    "Times per call in ms, interleaved round by round; vs ref: median ratio per round and image.",
    "moved: distance to the reference's landmarks, pixels of the network's input.",
    "MRE: mean distance to annotations, mm or image pixels; change: engine minus reference, with",
    "its 95% bootstrap interval over images. SDR: annotated points found within 2 mm.",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One engine (or the reference) in one scope.

    Attributes:
        name: The engine's name in the bundle, or the reference's.
        backend: ``pytorch``, ``openvino``, ``onnxruntime``, …
        speedup_vs_reference: Per image; None on the reference's own rows.
        speedup_vs_torch: The same when the reference is PyTorch, else None.
        timings: None for what was not timed.
        gate: What the accuracy gate says, None for the reference.
        stand_in: What was run instead of an engine that this machine cannot run; its accuracy is
            that of the graph, and it has no timings.
    """

    name: str
    backend: str
    precision: str
    batch: int
    scope: Scope
    timings: Timings | None
    accuracy: Accuracy
    speedup_vs_reference: float | None = None
    speedup_vs_torch: float | None = None
    gate: Verdict | None = None
    is_reference: bool = False
    is_default: bool = False
    stand_in: str = ""

    @property
    def images_per_s(self) -> float | None:
        return None if self.timings is None else 1e3 * self.batch / self.timings.mean_ms

    def to_dict(self) -> dict[str, Any]:
        times = self.timings
        return {
            "name": self.name,
            "backend": self.backend,
            "precision": self.precision,
            "batch": self.batch,
            "scope": self.scope,
            "reference": self.is_reference,
            "default": self.is_default,
            **{name: getattr(times, name, None) for name in TIMES},
            "runs": 0 if times is None else times.runs,
            "images_per_s": self.images_per_s,
            "speedup_vs_torch": self.speedup_vs_torch,
            "speedup_vs_reference": self.speedup_vs_reference,
            "accuracy_pass": None if self.gate is None else self.gate.passed,
            "measured_on": self.stand_in or "engine",
            "accuracy": self.accuracy.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class BenchReport:
    """Everything one bench found.

    Attributes:
        rows: The reference first, then the bundle's engines, each in both scopes.
        latency_budget_ms: For the p99 of :attr:`judged_row`; None judges no latency.
        warnings: What a reader of the numbers has to know, one sentence each.
    """

    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    model: Mapping[str, Any]
    conditions: Mapping[str, Any]
    rows: tuple[Row, ...]
    latency_budget_ms: float | None
    warnings: tuple[str, ...] = ()

    @property
    def judged_row(self) -> Row:
        """End to end of the default engine, or of the first one if it was not measured."""
        timed = [r for r in self.rows if r.scope == "end_to_end" and r.timings is not None]
        rows = [r for r in timed if not r.is_reference] or timed
        return next((row for row in rows if row.is_default), rows[0])

    @property
    def judged_p99_ms(self) -> float:
        """The p99 of :attr:`judged_row`."""
        timings = self.judged_row.timings
        assert timings is not None  # the reference, at least, was timed
        return timings.p99_ms

    @property
    def latency_pass(self) -> bool:
        budget = self.latency_budget_ms
        return budget is None or self.judged_p99_ms <= budget

    @property
    def accuracy_pass(self) -> bool:
        return all(row.gate.passed for row in self.rows if row.gate is not None)

    @property
    def passed(self) -> bool:
        return self.accuracy_pass and self.latency_pass

    @property
    def exit_code(self) -> int:
        """3 when an engine's accuracy fails, else 4 when the latency does, else 0."""
        if not self.accuracy_pass:
            return GateError.exit_code
        return 0 if self.latency_pass else LatencyError.exit_code

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the verdict is not a pass, one sentence each."""
        found = [
            f"{row.name}: {reason}"
            for row in self.rows
            if row.scope == "engine" and row.gate is not None
            for reason in row.gate.reasons
        ]
        if not self.latency_pass:
            row = self.judged_row
            found.append(
                f"{row.name}: end_to_end p99 {self.judged_p99_ms:.4g} ms is over its budget of "
                f"{self.latency_budget_ms:g} ms"
            )
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """The JSON document ``mahtrt.bench/1``."""
        return {
            "schema": SCHEMA,
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "model": dict(self.model),
            "conditions": dict(self.conditions),
            "rows": [row.to_dict() for row in self.rows],
            "verdict": {
                "latency_budget_ms": self.latency_budget_ms,
                "latency_engine": self.judged_row.name,
                "latency_p99_ms": self.judged_p99_ms,
                "accuracy_pass": self.accuracy_pass,
                "latency_pass": None if self.latency_budget_ms is None else self.latency_pass,
                "pass": self.passed,
                "reasons": list(self.reasons),
            },
            "warnings": list(self.warnings),
        }

    def to_table(self) -> RenderableType:
        """Latency, accuracy, verdict, warnings and legend, for a terminal."""
        from rich.console import Group
        from rich.text import Text

        lines: list[RenderableType] = [_latency_table(self.rows), Text(), _accuracy_table(self)]
        lines += [Text(), *self._verdict_lines()]
        lines += [Text(f"warning: {warning}", style="yellow") for warning in self.warnings]
        lines += [Text(), *(Text(line, style="dim") for line in LEGEND)]
        return Group(*lines)

    def to_text(self, *, width: int = 110) -> str:
        """:meth:`to_table` as plain text."""
        from rich.console import Console

        out = io.StringIO()
        Console(file=out, width=width, color_system=None, force_terminal=False).print(
            self.to_table()
        )
        return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"

    def _verdict_lines(self) -> list[RenderableType]:
        from rich.text import Text

        row = self.judged_row
        verdict = Text("PASS" if self.passed else "FAIL", style="green" if self.passed else "red")
        facts = [f"reference: {self.conditions.get('reference', '')}"]
        if self.latency_budget_ms is not None:
            facts.insert(
                0,
                f"{row.name} end_to_end p99 {self.judged_p99_ms:.4g} ms of "
                f"{self.latency_budget_ms:g} ms",
            )
        verdict.append("  " + "; ".join(facts))
        return [verdict, *(Text(f"  {reason}", style="red") for reason in self.reasons)]


def _latency_table(rows: Sequence[Row]) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("latency", no_wrap=True)
    table.add_column("scope")
    for name in ("batch", "p50", "p90", "p95", "p99", "max", "runs", "images/s", "vs ref"):
        table.add_column(name, justify="right")
    for row in rows:
        times, ratio = row.timings, row.speedup_vs_reference
        if times is None:
            continue
        table.add_row(
            _label(row),
            row.scope,
            str(row.batch),
            *(
                _number(value)
                for value in (times.p50_ms, times.p90_ms, times.p95_ms, times.p99_ms, times.max_ms)
            ),
            str(times.runs),
            _number(row.images_per_s),
            "" if ratio is None else f"{ratio:.2f}x",
        )
    return table


def _accuracy_table(report: BenchReport) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("accuracy", no_wrap=True)
    for name in ("moved px", "max", "worst landmark", "MRE", "change", "SDR 2mm", "gate"):
        table.add_column(name, justify="right")
    for row in report.rows:
        if row.scope != "engine":
            continue
        found = row.accuracy
        worst = max(found.per_landmark, key=lambda landmark: landmark.mean_px)
        sdr = None if found.sdr_percent is None else found.sdr_percent[2.0]
        table.add_row(
            _label(row),
            *(("",) * 3 if row.is_reference else _moved(found, worst.name, worst.mean_px)),
            _error(found),
            "" if row.is_reference else _change(found),
            "" if sdr is None else f"{sdr:.1f}%",
            "reference" if row.gate is None else ("pass" if row.gate.passed else "FAIL"),
        )
    return table


def _label(row: Row) -> str:
    if row.stand_in:
        return f"{row.name} (graph)"
    return f"{row.name} {row.precision}" if row.is_reference else row.name


def _moved(found: Accuracy, worst: str, worst_px: float) -> tuple[str, str, str]:
    return f"{found.mean_px:.3f}", f"{found.max_px:.3f}", f"{worst} {worst_px:.3f}"


def _error(found: Accuracy) -> str:
    """The MRE, in mm where that is known, else in image pixels."""
    if found.mre_mm is not None:
        return f"{found.mre_mm:.3f} mm"
    return "" if found.mre_px is None else f"{found.mre_px:.3f} px"


def _change(found: Accuracy) -> str:
    """The change of MRE with its interval, in the unit of :func:`_error`."""
    delta, interval = found.delta_mre_px, found.delta_mre_px_interval
    if found.mre_mm is not None:
        delta, interval = found.delta_mre_mm, found.delta_mre_mm_interval
    between = "" if interval is None else f" [{interval[0]:+.3f}, {interval[1]:+.3f}]"
    return "" if delta is None else f"{delta:+.3f}{between}"


def _number(value: float | None) -> str:
    """Three significant digits at least, no exponent."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return str(value)
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
