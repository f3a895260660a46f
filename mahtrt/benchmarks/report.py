"""What a bench found: rows, verdict, the JSON ``mahtrt.bench/1`` and the table on screen.

Two scopes, always both: ``engine`` is a prepared tensor to the network's outputs, on a GPU between
two of its events, without copies, where the engine can tell; ``end_to_end``
is an image at acquisition size in memory to landmarks in that image's pixels. The latency budget
is judged on the p99 of ``end_to_end``, of the bundle's default engine: what a user waits for, in
nearly every case. Accuracy is judged for every engine, so that no engine of a bundle is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from mahtrt.benchmarks.measures import Measures
from mahtrt.bundle.records import AccuracyRecord, VerdictRecord
from mahtrt.errors import GateError, LatencyError
from mahtrt.measure.agreement import Agreement
from mahtrt.measure.map_cases import MapCase
from mahtrt.measure.quantities import Selection
from mahtrt.measure.timing import Timings
from mahtrt.schema import plain

if TYPE_CHECKING:
    from mahtrt.benchmarks.accuracy_pass import Cohort

SCHEMA = "mahtrt.bench/1"
Scope = Literal["engine", "end_to_end"]
Clock = Literal["wall", "device"]
ChangeVerdict = Literal["better", "worse", "no difference", "not comparable"]
SCOPES: tuple[Scope, ...] = ("engine", "end_to_end")
TIMES = ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms", "mean_ms")


@dataclass(frozen=True, slots=True)
class ReportFacts:
    """What a report says beside its measurements.

    Attributes:
        reference: What the reference is.
        model: What the network is.
        warnings: Warnings of the caller, put first.
        torch: How PyTorch runs on each device, where it is a reference.
        peers: Every peer that was asked for, with why it failed, "" where it did not.
    """

    reference: str
    model: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    torch: Sequence[Mapping[str, Any]] = ()
    peers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One engine (or the reference) in one scope.

    Attributes:
        name: The engine's name in the bundle, or the reference's.
        backend: ``pytorch``, ``openvino``, ``onnxruntime``, …
        speedup_vs_reference: Per image; None on the reference's own rows.
        speedup_vs_torch: The same when the reference is PyTorch, else None.
        timings: None for what was not timed.
        threads: Threads of one inference; None where the runtime does not say, or a GPU computes.
        device: What computed, ``cpu`` or ``cuda:0 NVIDIA H200``; "" where nothing did.
        is_peer: Neither an engine nor what engines are held against, but what else a user could
            run; it is judged by nobody.
        timed_by: ``device`` where two events of the GPU gave the times, without copies; ``wall``
            where the clock of the host did, with all that a caller waits for.
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
    accuracy: AccuracyRecord
    speedup_vs_reference: float | None = None
    speedup_vs_torch: float | None = None
    gate: VerdictRecord | None = None
    is_reference: bool = False
    is_default: bool = False
    stand_in: str = ""
    threads: int | None = None
    device: str = ""
    is_peer: bool = False
    timed_by: Clock = "wall"

    @property
    def is_engine(self) -> bool:
        """Whether it is an engine of the bundle."""
        return not (self.is_reference or self.is_peer)

    @property
    def images_per_s(self) -> float | None:
        return None if self.timings is None else 1e3 * self.batch / self.timings.mean_ms

    @property
    def measured_on(self) -> str:
        """``engine``, or what stood in for it."""
        return self.stand_in or "engine"

    @property
    def verdict(self) -> dict[str, Any] | None:
        """The accuracy gate's verdict with what it was judged on, plain; None for the reference."""
        if self.gate is None:
            return None
        return {
            "passed": self.gate.passed,
            "reasons": list(self.gate.reasons),
            "measured_on": self.measured_on,
            "batch": self.batch,
        }

    def to_dict(self) -> dict[str, Any]:
        times = self.timings
        return {
            "name": self.name,
            "backend": self.backend,
            "precision": self.precision,
            "batch": self.batch,
            "threads": self.threads,
            "device": self.device,
            "scope": self.scope,
            "timed_by": self.timed_by,
            "reference": self.is_reference,
            "peer": self.is_peer,
            "default": self.is_default,
            **{name: getattr(times, name, None) for name in TIMES},
            "runs": 0 if times is None else times.runs,
            "unstable": times is not None and times.unstable,
            "p50_window_spread": None if times is None else times.window_spread,
            "samples_ms": [] if times is None else [round(ms, 5) for ms in times.samples_ms],
            "images_per_s": self.images_per_s,
            "speedup_vs_torch": self.speedup_vs_torch,
            "speedup_vs_reference": self.speedup_vs_reference,
            "accuracy_pass": None if self.gate is None else self.gate.passed,
            "verdict": self.verdict,
            "measured_on": self.measured_on,
            "accuracy": plain(self.accuracy),
        }


