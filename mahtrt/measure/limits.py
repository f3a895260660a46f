"""Limits: how far an engine may be from the reference, and the only place that compares with them.

A limit on averages forgives a jump on one image; one on the largest displacement forgives nothing.
The first are judged on every point, since the look of a point's heatmap excuses no
average. The last pass over points that their own wide heatmap excuses (see
:mod:`.wide_heatmaps`), and are judged only where asked for.

Maps, logits and visibility have limits of their own (:mod:`.output_limits`).

The build's gate, the planner, bench and verify all judge here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

from mahtrt.bundle.records import AccuracyRecord, BudgetsRecord, GateRecord, VerdictRecord
from mahtrt.errors import UsageError
from mahtrt.measure.held import HeldLimit, at_most, none_broken
from mahtrt.measure.limit_options import option_of, refuse_without_output
from mahtrt.measure.output_limits import held_outputs
from mahtrt.schema import dataclass_from
from mahtrt.spec import ModelSpec

USUAL_PX = 0.25
USUAL_WORST_LANDMARK_PX = 1.0
WIDENED = 1.25  # of what was measured where an engine was built
# Why a number may be missing.
_NO_LENGTH = "the data give no length in mm"
_NO_TRUTH = "the data have no annotations"
_ALL_EXCUSED = "every point is excused by its wide heatmap"
# Limits that are the least that a number may be, and the best that it can be is 1.
_LEAST = ("map_ssim", "logits_agreement", "visibility_agreement")


@dataclass(frozen=True, slots=True)
class Limits:
    """How far an engine may be from the reference before it counts as wrong.

    Attributes:
        budget_px: Mean displacement of a reduced precision (int8, fp16, bf16), network pixels.
        worst_landmark_px: Mean displacement of its worst landmark, network pixels; None is 1 px,
            and as many times more as ``budget_px`` is wider than usual.
        fp32_px: Mean displacement of *each* landmark of an FP32 engine, network pixels.
        fp32_max_px: Displacement of any single point of an FP32 engine, network pixels.
        budget_mm: Mean displacement in mm; replaces ``budget_px`` when given.
        delta_mre_mm: How much the MRE may grow, mm; judged when given.
        p99_px, max_px: 99th percentile and maximum of the displacement of any precision, over
            the points that no wide heatmap excuses, network pixels; judged when given.
        landmark_mre_percent: How much the MRE of any landmark may grow, percent; judged when
            given.
        map_mean: Mean difference of each map of a reduced precision, in the map's own unit
            (:mod:`mahtrt.measure.maps`).
        map_max: Largest difference of any value of a map, of any precision; judged when given.
        map_ssim: Least mean SSIM of each map, of any precision.
        logits_max: Largest difference of any logit, of any precision; judged when given.
        logits_agreement, visibility_agreement: Least share of decisions that are the reference's,
            of any precision; what may differ is rounded up to whole decisions, so that a single
            one of a few images does not fail an engine, unless the limit is 1.
        fp32_map_max, fp32_logits_max, fp32_visibility_max: Largest difference of an FP32 engine.
    """

    budget_px: float = USUAL_PX
    worst_landmark_px: float | None = None
    fp32_px: float = 0.01
    fp32_max_px: float = 0.1
    budget_mm: float | None = None
    delta_mre_mm: float | None = None
    p99_px: float | None = None
    max_px: float | None = None
    landmark_mre_percent: float | None = None
    map_mean: float = 0.01
    map_max: float | None = None
    map_ssim: float = 0.98
    logits_max: float | None = None
    logits_agreement: float = 0.99
    visibility_agreement: float = 0.99
    fp32_map_max: float = 1e-3
    fp32_logits_max: float = 0.01
    fp32_visibility_max: float = 1e-3

    @classmethod
    def of_gate(cls, gate: GateRecord | None) -> Limits:
        """What a bundle's build held its engines to; the usual limits where it does not say."""
        return cls() if gate is None else cls(**asdict(gate.budgets))

    def check(self) -> None:
        """Refuse what no limit can be.

        Raises:
            UsageError: A limit below 0 or that is no number, or a share or SSIM above 1.
        """
        try:
            dataclass_from(BudgetsRecord, self.to_dict(), "limits", error=UsageError)
        except UsageError as error:
            field = error.subject.removeprefix("limits: ")
            got, expected = error.got, error.expected
            raise UsageError(option_of(field), got=got, expected=expected) from error

    def check_outputs(self, spec: ModelSpec) -> None:
        """Refuse a limit, other than the usual one, of outputs that a network does not have.

        Raises:
            UsageError: There is one.
        """
        refuse_without_output(asdict(self), asdict(Limits()), spec)

    @property
    def worst_px(self) -> float:
        """The limit for the worst landmark's mean displacement, network pixels."""
        if self.worst_landmark_px is not None:
            return self.worst_landmark_px
        widened = USUAL_WORST_LANDMARK_PX * self.budget_px / USUAL_PX
        return max(USUAL_WORST_LANDMARK_PX, widened)

    def scaled(self, share: float) -> Limits:
        """A share of every limit; of one that is a least, a share of what it lies below 1."""
        limits = {name: limit for name, limit in self.to_dict().items() if limit is not None}
        return Limits(
            **{
                name: 1 - share * (1 - limit) if name in _LEAST else share * limit
                for name, limit in limits.items()
            }
        )

    def over(self, accuracy: AccuracyRecord, precision: str) -> tuple[str, ...]:
        """Every limit that an engine is over, in words; what cannot be judged is over.

        Args:
            precision: ``fp32`` is held to the limits of that name; every other one to
                ``budget_px`` and ``map_mean``.
        """
        return tuple(each.reason for each in self.held(accuracy, precision) if each.reason)

    def held(self, accuracy: AccuracyRecord, precision: str) -> tuple[HeldLimit, ...]:
        """Every number that an engine is judged by, with its limit; see :meth:`over`."""
        broken = none_broken("landmarks", accuracy.non_finite_points)
        return (
            *([broken] if accuracy.per_landmark or not broken.passed else []),
            *self._held(accuracy, precision),
            *held_outputs(accuracy, self, precision),
        )

    def judge(self, accuracy: AccuracyRecord, precision: str) -> VerdictRecord:
        """The verdict on an engine; see :meth:`over`."""
        reasons = self.over(accuracy, precision)
        return VerdictRecord(passed=not reasons, reasons=reasons)

    def for_replay(self, has_length: bool) -> Limits:
        """What golden images can be held to: they have no annotations, and no spreads.

        Args:
            has_length: Whether any of them has a spacing; without, a limit in mm falls away.
        """
        kept = replace(self, delta_mre_mm=None, landmark_mre_percent=None, p99_px=None, max_px=None)
        if self.budget_mm is None or has_length:
            return kept
        worst_px = self.worst_px  # holds the mean as well, which is never larger
        return replace(kept, budget_mm=None, budget_px=worst_px, worst_landmark_px=worst_px)

    def allowing(self, found: AccuracyRecord, precision: str) -> Limits:
        """These limits, where they are narrower widened to what was measured and a quarter more.

        The quarter is for another machine, which rounds differently.

        Args:
            found: Accuracy of an engine that passed, on the images that are judged again.
            precision: The engine's, whose limits are widened.
        """
        maps, logits, seen = found.maps, found.logits, found.visibility
        shared = replace(
            self,
            map_max=_most(self.map_max, [each.max for each in maps]),
            map_ssim=_least(self.map_ssim, [each.ssim for each in maps]),
            logits_max=_most(self.logits_max, [each.max for each in logits]),
            logits_agreement=_least(self.logits_agreement, [each.agreement for each in logits]),
            visibility_agreement=_least(
                self.visibility_agreement, [each.agreement for each in seen]
            ),
        )
        if precision == "fp32":
            return replace(
                shared,
                fp32_px=_most(self.fp32_px, [found.worst_landmark_mean_px]),
                fp32_max_px=_most(self.fp32_max_px, [found.max_px]),
                fp32_map_max=_most(self.fp32_map_max, [each.max for each in maps]),
                fp32_logits_max=_most(self.fp32_logits_max, [each.max for each in logits]),
                fp32_visibility_max=_most(self.fp32_visibility_max, [each.max for each in seen]),
            )
        return replace(
            shared,
            budget_px=_most(self.budget_px, [found.mean_px]),
            budget_mm=_most(self.budget_mm, [found.mean_mm]),
            worst_landmark_px=_most(self.worst_px, [found.worst_landmark_mean_px]),
            map_mean=_most(self.map_mean, [each.mean for each in maps]),
        )

    def to_dict(self) -> dict[str, float | None]:
        """Plain data, the limit for the worst landmark in numbers."""
        return {**asdict(self), "worst_landmark_px": self.worst_px}

    def _held(self, accuracy: AccuracyRecord, precision: str) -> Iterator[HeldLimit]:
        if not accuracy.per_landmark:
            return
        if precision == "fp32":
            yield _worst_landmark(accuracy, self.fp32_px)
            yield at_most("largest displacement", accuracy.max_px, self.fp32_max_px, "px")
        else:
            yield from self._reduced(accuracy)
        # What is judged only where asked for holds every precision alike.
        yield from self._tail(accuracy)
        if self.delta_mre_mm is not None:
            yield _at_most_mm("MRE change", accuracy.delta_mre_mm, self.delta_mre_mm)
        if self.landmark_mre_percent is not None:
            yield _landmark_error(accuracy, self.landmark_mre_percent)

    def _reduced(self, accuracy: AccuracyRecord) -> Iterator[HeldLimit]:
        if self.budget_mm is None:
            yield at_most("mean displacement", accuracy.mean_px, self.budget_px, "px")
        else:
            yield _at_most_mm("mean displacement", accuracy.mean_mm, self.budget_mm)
        yield _worst_landmark(accuracy, self.worst_px)

    def _tail(self, accuracy: AccuracyRecord) -> Iterator[HeldLimit]:
        for what, value, limit in (
            ("99th percentile of displacement", accuracy.single_peak_p99_px, self.p99_px),
            ("largest displacement", accuracy.single_peak_max_px, self.max_px),
        ):
            if limit is not None:
                yield at_most(
                    f"{what} (points that are not excused)", value, limit, "px", absent=_ALL_EXCUSED
                )


