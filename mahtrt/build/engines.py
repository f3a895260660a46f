"""Fifth stage of a build: graphs compiled to engines."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mahtrt.build.request import Job
from mahtrt.build.workspace import Workspace
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.data.preprocess_version import PREPROCESS_VERSION
from mahtrt.progress import StageProgress
from mahtrt.runtime.session import Session
from mahtrt.spec import ModelSpec
from mahtrt.targets.backend import EngineToOpen
from mahtrt.targets.layers import EngineLayers
from mahtrt.targets.table import find_target
from mahtrt.targets.target import EngineOptions


@dataclass(frozen=True, slots=True)
class BuiltEngine:
    """An engine on disk that no bundle holds yet.

    Attributes:
        record: What the manifest says of it, but for accuracy and latency.
        files: Role to place, in the workspace.
        network: The products of the network that its builder parsed, where it tells them.
    """

    record: EngineRecord
    files: Mapping[str, Path]
    network: EngineLayers | None = None

    def open(
        self, spec: ModelSpec, threads: int | None, preprocess_version: int = PREPROCESS_VERSION
    ) -> Session:
        """Open the engine as a user of the bundle will."""
        target = find_target(self.record.target)
        target.require()
        backend = target.open(EngineToOpen(self.record, self.files, spec, threads))
        return Session(backend, spec, self.record, preprocess_version=preprocess_version)


def compile_engines(
    jobs: Sequence[tuple[Job, Path]],
    options: EngineOptions,
    work: Workspace,
    progress: StageProgress,
) -> tuple[BuiltEngine, ...]:
    """Compile every engine from its graph.

    Args:
        jobs: Engines to build, each with the ONNX that holds its precision, in the workspace.

    Raises:
        BuildError: A target refuses a graph.
        MissingComponentError: A target's package, or the device it builds on, is missing.
    """
    built = []
    for done, (job, onnx) in enumerate(jobs):
        stage = f"building {job.name}"
        progress(stage, done, len(jobs))
        told = replace(options, progress=functools.partial(progress, stage, done, len(jobs)))
        folder = work.bundle / "engines" / job.name
        artifact = find_target(job.target).build(onnx, job.precision, folder, told)
        record = artifact.record(job.target, job.precision, work.bundle)
        built.append(BuiltEngine(record, artifact.files, artifact.network))
    return tuple(built)
