"""Bench a bundle: open every engine and a reference, and let :mod:`compare` measure them.

The reference is PyTorch where the caller has it, else the bundle's own FP32 ONNX through ONNX
Runtime; the report says which. It runs inside the same session as the engines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mahtrt.benchmarks.compare import Contender, compare
from mahtrt.benchmarks.options import DEFAULT_IMAGES, BenchOptions
from mahtrt.benchmarks.report import BenchReport
from mahtrt.bundle.bundle import Bundle, read_bundle
from mahtrt.bundle.golden import GoldenVector, read_golden
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.data.sample import Dataset, Sample
from mahtrt.errors import BuildError, DataError, MissingComponentError, UsageError
from mahtrt.machine import package_version
from mahtrt.measure.limits import Limits
from mahtrt.measure.timing import Progress
from mahtrt.runtime.session import Session, open_session
from mahtrt.targets.table import find_target, reference_target

if TYPE_CHECKING:
    from mahtrt.targets.backend import Backend


def bench(
    bundle: str | Path,
    *,
    reference: Backend | None = None,
    reference_description: str = "",
    dataset: Dataset | str | Path | None = None,
    images: int = DEFAULT_IMAGES,
    engines: Sequence[str] | None = None,
    batch: int | None = None,
    threads: int | None = None,
    latency_budget_ms: float = 100.0,
    limits: Limits | None = None,
    rounds: int = 100,
    max_seconds: float = 120.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> BenchReport:
    """Measure accuracy and latency of a bundle's engines.

    Args:
        bundle: The ``.mahtrt`` folder.
        reference: PyTorch (``TorchBackend``), which stays open; None takes the bundle's own
            FP32 ONNX through ONNX Runtime.
        reference_description: For the report, e.g. the checkpoint's name.
        dataset: Images, or what :func:`mahtrt.data.datasets.open_dataset` opens; None takes the
            bundle's golden images, which have no annotations.
        images: How many of them to use.
        engines: Names or targets; None means all that this machine can open.
        batch: Only engines of this batch size.
        threads: Of one inference; None leaves it to each runtime.
        latency_budget_ms: For the default engine's end_to_end p99.
        limits: How far engines may move landmarks.
        rounds: Timed rounds; fewer when ``max_seconds`` are over.
        seed: Of the order of the rounds and the bootstrap.
        progress: Called with (done, expected) images and rounds together.

    Raises:
        DataError: No bundle, no images, or annotations that do not fit the network.
        UsageError: No such engine, or nothing to compare with.
        IntegrityError: The bundle was changed.
        MissingComponentError: A package that an asked-for engine or the reference needs.
    """
    opened = read_bundle(bundle)
    options = BenchOptions(
        images=images,
        rounds=rounds,
        max_seconds=max_seconds,
        latency_budget_ms=latency_budget_ms,
        limits=limits or Limits(),
        seed=seed,
    )
    with ExitStack() as stack:
        warnings: list[str] = []
        data = _dataset(opened, dataset, warnings)
        referee, description = _reference(opened, reference, reference_description, threads)
        if reference is None:
            stack.callback(referee.session.close)
        contenders = [referee]
        for record in _records(opened, engines, batch):
            contender = _contender(opened, record, threads, warnings, optional=engines is None)
            if contender is not None:
                stack.callback(contender.session.close)
                contenders.append(contender)
        return compare(
            contenders,
            data,
            options,
            reference=description,
            model=_model(opened),
            threads=threads,
            warnings=warnings,
            progress=progress,
        )


class GoldenImages:
    """A bundle's golden vectors as a data set without annotations."""

    source = "golden images of the bundle"

    def __init__(self, vectors: Sequence[GoldenVector]) -> None:
        self._vectors = tuple(vectors)
        self.names = tuple(vector.name for vector in vectors)

    def __len__(self) -> int:
        return len(self._vectors)

    def __getitem__(self, index: int) -> Sample:
        vector = self._vectors[index]
        # Its landmarks are the reference's own, not the truth.
        return Sample(vector.name, vector.image, None, vector.spacing_mm)

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))


def _dataset(bundle: Bundle, dataset: Dataset | str | Path | None, warnings: list[str]) -> Dataset:
    if isinstance(dataset, (str, Path)):
        from mahtrt.data.datasets import open_dataset

        return open_dataset(dataset)
    if dataset is not None:
        return dataset
    golden = bundle.manifest.golden
    if golden is None:
        raise DataError(
            str(bundle.path),
            got="no data, and no golden images in the bundle",
            expected="images to measure on",
            fix="Give --data.",
        )
    found = GoldenImages(read_golden(bundle.file(golden.file)))
    warnings.append(
        f"accuracy rests on the bundle's {len(found)} golden images: give --data for more"
    )
    return found


def _reference(
    bundle: Bundle, backend: Backend | None, description: str, threads: int | None
) -> tuple[Contender, str]:
    """What engines are compared with, and how the report calls it."""
    if backend is not None:
        session = Session(backend, bundle.spec)
        name, text = "pytorch", f"PyTorch {package_version('torch')} eager fp32"
    else:
        session = _onnx_reference(bundle, threads)
        name = reference_target()
        text = f"the bundle's FP32 ONNX, {name} {package_version(name) or ''}".strip()
    contender = Contender(name, name, "fp32", session.batch, session, is_reference=True)
    return contender, f"{text} ({description})" if description else text


def _onnx_reference(bundle: Bundle, threads: int | None) -> Session:
    relative = bundle.manifest.models.get("fp32")
    if relative is None:
        raise UsageError(
            str(bundle.path),
            got="neither a checkpoint nor an FP32 ONNX in the bundle",
            expected="something to compare with",
            fix="Give --reference CHECKPOINT.",
        )
    record = EngineRecord(
        name="reference", target=reference_target(), precision="fp32", files={"onnx": relative}
    )
    target = find_target(record.target)
    target.require()
    backend = target.open(record, bundle.engine_files(record), bundle.spec, threads=threads)
    return Session(backend, bundle.spec)


def _records(
    bundle: Bundle, engines: Sequence[str] | None, batch: int | None
) -> list[EngineRecord]:
    """The engines asked for, each once, in the bundle's order."""
    known = bundle.manifest.engines
    asked = known if engines is None else [bundle.engine(name) for name in engines]
    found = [r for r in known if r in asked and (batch is None or r.batch == batch)]
    if not found:
        sizes = ", ".join(f"{record.name} (batch {record.batch})" for record in known)
        raise UsageError(f"batch {batch}", got="no engine of that size", expected=sizes)
    return found


def _contender(
    bundle: Bundle,
    record: EngineRecord,
    threads: int | None,
    warnings: list[str],
    *,
    optional: bool,
) -> Contender | None:
    is_default = record.name == bundle.manifest.default_engine
    try:
        # read_bundle has just hashed every file.
        session = open_session(bundle.path, engine=record.name, threads=threads, verify=False)
    except (MissingComponentError, BuildError) as error:
        if is_default or not optional:
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
        "provenance": dict(manifest.provenance),
    }
