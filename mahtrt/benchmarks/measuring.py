"""What a bench measures after accuracy and latency: starts, sizes, several callers at a time.

All of it runs when the sessions that were compared are closed, so that nothing shares the machine
with it. What cannot be measured is a warning, and the report is whole without it.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mahtrt.benchmarks.measures import Startup, Throughput
from mahtrt.benchmarks.options import TIMED_IMAGES, BenchOptions
from mahtrt.benchmarks.sizes import sizes_of
from mahtrt.benchmarks.startup import ColdStarts, measure_startup
from mahtrt.benchmarks.throughput import measure_throughput
from mahtrt.bundle.bundle import Bundle, read_bundle
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.data.sample import Dataset
from mahtrt.errors import MahtrtError, UsageError
from mahtrt.progress import StageProgress
from mahtrt.targets.table import find_target

if TYPE_CHECKING:
    from mahtrt.benchmarks.report import BenchReport

MOST_STREAMS = 1024


@dataclass(frozen=True, slots=True)
class Measured:
    """What was compared, and with what.

    Attributes:
        records: The engines that were asked for.
        sweep: Bundles of the same network with other batch sizes.
    """

    bundle: Bundle
    records: tuple[EngineRecord, ...]
    data: Dataset
    sweep: tuple[Bundle, ...] = ()


def check_measuring(options: BenchOptions) -> None:
    """Refuse numbers that cannot be measured with.

    Raises:
        UsageError: A negative number of cold starts, streams below 1, or no window of time.
    """
    if options.cold_starts < 0:
        raise UsageError("--cold-starts", got=str(options.cold_starts), expected="0 or more")
    for streams in options.streams:
        if not 1 <= streams <= MOST_STREAMS:
            expected = f"numbers from 1 to {MOST_STREAMS}"
            raise UsageError("--streams", got=str(streams), expected=expected)
    for name, unit, given in (
        ("--stream-seconds", "seconds", options.stream_seconds),
        ("--peer-minutes", "minutes", options.peer_minutes),
    ):
        if not (math.isfinite(given) and given > 0):
            raise UsageError(name, got=f"{given:g}", expected=f"{unit} above 0")


def read_sweep(bundle: Bundle, options: BenchOptions) -> tuple[Bundle, ...]:
    """The bundles of other batch sizes.

    Raises:
        UsageError: One is of another network.
        DataError: There is no such bundle.
        IntegrityError: One was changed.
    """
    return tuple(_of_same_network(bundle, path, options) for path in options.sweep)


def _of_same_network(bundle: Bundle, path: Path, options: BenchOptions) -> Bundle:
    other = read_bundle(path, trust=options.trust)
    if other.spec != bundle.spec:
        raise UsageError(
            f"--sweep {path}",
            got=f"a bundle of another network ({other.spec.family})",
            expected=f"the network of {bundle.path.name}, exported with another --batch",
        )
    return other


def measure_more(
    report: BenchReport, asked: Measured, options: BenchOptions, progress: StageProgress
) -> BenchReport:
    """The report with sizes, cold starts and throughput, as far as they are asked for."""
    warnings: list[str] = []
    startup = _startup(asked, options, warnings, progress)
    throughput = _throughput(asked, options, warnings, progress)
    measures = replace(
        report.measures, sizes=sizes_of(asked.bundle), startup=startup, throughput=throughput
    )
    return replace(report, measures=measures, warnings=(*report.warnings, *warnings))


def _startup(
    asked: Measured, options: BenchOptions, warnings: list[str], progress: StageProgress
) -> tuple[Startup, ...]:
    names = tuple(r.name for r in asked.records if find_target(r.target).runs_here)
    if not (names and options.cold_starts):
        return ()
    images = asked.data[0].images
    starts = ColdStarts(
        asked.bundle.path, names, tuple(images), options.cold_starts, options.threads
    )
    rows, failed = measure_startup(starts, functools.partial(progress, "cold starts"))
    warnings.extend(failed)
    return rows


def _throughput(
    asked: Measured, options: BenchOptions, warnings: list[str], progress: StageProgress
) -> tuple[Throughput, ...]:
    streams = tuple(dict.fromkeys(options.streams)) or ((1,) if asked.sweep else ())
    if not streams:
        return ()
    cases = [asked.data[i].images for i in range(min(len(asked.data), TIMED_IMAGES))]
    jobs: list[tuple[str, Callable[[], Throughput]]] = [
        (
            f"{record.name} at batch {record.batch} with {count} streams",
            functools.partial(
                measure_throughput,
                *(bundle, record, cases, count),
                seconds=options.stream_seconds,
                threads=options.threads,
            ),
        )
        for (bundle, record), count in itertools.product(_swept(asked, options), streams)
    ]
    found = []
    for done, (name, job) in enumerate(jobs):
        progress("throughput", done, len(jobs), name)
        try:
            found.append(job())
        except MahtrtError as error:
            warnings.append(f"{name} has no throughput: {error}")
    progress("throughput", len(jobs), len(jobs))
    return tuple(found)


def _swept(asked: Measured, options: BenchOptions) -> Sequence[tuple[Bundle, EngineRecord]]:
    """Each engine with its bundle, smaller batches first: the default one, or those asked for."""
    names = [record.name for record in asked.records if find_target(record.target).runs_here]
    if options.engines is None:
        default = asked.bundle.manifest.default_engine
        names = [default] if default in names else names[:1]
    pairs = [
        (bundle, record)
        for bundle in (asked.bundle, *asked.sweep)
        for record in bundle.manifest.engines
        if record.name in names
    ]
    return sorted(pairs, key=lambda pair: (names.index(pair[1].name), pair[1].batch))