T = TypeVar("T", float, float | None)


def _most(limit: T, found: Iterable[float | None]) -> T:
    """A limit, or what was found and a quarter more; None stays None: it is not judged."""
    if limit is None:
        return limit
    return max([limit, *(WIDENED * value for value in found if value is not None)])


def _least(limit: float, found: Iterable[float]) -> float:
    """A least share, or what was found with a quarter more missing to 1."""
    return min([limit, *(1 - WIDENED * (1 - value) for value in found)])


def _at_most_mm(what: str, value: float | None, most: float) -> HeldLimit:
    return at_most(what, value, most, "mm", absent=_NO_LENGTH)


def _worst_landmark(accuracy: AccuracyRecord, most_px: float) -> HeldLimit:
    worst = max(accuracy.per_landmark, key=lambda row: row.mean_px)
    return at_most(f"mean displacement of {worst.name}", worst.mean_px, most_px, "px")


def _landmark_error(accuracy: AccuracyRecord, most_percent: float) -> HeldLimit:
    known = [row for row in accuracy.per_landmark if row.mre_change_percent is not None]
    worst = max(known, key=lambda row: row.mre_change_percent or 0.0, default=None)
    what = f"MRE change of {worst.name}" if worst else "MRE change of each landmark"
    grown = accuracy.worst_mre_change_percent
    return at_most(what, grown, most_percent, "%", absent=_NO_TRUTH)
