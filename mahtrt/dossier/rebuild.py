"""Rebuild jitter: how far landmarks move when one graph is compiled again and again.

A builder that times candidates, or tries configurations, need not choose the same ones each time.
Each build is held against the engine of the bundle, and against the builds before it.
"""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mahtrt import files
from mahtrt.build.engines import BuiltEngine, compile_engines
from mahtrt.build.request import Job
from mahtrt.build.workspace import Workspace
from mahtrt.bundle.bundle import Bundle
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.digest import sha256_of_file
from mahtrt.dossier.cohort import ImageSet
from mahtrt.dossier.pairs import Displacement, displacement
from mahtrt.dossier.protocol import engine_facts
from mahtrt.dossier.side_by_side import SideBySide, contender, side_by_side
from mahtrt.errors import MissingComponentError, UsageError
from mahtrt.measure.limits import Limits
from mahtrt.progress import StageProgress, silent
from mahtrt.runtime.opening import open_engine
from mahtrt.schema import plain
from mahtrt.scratch import temporary_folder
from mahtrt.targets.table import find_target
from mahtrt.targets.target import EngineOptions

SCHEMA = "mahtrt.rebuild/1"
FILE_NAME = "rebuild.json"
GRAPH_ROLE = "onnx"


@dataclass(frozen=True, slots=True)
class RebuildSetting:
    """What to build again.

    Attributes:
        builds: How many times.
        limits: How far each build may be from the engine of the bundle.
        threads: Threads of one inference; None leaves their number to the runtime.
    """

    builds: int
    limits: Limits
    threads: int | None = None


def check_rebuild(bundle: Bundle, builds: int) -> None:
    """Refuse what cannot be built again, before the long work.

    Raises:
        UsageError: A number of builds below 1, or no graph in the bundle.
        MissingComponentError: The default engine's target does not run here.
    """
    record = bundle.engine()
    if builds < 1:
        raise UsageError("--rebuild", got=str(builds), expected="at least 1")
    if GRAPH_ROLE not in record.files:
        raise UsageError(
            "--rebuild",
            got=f"a bundle without the graph of {record.name}",
            expected="the graph that the engine was built from",
            fix="Give the whole bundle instead of a packed one.",
        )
    finding = find_target(record.target).finding()
    if not finding.able:
        raise MissingComponentError(
            f"--rebuild of {record.name}",
            got=finding.detail,
            expected="a target that builds on this machine",
            fix=finding.fix,
        )


def rebuild_document(
    bundle: Bundle, images: ImageSet, options: RebuildSetting, progress: StageProgress = silent
) -> dict[str, Any]:
    """Build the default engine anew, several times, without any cache.

    Raises:
        UsageError, MissingComponentError: As :func:`check_rebuild`.
        BuildError: The target refuses the graph.
    """
    check_rebuild(bundle, options.builds)
    record = bundle.engine()
    shipped = _own_digests(bundle, record)
    made: list[dict[str, Any]] = []
    found: list[SideBySide] = []
    for number in range(1, options.builds + 1):
        with temporary_folder() as folder:
            engine = _build(bundle, record, folder, options, progress)
            found.append(_compared(bundle, (record, engine), images, options, number, progress))
            made.append(_described(engine, folder, found[-1], options.limits))
    apart = _apart(found)
    digests = [shipped, *(each["files"] for each in made)]
    return {
        "schema": SCHEMA,
        "engine": engine_facts(bundle, record),
        "builds": made,
        "cohort": {name: images.to_dict()[name] for name in ("source", "images", "sha256")},
        "limits": options.limits.to_dict(),
        "compiles": bool(shipped),
        "identical_files": [role for role in shipped if _same(digests, role)],
        "differing_files": [role for role in shipped if not _same(digests, role)],
        "largest_between_builds": plain(apart),
        "passed": all(each["passed"] for each in made),
    }


def _build(
    bundle: Bundle,
    record: EngineRecord,
    folder: Path,
    options: RebuildSetting,
    progress: StageProgress,
) -> BuiltEngine:
    """The engine, compiled from its graph."""
    graph = record.files[GRAPH_ROLE]
    work = Workspace(folder / "bundle", folder / "scratch")
    files.make_folder(work.scratch)
    files.make_folders((work.bundle / graph).parent)
    bundle.file(graph).copy_to(work.bundle / graph)
    job = Job(record.precision, record.target)
    fresh = EngineOptions(options.threads, cache=False)
    (built,) = compile_engines([(job, work.bundle / graph)], fresh, work, progress)
    return built


def _compared(
    bundle: Bundle,
    engines: tuple[EngineRecord, BuiltEngine],
    images: ImageSet,
    options: RebuildSetting,
    number: int,
    progress: StageProgress,
) -> SideBySide:
    """A build beside the engine of the bundle."""
    record, built = engines
    with ExitStack() as stack:
        shipped = open_engine(bundle, engine=record.name, threads=options.threads)
        stack.callback(shipped.close)
        rebuilt = built.open(bundle.spec, options.threads, bundle.manifest.preprocess_version)
        stack.callback(rebuilt.close)
        first = contender(record.name, record, shipped)
        second = contender(f"build {number}", built.record, rebuilt)
        return side_by_side(first, second, images.dataset, progress)


def _described(
    engine: BuiltEngine, folder: Path, found: SideBySide, limits: Limits
) -> dict[str, Any]:
    """One build: its files, how it is configured, and how far it is from the bundle's engine."""
    device = engine.record.device
    return {
        **found.to_dict(limits, engine.record.precision),
        "files": {
            role: sha256_of_file(place)
            for role, place in sorted(engine.files.items())
            if role != GRAPH_ROLE
        },
        "configuration": {
            "inference_precision": device.inference_precision,
            "threads": device.threads,
            "settings": plain(device.settings),
        },
        "versions": plain(engine.record.versions),
    }


def _own_digests(bundle: Bundle, record: EngineRecord) -> dict[str, str]:
    """Role to digest of the engine's files, but for its graph."""
    return {
        role: bundle.records[path].sha256
        for role, path in sorted(record.files.items())
        if role != GRAPH_ROLE
    }


def _same(digests: list[dict[str, str]], role: str) -> bool:
    """Whether a file is the same in the bundle and in all builds."""
    return len({each.get(role) for each in digests}) == 1


def _apart(found: list[SideBySide]) -> Displacement | None:
    """The two builds whose landmarks are furthest apart; None with one build.

    The largest distance in mm may be that of another two: images have spacings of their own.
    """
    sets = [(each.cohort.points[each.second], each.cohort) for each in found]
    pairs = [
        displacement(second, first, cohort)
        for (first, cohort), (second, _) in itertools.combinations(sets, 2)
    ]
    furthest = max(pairs, key=lambda each: each.max_px or 0.0, default=None)
    in_mm = [each.max_mm for each in pairs if each.max_mm is not None]
    return furthest and replace(furthest, max_mm=max(in_mm, default=None))