@dataclass(frozen=True, slots=True)
class Change:
    """How one row changed.

    Attributes:
        percent: By how much the time relative to the reference grew; None where not comparable.
        interval: Its 95% interval, in percent.
        reason: Why it is not comparable, "" where it is.
    """

    name: str
    scope: Scope
    verdict: ChangeVerdict
    percent: float | None = None
    interval: tuple[float, float] | None = None
    reason: str = ""

    @property
    def text(self) -> str:
        """The change in a sentence."""
        if self.percent is None or self.interval is None:
            return f"{self.verdict}: {self.reason}"
        low, high = self.interval
        return f"{self.verdict}: {self.percent:+.1f}% [{low:+.1f}, {high:+.1f}]"


@dataclass(frozen=True, slots=True)
class BenchReport:
    """Everything one bench found.

    Attributes:
        rows: The reference first, then the bundle's engines, then peers, each in both scopes.
        latency_budget_ms: For the p99 of :attr:`judged_row`; None judges no latency.
        warnings: What a reader of the numbers has to know, one sentence each.
        changes: How engines and peers changed since an earlier report, where one was given.
        baseline: Name of that report's file, "" for none.
        cohort: Every contender's landmarks of all images, which the JSON does not hold.
        details: How each engine and peer agrees with the reference, by name: landmark by landmark
            and on which images not; none of a network without landmarks.
        measures: What was measured beside accuracy and latency.
        quantities: The clinical quantities that ``details`` tell of, None without any.
        beside: Times of what else ran in the rounds, by name, which the JSON does not hold.
        map_cases: The maps of the default engine that differ most from the reference's.
    """

    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    model: Mapping[str, Any]
    conditions: Mapping[str, Any]
    rows: tuple[Row, ...]
    latency_budget_ms: float | None
    warnings: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    baseline: str = ""
    cohort: Cohort | None = field(default=None, compare=False, repr=False)
    details: Mapping[str, Agreement] = field(default_factory=dict)
    measures: Measures = field(default_factory=Measures)
    quantities: Selection | None = None
    beside: Mapping[str, Timings] = field(default_factory=dict)
    map_cases: tuple[MapCase, ...] = field(default=(), compare=False, repr=False)

    @property
    def failed_peers(self) -> dict[str, str]:
        """The peers that have no times, by name, with the reason."""
        peers: Mapping[str, str] = self.conditions.get("peers", {})
        return {name: reason for name, reason in peers.items() if reason}

    @property
    def judged_row(self) -> Row:
        """End to end of the default engine, or of the first one if it was not measured."""
        timed = [r for r in self.rows if r.scope == "end_to_end" and r.timings is not None]
        rows = [r for r in timed if r.is_engine] or timed
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
    def worse(self) -> tuple[Change, ...]:
        """The changes of engines to the worse."""
        engines = {row.name for row in self.rows if row.is_engine}
        return tuple(c for c in self.changes if c.verdict == "worse" and c.name in engines)

    @property
    def passed(self) -> bool:
        return self.accuracy_pass and self.latency_pass and not self.worse

    @property
    def exit_code(self) -> int:
        """3 when an engine's accuracy fails, else 4 when a time does, else 0."""
        if not self.accuracy_pass:
            return GateError.exit_code
        return 0 if self.passed else LatencyError.exit_code

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
        found += [
            f"{each.name}: {each.scope} against the reference is {each.text} since {self.baseline}"
            for each in self.worse
        ]
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
            "failed_peers": [{"name": n, "reason": r} for n, r in self.failed_peers.items()],
            "verdict": {
                "latency_budget_ms": self.latency_budget_ms,
                "latency_engine": self.judged_row.name,
                "latency_p99_ms": self.judged_p99_ms,
                "accuracy_pass": self.accuracy_pass,
                "latency_pass": None if self.latency_budget_ms is None else self.latency_pass,
                "pass": self.passed,
                "reasons": list(self.reasons),
            },
            "baseline": self.baseline or None,
            "changes": plain(self.changes),
            "warnings": list(self.warnings),
            **self._details(),
            **self.measures.to_dict(),
        }

    def _details(self) -> dict[str, Any]:
        """What is in the document only where it was measured."""
        details = {name: each.to_dict() for name, each in self.details.items()}
        quantities = self.quantities.to_dict() if self.quantities else None
        maps = [each.to_dict() for each in self.map_cases]
        found = {"details": details, "quantities": quantities, "map_cases": maps}
        return {name: each for name, each in found.items() if each}
