"""What a service will hold its images against: statistics of the images of a build."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mahtrt.benchmarks.compare import Contender
from mahtrt.benchmarks.report import BenchReport
from mahtrt.build.images import ImageSets
from mahtrt.build.records import measured_engine
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.bundle.reference_statistics import ReferenceStatistics
from mahtrt.data.sample import Sample
from mahtrt.data.subset import spread_out
from mahtrt.monitoring.reference import MOST_IMAGES, make_reference
from mahtrt.progress import StageProgress
from mahtrt.runtime.landmarks import usual_spread_px


def describe_images(
    contenders: Sequence[Contender],
    engine: EngineRecord,
    report: BenchReport,
    images: ImageSets,
    progress: StageProgress,
) -> ReferenceStatistics | None:
    """Run the caller's images through the default engine, and keep how they and results look.

    Args:
        contenders: The open engines, or what stands in for them.
        engine: The default engine.
        report: What was measured of it.

    Returns:
        None where the caller gave no images: those that stand in for them are no guide to what a
        service will get.
    """
    if not images.given:
        return None
    count = min(MOST_IMAGES, len(images.evaluation) + len(images.calib or ()))
    runner = next(each.session for each in contenders if each.name == engine.name)
    measured = measured_engine(engine, report, {})
    return make_reference(
        runner,
        _samples(images),
        engine.name,
        usual_px=usual_spread_px(measured, runner.spec),
        progress=lambda done: progress("describing images", done, count),
    )


def _samples(images: ImageSets) -> Iterator[Sample]:
    """At most :data:`MOST_IMAGES`: those that judge, and of those that calibrate evenly some."""
    judge = spread_out(images.evaluation, MOST_IMAGES)
    yield from judge
    if images.calib is not None and len(judge) < MOST_IMAGES:
        yield from spread_out(images.calib, MOST_IMAGES - len(judge))
