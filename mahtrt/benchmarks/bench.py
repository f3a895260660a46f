"""Bench a bundle: open every engine and a reference, and let :mod:`compare` measure them.

The reference is PyTorch where its weights and code are at hand, on the device of the engine that it
is compared with, in the layout and with the threads that are fastest; else it is the bundle's own
FP32 ONNX through ONNX Runtime. The report says which. Images are prepared as for the engines.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from mahtrt.benchmarks.baseline import compare_with_baseline, notes_on, read_baseline
from mahtrt.benchmarks.compare import Contender, compare
from mahtrt.benchmarks.golden import GoldenImages
from mahtrt.benchmarks.measuring import Measured, check_measuring, measure_more, read_sweep
from mahtrt.benchmarks.on_cluster import check_cluster, parts_on_cluster
from mahtrt.benchmarks.options import BenchOptions, CompareOptions
from mahtrt.benchmarks.peer_images import peer_images
from mahtrt.benchmarks.peers import ALL_CPU, check_peers, named_peers, open_peer
from mahtrt.benchmarks.reference import Reference, open_export, tuned_torch_as_reference
from mahtrt.benchmarks.report import BenchReport, ReportFacts
from mahtrt.benchmarks.roofline import Roof, raise_roof
from mahtrt.bundle.bundle import Bundle, read_bundle
from mahtrt.bundle.golden import read_golden
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.data.datasets import open_dataset
from mahtrt.data.sample import Dataset
from mahtrt.errors import BuildError, DataError, MissingComponentError, UsageError
from mahtrt.machine import package_version
from mahtrt.measure.quantity_file import quantities_for
from mahtrt.models.reference import find_reference
from mahtrt.progress import StageProgress, silent
from mahtrt.runtime.decode import landmark_names
from mahtrt.runtime.engine_choice import (
    check_device,
    check_require,
    nothing_opened,
    nothing_runs,
    runs_on,
)
from mahtrt.runtime.opening import open_engine
from mahtrt.runtime.peer import PeerCalibration, PeerSetting
from mahtrt.schema import plain
from mahtrt.targets.table import find_target
from mahtrt.targets.target import has_module


def bench(options: BenchOptions, progress: StageProgress = silent) -> BenchReport:
    """Measure accuracy and latency of a bundle's engines.

    Args:
        progress: Told of images and timed rounds together.

    Raises:
        DataError: No bundle, no images, annotations that do not fit the network, or a baseline that
            is no report.
        UsageError: No such engine, nothing to compare with, or limits that cannot be or
            are of outputs that the network does not have.
        IntegrityError: The bundle was changed.
        CheckpointError: The reference given is not what was exported.
        SpecError: A file of quantities that is not clear, or of which nothing can be measured.
        MissingComponentError: A package that an asked-for engine or the reference needs, or no
            engine can run here on the kind of device required.
    """
    options.limits.check()
    check_peers(options.peers, options.peer_device)
    check_measuring(options)
    check_cluster(options)
    for name, share in (("--tolerance", options.tolerance), ("--settle", options.settle)):
        if not 0 <= share < 1:
            raise UsageError(name, got=f"{share:g}", expected="a share in [0, 1)")
    baseline = read_baseline(options.baseline) if options.baseline else None
    bundle = read_bundle(options.bundle, trust=options.trust)
    options.limits.check_outputs(bundle.spec)
    sweep, warnings = read_sweep(bundle, options), list[str]()
    data = images_of(bundle, options, warnings)
    asked = Measured(bundle, tuple(_records(bundle, options)), data, sweep)
    report = _measured(asked, options, warnings, progress)
    report = measure_more(report, asked, options, progress)
    if baseline is None:
        return report
    changes = compare_with_baseline(
        report, baseline, tolerance=options.tolerance, seed=options.seed
    )
    noted = (*report.warnings, *notes_on(changes, baseline))
    return replace(report, changes=changes, baseline=baseline.path.name, warnings=noted)


def _measured(
    asked: Measured, options: BenchOptions, warnings: list[str], progress: StageProgress
) -> BenchReport:
    """Open every engine, references and peers, measure them, and close them."""
    bundle, records = asked.bundle, asked.records
    with ExitStack() as stack:
        comparison = _comparison(bundle, options)
        peer_device = _peer_device(bundle, records, options)
        devices = [*_devices(bundle, records), *([peer_device] if options.peers else [])]
        references = _references(bundle, options, devices, warnings)
        contenders = named_by_device(references)
        for reference in contenders:
            stack.callback(reference.session.close)
        for record in records:
            contender = _contender(bundle, record, options, warnings)
            if contender is not None:
                stack.callback(contender.session.close)
                contenders.append(contender)
        if options.require != "any" and len(contenders) == len(references):
            raise nothing_opened(options.require, warnings[-1])
        peers = _peers(bundle, options, peer_device, asked.data, progress)
        for peer in peers.values():
            if not isinstance(peer, str):
                stack.callback(peer.session.close)
                contenders.append(peer)
        if options.ray is not None:
            parts = parts_on_cluster(bundle, contenders, references, options)
            comparison = replace(comparison, parts=parts)
        roof = raise_roof(bundle, contenders, stack) if options.roofline else Roof()
        report = compare(
            contenders,
            asked.data,
            replace(comparison, beside=roof.calls),
            _facts(bundle, references, peers, warnings),
            progress=functools.partial(progress, "measuring"),
        )
        return roof.onto(report)


def _facts(
    bundle: Bundle,
    references: Sequence[Reference],
    peers: Mapping[str, Contender | str],
    warnings: Sequence[str],
) -> ReportFacts:
    """What the report says beside its measurements."""
    return ReportFacts(
        "; ".join(reference.described for reference in references),
        _model(bundle),
        warnings,
        torch=[reference.facts for reference in references if reference.facts],
        peers={n: each if isinstance(each, str) else "" for n, each in peers.items()},
    )


def _comparison(bundle: Bundle, options: BenchOptions) -> CompareOptions:
    """How engines are compared, with the clinical quantities that the landmarks allow."""
    selection = quantities_for(options.quantities, landmark_names(bundle.spec))
    return replace(options.comparison, quantities=selection)


def images_of(bundle: Bundle, options: BenchOptions, warnings: list[str]) -> Dataset:
    """The images that a bench measures on: those of DATA, else the bundle's golden images.

    Args:
        warnings: Gets what a reader of the numbers has to know of them.

    Raises:
        DataError: No such DATA, or no golden images in the bundle.
    """
    if isinstance(options.data, (str, Path)):
        data = open_dataset(
            options.data,
            points=options.points,
            spacing_mm=options.spacing_mm,
            skip_bad=options.skip_bad,
            inputs=bundle.spec.input_names,
        )
        skipped = getattr(data, "skipped", ())
        warnings.extend(f"left out {name}, which cannot be read" for name in skipped)
        warnings.extend(getattr(data, "notes", ()))
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


def _references(
    bundle: Bundle, options: BenchOptions, devices: Sequence[str], warnings: list[str]
) -> list[Reference]:
    """What engines are compared with: PyTorch on every device that they run on.

    Where its weights or code are not at hand, it is the bundle's own FP32 ONNX.

    Args:
        devices: Kinds of device of the engines, that of the default engine first.
    """
    references = []
    for device in _devices_of_torch(devices, warnings):
        found = network_of(bundle, options)
        if found is None:
            warnings.append(
                "no PyTorch reference at hand (--reference CHECKPOINT): engines are compared with "
                "the bundle's FP32 ONNX"
            )
            return [onnx_reference(bundle, options.threads)]
        batch = options.batch or 1
        references.append(
            tuned_torch_as_reference(
                found,
                bundle.spec,
                batch,
                device,
                options.threads,
                bundle.manifest.preprocess_version,
            )
        )
    return references


def _peer_device(bundle: Bundle, records: Sequence[EngineRecord], options: BenchOptions) -> str:
    """Where peers run: as asked, else where the default engine does, if PyTorch can."""
    if options.peer_device != "auto":
        return options.peer_device
    if ALL_CPU in options.peers:
        return "cpu"
    first = next(iter(_devices(bundle, records)), "cpu")
    return first if first == "cpu" or _torch_has_gpu() else "cpu"


def _peers(
    bundle: Bundle, options: BenchOptions, device: str, data: Dataset, progress: StageProgress
) -> dict[str, Contender | str]:
    """The peers asked for, each ready or with the reason why it failed."""
    names = named_peers(options.peers)
    if not names:
        return {}
    spec, version = bundle.spec, bundle.manifest.preprocess_version
    calibration = PeerCalibration(
        peer_images(options, data, spec, version), options.limits.budget_px, options.peer_minutes
    )
    setting = PeerSetting(device, options.batch or 1, options.threads, calibration)
    network = network_of(bundle, options)
    found = {}
    for done, name in enumerate(names):
        progress("peers", done, len(names), name)
        found[name] = open_peer(name, network[0] if network else None, spec, setting, version)
    return found


def network_of(bundle: Bundle, options: BenchOptions) -> tuple[Any, str] | None:
    """The PyTorch network and what its weights are; None where they are not at hand."""
    return find_reference(
        bundle.spec,
        bundle.manifest.source,
        checkpoint=options.reference,
        model=options.model,
        folders=(bundle.path.resolve().parent, Path.cwd()),
    )


def _torch_has_gpu() -> bool:
    return has_module("torch") and bool(importlib.import_module("torch").cuda.is_available())


def _devices_of_torch(devices: Sequence[str], warnings: list[str]) -> list[str]:
    """The devices of the engines, as far as PyTorch is there and has them; at least the CPU."""
    if "cuda" not in devices:
        return ["cpu"]
    if not _torch_has_gpu():
        warnings.append(
            "PyTorch has no GPU here: engines on a GPU are compared with PyTorch on the CPU, and "
            "their ratios say more of the devices than of the engines"
        )
        return ["cpu"]
    return list(dict.fromkeys(devices))


def onnx_reference(bundle: Bundle, threads: int | None) -> Reference:
    graph = bundle.manifest.graph("fp32")
    if graph is None:
        raise UsageError(
            str(bundle.path),
            got="neither a checkpoint nor an FP32 ONNX in the bundle",
            expected="something to compare with",
            fix="Give --reference CHECKPOINT.",
        )
    prepared = bundle.manifest.preprocess_version
    contender = open_export(
        bundle.file(graph.file), bundle.spec, threads, preprocess_version=prepared
    )
    version = package_version(contender.backend) or ""
    return Reference(contender, f"the bundle's FP32 ONNX, {contender.backend} {version}".strip())


def named_by_device(references: Sequence[Reference]) -> list[Contender]:
    """The contenders; where there are several, their names say the device."""
    contenders = [reference.contender for reference in references]
    if len(contenders) == 1:
        return contenders
    return [replace(each, name=f"{each.name}-{each.device}") for each in contenders]


def _records(bundle: Bundle, options: BenchOptions) -> list[EngineRecord]:
    """The engines asked for, each once, in the bundle's order."""
    known, batch = bundle.manifest.engines, options.batch
    asked = _asked(bundle, options)
    found = [r for r in known if r in asked and (batch is None or r.batch == batch)]
    if not found:
        sizes = ", ".join(f"{record.name} (batch {record.batch})" for record in known)
        raise UsageError(f"batch {batch}", got="no engine of that size", expected=sizes)
    return found


