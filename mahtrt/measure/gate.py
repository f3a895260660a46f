"""The accuracy gate: budgets, and the verdict on one engine.

A budget on averages forgives a jump on one image; one on the largest displacement forgives
nothing. The first are judged on every point, since what a point's map looks like is no excuse for
an average. The last are judged on points whose map has one peak in the reference (see
:mod:`.displacement`), and only where asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mahtrt.measure.accuracy import Accuracy


@dataclass(frozen=True, slots=True)
class Gate:
    """How far an engine may move landmarks before it counts as wrong.

    Attributes:
        budget_px: Mean displacement of a reduced precision (int8, fp16, bf16), network pixels.
        worst_landmark_px: Mean displacement of its worst landmark, network pixels.
        fp32_px: Mean displacement of *each* landmark of an FP32 engine, network pixels.
        fp32_max_px: Displacement of any single point of an FP32 engine, network pixels.
        budget_mm: Mean displacement in mm; replaces ``budget_px`` when given.
        delta_mre_mm: How much the MRE may grow, mm; judged when given.
        p99_px, max_px: 99th percentile and maximum of the displacement of a reduced precision,
            over the points whose map has one peak in the reference, network pixels; judged when
            given.
        landmark_mre_percent: By how many percent the MRE of any landmark may grow; judged when
            given.
    """

    budget_px: float = 0.25
    worst_landmark_px: float = 1.0
    fp32_px: float = 0.01
    fp32_max_px: float = 0.1
    budget_mm: float | None = None
    delta_mre_mm: float | None = None
    p99_px: float | None = None
    max_px: float | None = None
    landmark_mre_percent: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an engine may ship, and every reason why not."""

    passed: bool
    reasons: tuple[str, ...] = ()


def judge(accuracy: Accuracy, gate: Gate, precision: str) -> Verdict:
    """Hold an engine's accuracy against the gate of its precision.

    Args:
        accuracy: Of the built engine.
        gate: The budgets.
        precision: ``fp32`` is held to ``fp32_px``; every other one to ``budget_px``.
    """
    limits = _fp32_limits(accuracy, gate) if precision == "fp32" else _limits(accuracy, gate)
    limits += _error_limits(accuracy, gate)
    reasons = []
    if accuracy.non_finite_points:
        reasons.append(f"{accuracy.non_finite_points} landmarks are NaN or infinite")
    reasons += [reason for limit in limits if (reason := limit.reason)]
    return Verdict(passed=not reasons, reasons=tuple(reasons))


@dataclass(frozen=True, slots=True)
class _Limit:
    """A number and the most it may be; ``absent`` says why the number may be missing."""

    what: str
    value: float | None
    budget: float
    unit: str = "px"
    absent: str = "the data give no length in mm"

    @property
    def reason(self) -> str:
        """Why it fails, "" where it does not."""
        if self.value is None:
            return f"{self.what} cannot be judged: {self.absent}"
        if self.value <= self.budget:  # NaN fails too
            return ""
        unit = self.unit
        return f"{self.what} {self.value:.3g} {unit} is over its budget of {self.budget:g} {unit}"


def _limits(accuracy: Accuracy, gate: Gate) -> list[_Limit]:
    mean = _Limit("mean displacement", accuracy.mean_px, gate.budget_px)
    if gate.budget_mm is not None:
        mean = _Limit("mean displacement", accuracy.mean_mm, gate.budget_mm, "mm")
    limits = [mean, _worst_landmark(accuracy, gate.worst_landmark_px)]
    for what, value, budget in (
        ("99th percentile of displacement", accuracy.single_peak_p99_px, gate.p99_px),
        ("largest displacement", accuracy.single_peak_max_px, gate.max_px),
    ):
        if budget is not None:
            absent = "every point has a map with two peaks"
            limits.append(_Limit(f"{what} (maps with one peak)", value, budget, absent=absent))
    return limits


def _fp32_limits(accuracy: Accuracy, gate: Gate) -> list[_Limit]:
    return [
        _worst_landmark(accuracy, gate.fp32_px),
        _Limit("largest displacement", accuracy.max_px, gate.fp32_max_px),
    ]


def _error_limits(accuracy: Accuracy, gate: Gate) -> list[_Limit]:
    """What is judged against annotations, in every precision."""
    limits = []
    if gate.delta_mre_mm is not None:
        limits.append(_Limit("MRE change", accuracy.delta_mre_mm, gate.delta_mre_mm, "mm"))
    if gate.landmark_mre_percent is not None:
        known = [row for row in accuracy.per_landmark if row.mre_change_percent is not None]
        worst = max(known, key=lambda row: row.mre_change_percent or 0.0, default=None)
        limits.append(
            _Limit(
                f"MRE change of {worst.name}" if worst else "MRE change of each landmark",
                accuracy.worst_mre_change_percent,
                gate.landmark_mre_percent,
                "%",
                absent="the data have no annotations",
            )
        )
    return limits


def _worst_landmark(accuracy: Accuracy, budget_px: float) -> _Limit:
    worst = max(accuracy.per_landmark, key=lambda row: row.mean_px)
    return _Limit(f"mean displacement of {worst.name}", worst.mean_px, budget_px)
