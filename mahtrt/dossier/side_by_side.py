"""Two open engines over the same images, without timing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mahtrt.benchmarks.accuracy_pass import AccuracyPass, Cohort
from mahtrt.benchmarks.compare import Contender
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.bundle.records import AccuracyRecord
from mahtrt.data.sample import Dataset
from mahtrt.dossier.pairs import displacement, held_dicts
from mahtrt.measure.limits import Limits
from mahtrt.progress import StageProgress, silent
from mahtrt.runtime.session import Session
from mahtrt.schema import plain

_MOST_TOGETHER = 8  # cases in memory


@dataclass(frozen=True, slots=True, eq=False)
class SideBySide:
    """What two engines gave.

    Attributes:
        accuracy: The second against the first, and both against annotations.
        cohort: Their landmarks; the first is the reference.
    """

    first: str
    second: str
    accuracy: AccuracyRecord
    cohort: Cohort

    def to_dict(self, limits: Limits, precision: str) -> dict[str, Any]:
        """The comparison as plain data, judged.

        Args:
            precision: As for :meth:`Limits.held`.
        """
        points, held = self.cohort.points, limits.held(self.accuracy, precision)
        found = displacement(points[self.second], points[self.first], self.cohort)
        return {
            "first": self.first,
            "second": self.second,
            "displacement": plain(found),
            "mre_mm": plain(self.accuracy.mre_mm),
            "first_mre_mm": plain(self.accuracy.reference_mre_mm),
            "delta_mre_mm": plain(self.accuracy.delta_mre_mm),
            "delta_mre_mm_interval": plain(self.accuracy.delta_mre_mm_interval),
            "limits": held_dicts(held, self.accuracy, found),
            "passed": all(each.passed for each in held),
        }


def contender(name: str, record: EngineRecord, session: Session) -> Contender:
    """An open engine, ready to be compared."""
    return Contender(name, record.target, record.precision, record.batch, session)


def side_by_side(
    first: Contender,
    second: Contender,
    images: Dataset,
    progress: StageProgress = silent,
    seed: int = 0,
) -> SideBySide:
    """Run two engines over the same images.

    Args:
        first: What the second is compared with.
        seed: Seed of the bootstrap.

    Raises:
        DataError: Annotations that do not fit the network.
    """
    stage = f"comparing {second.name}"
    found = AccuracyPass([replace(first, is_reference=True), second], images.source)
    step = max(first.batch, second.batch, _MOST_TOGETHER)
    for start in range(0, len(images), step):
        found.add([images[i] for i in range(start, min(start + step, len(images)))])
        progress(stage, min(start + step, len(images)), len(images))
    return SideBySide(first.name, second.name, found.records(seed)[second.name], found.cohort())