def _asked(bundle: Bundle, options: BenchOptions) -> list[EngineRecord]:
    """The engines asked for: by name, or all for the kind of device required."""
    known, require = bundle.manifest.engines, check_require(options.require)
    if options.engines is not None:
        asked = [bundle.engine(name) for name in options.engines]
        for record in asked:
            check_device(record, require)
        return asked
    asked = [record for record in known if runs_on(record, require)]
    if require != "any" and not any(find_target(each.target).runs_here for each in asked):
        raise nothing_runs(known, require)
    return asked


def _devices(bundle: Bundle, records: Sequence[EngineRecord]) -> list[str]:
    """Kinds of device of the engines that can run here, that of the default engine first."""
    default = bundle.manifest.default_engine
    ordered = sorted(records, key=lambda record: record.name != default)
    targets = (find_target(record.target) for record in ordered)
    return [target.device for target in targets if target.runs_here]


def _contender(
    bundle: Bundle, record: EngineRecord, options: BenchOptions, warnings: list[str]
) -> Contender | None:
    """The opened engine; None, with a warning, for one that cannot run here and need not."""
    is_default = record.name == bundle.manifest.default_engine
    try:
        session = open_engine(bundle, engine=record.name, threads=options.threads)
    except (MissingComponentError, BuildError) as error:
        if is_default or options.engines is not None:
            raise
        warnings.append(f"{record.name} is left out: {error}")
        return None
    warnings.extend(f"{record.name}: {note}" for note in session.engine_notes)
    return Contender(
        record.name,
        record.target,
        record.precision,
        record.batch,
        session,
        is_default=is_default,
        device=find_target(record.target).device,
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
