"""Bench a bundle: open every engine and a reference, and let :mod:`compare` measure them.

The reference is PyTorch where its weights and code are at hand, else the bundle's own FP32 ONNX
through ONNX Runtime; the report says which. Its images are prepared as those of the engines are.
"""

from __future__ import annotations

import functools
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mahtrt.benchmarks.compare import Contender, ReportFacts, compare
from mahtrt.benchmarks.golden import GoldenImages
from mahtrt.benchmarks.options import BenchOptions
from mahtrt.benchmarks.report import BenchReport
from mahtrt.bundle.bundle import Bundle, read_bundle
from mahtrt.bundle.golden import read_golden
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.data.datasets import open_dataset
from mahtrt.data.sample import Dataset
from mahtrt.errors import BuildError, DataError, MissingComponentError, UsageError
from mahtrt.machine import package_version
from mahtrt.models.reference import find_reference
from mahtrt.progress import StageProgress, silent
from mahtrt.runtime.session import Session, open_session
from mahtrt.schema import plain
from mahtrt.targets.backend import EngineToOpen
from mahtrt.targets.table import find_target, reference_target


def bench(options: BenchOptions, progress: StageProgress = silent) -> BenchReport:
    """Measure accuracy and latency of a bundle's engines.

    Args:
        progress: Told of images and timed rounds together.

    Raises:
        DataError: No bundle, no images, or annotations that do not fit the network.
        UsageError: No such engine, or nothing to compare with.
        IntegrityError: The bundle was changed.
        CheckpointError: The reference given is not what was exported.
        MissingComponentError: A package that an asked-for engine or the reference needs.
    """
    bundle = read_bundle(options.bundle)
    with ExitStack() as stack:
        warnings: list[str] = []
        data = _dataset(bundle, options, warnings)
        referee, description = _reference(bundle, options, warnings)
        stack.callback(referee.session.close)
        contenders = [referee]
        for record in _records(bundle, options):
            contender = _contender(bundle, record, options, warnings)
            if contender is not None:
                stack.callback(contender.session.close)
                contenders.append(contender)
        return compare(
            contenders,
            data,
            options.comparison,
            ReportFacts(description, _model(bundle), warnings),
            progress=functools.partial(progress, "measuring"),
        )


def _dataset(bundle: Bundle, options: BenchOptions, warnings: list[str]) -> Dataset:
    if isinstance(options.data, (str, Path)):
        data = open_dataset(
            options.data,
            points=options.points,
            spacing_mm=options.spacing_mm,
            skip_bad=options.skip_bad,
        )
        skipped = getattr(data, "skipped", ())
        warnings.extend(f"left out {name}, which cannot be read" for name in skipped)
        return data
    if options.data is not None:
        return options.data
    golden = bundle.manifest.golden
    if golden is None:
        raise DataError(
            str(bundle.path),
            got="no data, and no golden images in the bundle",
            expected="images to measure on",
            fix="Give --data.",
        )
    found = GoldenImages(read_golden(bundle))
    warnings.append(
        f"accuracy rests on the bundle's {len(found)} golden images: give --data for more"
    )
    return found


def _reference(bundle: Bundle, options: BenchOptions, warnings: list[str]) -> tuple[Contender, str]:
    """What engines are compared with, and how the report calls it.

    PyTorch where its weights and code are at hand, else the bundle's own FP32 ONNX.
    """
    found = find_reference(
        bundle.spec,
        bundle.manifest.source,
        checkpoint=options.reference,
        model=options.model,
        folders=(bundle.path.resolve().parent, Path.cwd()),
        batch=options.batch or 1,
    )
    if found is not None:
        backend, weights = found
        if options.threads is not None:
            import torch

            torch.set_num_threads(options.threads)
        session, name = Session(backend, bundle.spec), "pytorch"
        description = f"PyTorch {package_version('torch')} eager fp32 ({weights})"
    else:
        warnings.append(
            "no PyTorch reference at hand (--reference CHECKPOINT): engines are compared with the "
            "bundle's FP32 ONNX"
        )
        session, name = _onnx_reference(bundle, options.threads), reference_target()
        description = f"the bundle's FP32 ONNX, {name} {package_version(name) or ''}".strip()
    return Contender(name, name, "fp32", session.batch, session, is_reference=True), description


def _onnx_reference(bundle: Bundle, threads: int | None) -> Session:
    graph = bundle.manifest.graph("fp32")
    if graph is None:
        raise UsageError(
            str(bundle.path),
            got="neither a checkpoint nor an FP32 ONNX in the bundle",
            expected="something to compare with",
            fix="Give --reference CHECKPOINT.",
        )
    record = EngineRecord(
        name="reference", target=reference_target(), precision="fp32", files={"onnx": graph.file}
    )
    target = find_target(record.target)
    target.require()
    files = bundle.engine_files(record)
    backend = target.open(EngineToOpen(record, files, bundle.spec, threads))
    return Session(backend, bundle.spec)


def _records(bundle: Bundle, options: BenchOptions) -> list[EngineRecord]:
    """The engines asked for, each once, in the bundle's order."""
    known, batch = bundle.manifest.engines, options.batch
    asked = known if options.engines is None else [bundle.engine(name) for name in options.engines]
    found = [r for r in known if r in asked and (batch is None or r.batch == batch)]
    if not found:
        sizes = ", ".join(f"{record.name} (batch {record.batch})" for record in known)
        raise UsageError(f"batch {batch}", got="no engine of that size", expected=sizes)
    return found


def _contender(
    bundle: Bundle, record: EngineRecord, options: BenchOptions, warnings: list[str]
) -> Contender | None:
    """The opened engine; None, with a warning, for one that cannot run here and need not."""
    is_default = record.name == bundle.manifest.default_engine
    try:
        # read_bundle has just hashed every file.
        session = open_session(
            bundle.path, engine=record.name, threads=options.threads, verify=False
        )
    except (MissingComponentError, BuildError) as error:
        if is_default or options.engines is not None:
            raise
        warnings.append(f"{record.name} is left out: {error}")
        return None
    warnings.extend(f"{record.name}: {note}" for note in session.engine_notes)
    return Contender(
        record.name, record.target, record.precision, record.batch, session, is_default=is_default
    )


def _model(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "bundle": bundle.path.resolve().name,
        "precision": manifest.precision,
        "default_engine": manifest.default_engine,
        "created": manifest.created,
        "provenance": plain(manifest.provenance) or {},
    }
