"""ONNX to a TensorRT engine, with the enterprise TensorRT or with TensorRT-RTX.

One path for both (:mod:`mahtrt.targets.tensorrt.flavours` says where they differ): a strongly typed
network, so precision is what the ONNX says; the native builder in a process of its own; and an
engine of the same ONNX, options, versions and device taken from the cache instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mahtrt import files
from mahtrt.atomic import scratch_beside
from mahtrt.bundle.records import BuildFacts, BuildRecord, DeviceRecord, EngineKey, TensorRecord
from mahtrt.cuda.probe import probe_cuda
from mahtrt.digest import sha256_of_bytes, sha256_of_file
from mahtrt.errors import BuildError, ModelError
from mahtrt.schema import dataclass_from, plain
from mahtrt.spec import DECODING
from mahtrt.targets.artifact import EngineArtifact
from mahtrt.targets.kernel_decode import write_cut
from mahtrt.targets.kernel_decode.record import DECODE_NAME, DECODE_ROLE
from mahtrt.targets.kernel_decode.record import SCHEMA as DECODE_SCHEMA
from mahtrt.targets.target import DEFAULT_OPTIONS, EngineOptions
from mahtrt.targets.tensorrt.cache import CachedEngine, EngineCache, explain_difference, open_cache
from mahtrt.targets.tensorrt.child import Request
from mahtrt.targets.tensorrt.compatible import LEVEL
from mahtrt.targets.tensorrt.device import BuildDevice, build_platform, choose_device
from mahtrt.targets.tensorrt.flavours import Flavour, load_flavour
from mahtrt.targets.tensorrt.messages import build_error, cleaned, parse_error
from mahtrt.targets.tensorrt.network import network_layers
from mahtrt.targets.tensorrt.options import TensorRtOptions, check_options, ignored_options
from mahtrt.targets.tensorrt.process import run_child, shown_progress

ENGINE_NAME, LAYERS_NAME = "model.plan", "layers.json"
# Digest of how the graph is cut, for the key of engines that end at the heatmaps.
CUT_DIGEST = sha256_of_bytes(DECODE_SCHEMA.encode())


@dataclass(frozen=True, slots=True)
class _Job:
    """One build, after everything about it was decided."""

    onnx: Path
    out_dir: Path
    flavour: Flavour
    version: str
    device: BuildDevice
    options: TensorRtOptions
    key: EngineKey
    threads: int | None

    @property
    def places(self) -> dict[str, Path]:
        """Where each file may go; which there are is up to the device and the options."""
        names = {"plan": ENGINE_NAME, "layers": LAYERS_NAME, DECODE_ROLE: DECODE_NAME}
        return {role: self.out_dir / name for role, name in names.items()}


def build_engine(
    onnx_path: Path,
    precision: str,
    out_dir: Path,
    flavour: Flavour,
    options: EngineOptions = DEFAULT_OPTIONS,
) -> EngineArtifact:
    """Build an engine, or take the same one from the cache.

    Args:
        onnx_path: An export, known to be whole. Its types are the engine's: FP16 by casts, INT8
            by Q/DQ.
        precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``; what the graph holds.
        out_dir: Gets model.plan and, where an engine may be inspected, layers.json.

    Raises:
        BuildError: TensorRT refuses the graph (the message names the node), crashed, or took too
            long. Nothing is left in ``out_dir``.
        ModelError: The graph's shapes are not static.
        UsageError: Options that contradict each other.
        InputError: A cache folder was asked for and cannot be used.
        MissingComponentError: The package or the GPU is missing, or the version is unknown.
    """
    own = options.of(TensorRtOptions)
    trt, device = check_request(flavour, options)
    version = str(trt.__version__)
    key = _key(onnx_path, precision, flavour, version, device, own)
    job = _Job(onnx_path, out_dir, flavour, version, device, own, key, options.threads)
    cache, notes = None, [*device.notes, *ignored_options(own, flavour)]
    if options.cache:
        cache, problem = open_cache(options.cache_dir)
        notes += [problem] if problem else []
    return _from_cache(job, cache, notes) or _built(job, cache, notes, options.progress)


def check_request(flavour: Flavour, options: EngineOptions) -> tuple[Any, BuildDevice]:
    """Everything of a build that can be refused before there is a graph.

    Returns:
        The flavour's package, and what an engine would be built for.

    Raises:
        UsageError: Options that contradict each other, or a compute capability that is not known.
        InputError: A cache folder was asked for and cannot be used.
        MissingComponentError: The package or the GPU is missing, or the version is unknown.
    """
    own = options.of(TensorRtOptions)
    check_options(own, flavour)
    trt = load_flavour(flavour)
    device = choose_device(flavour, own, trt, probe_cuda())
    if options.cache:
        open_cache(options.cache_dir)
    return trt, device


def _key(
    onnx: Path,
    precision: str,
    flavour: Flavour,
    version: str,
    device: BuildDevice,
    options: TensorRtOptions,
) -> EngineKey:
    timed = not flavour.chooses_capabilities
    return EngineKey(
        onnx_sha256=sha256_of_file(onnx),
        precision=precision,
        flavour=flavour.name,
        tensorrt=version,
        platform=build_platform(),
        gpu=(device.gpu or "") if timed else "",
        compute_capabilities=device.capabilities,
        cuda_driver=device.driver,
        workspace_mib=options.workspace_mib,
        optimization_level=options.optimization_level,
        hardware_compatibility=options.hardware_compatibility,
        plugin_sha256=CUT_DIGEST if options.fuse_soft_argmax else "",
    )


def _from_cache(job: _Job, cache: EngineCache | None, notes: list[str]) -> EngineArtifact | None:
    """The engine of an earlier build; None, and often a note on why, where none can be used."""
    if cache is None:
        return None
    entry = cache.find(job.key)
    if entry is not None and job.device.gpu is not None and "layers" not in entry.files:
        return None  # built where it could not be inspected; here it can, and is
    if entry is not None:
        outcome = cache.take(entry, job.places)
        if outcome == "taken":
            return _artifact(job, entry, notes, cached=True)
        if outcome == "damaged":
            notes.append("The cached engine was damaged: built again.")
        return None
    near = cache.nearest(job.key)
    if near is not None:
        differing = ", ".join(explain_difference(job.key, near.key))
        notes.append(f"A cached engine of this ONNX was not used, it differs in: {differing}.")
    return None


def _built(
    job: _Job,
    cache: EngineCache | None,
    notes: list[str],
    progress: Callable[[str], None] | None,
) -> EngineArtifact:
    """Build, move the files into place, and keep a copy in the cache."""
    tell = shown_progress(progress, _earlier(job, cache))
    started = time.monotonic()
    with scratch_beside(job.out_dir / "build") as scratch:
        request = _request(job, cache, scratch)
        result = run_child(
            request, str(job.onnx), job.flavour.title, tell, timeout_s=job.options.timeout_s
        )
        _check_result(job, result)
        made = {role: scratch / place.name for role, place in job.places.items()}
        made = {role: place for role, place in made.items() if place.is_file()}
        digests = {role: sha256_of_file(place) for role, place in made.items()}
        if digests.get("plan") != result["plan_sha256"]:
            raise BuildError(str(job.onnx), got="an engine that changed on the way to the disk")
        for role, place in made.items():
            files.rename(place, job.places[role])
    seconds = round(time.monotonic() - started, 3)
    entry = CachedEngine(job.key, digests, seconds, _facts(result))
    if cache is not None:
        try:
            cache.store(entry, job.places)
        except (BuildError, OSError) as error:
            notes.append(f"The engine was not kept in the cache: {error}")
    network = network_layers(result.get("products", {}))
    return replace(_artifact(job, entry, notes, cached=False), network=network)


def _request(job: _Job, cache: EngineCache | None, scratch: Path) -> Request:
    flavour, options, device = job.flavour, job.options, job.device
    # An engine can be deserialized, and so inspected, only on the card it is for.
    layers = str(scratch / LAYERS_NAME) if device.gpu is not None else None
    onnx = job.onnx
    if options.fuse_soft_argmax:
        onnx = write_cut(onnx, scratch / "cut.onnx", scratch / DECODE_NAME)
    timing = cache.timing_place(job.key) if cache and flavour.has_timing_cache else None
    return Request(
        flavour=flavour.name,
        onnx=str(onnx),
        plan=str(scratch / ENGINE_NAME),
        layers=layers,
        capabilities=device.capabilities if flavour.chooses_capabilities else (),
        workspace_mib=options.workspace_mib,
        optimization_level=options.optimization_level,
        hardware_compatibility=options.hardware_compatibility,
        timing_cache=str(timing) if timing else None,
        threads=job.threads,
        # Ten bits of mantissa are FP16's: landmarks of an "FP32" engine would move like FP16's.
        # So would what a graph decodes with, which is FP32 in every engine.
        allow_tf32=job.key.precision != "fp32" and not _decodes(onnx),
    )


def _decodes(onnx: Path) -> bool:
    """Whether products of a graph decode heatmaps: their names are in its file."""
    return DECODING.encode() in onnx.read_bytes()


def _check_result(job: _Job, result: Mapping[str, Any]) -> None:
    """Turn everything but a built engine into an error."""
    subject, title, status = str(job.onnx), job.flavour.title, result["status"]
    if status == "parse":
        raise parse_error(subject, title, result["errors"], result["log"])
    if status == "build":
        raise build_error(subject, title, result["log"])
    if status == "dynamic":
        raise ModelError(
            subject,
            got=", ".join(f"{each['name']} {_shape(each)}" for each in result["inputs"]),
            expected="static shapes",
            fix="Export the model again with mahtrt export.",
        )
    if status != "built":
        raise BuildError(subject, got=f"a build that was {status}", expected="an engine")


def _shape(io_tensor: Mapping[str, Any]) -> str:
    return f"({', '.join('?' if size < 0 else str(size) for size in io_tensor['shape'])})"


def _facts(result: Mapping[str, Any]) -> BuildFacts:
    """What of the child's result the manifest and the cache keep."""
    facts = {name: value for name, value in result.items() if name not in ("status", "products")}
    facts |= {"warnings": cleaned(result["warnings"])}
    return dataclass_from(BuildFacts, plain(facts), "the builder's result", error=BuildError)


def _earlier(job: _Job, cache: EngineCache | None) -> dict[str, float]:
    """How long builds like this one took, for the progress line."""
    same = cache.find(job.key) if cache else None
    if same is not None:
        return {"the last build of this engine": same.seconds}
    near = cache.nearest(job.key) if cache else None
    return {"an earlier build of this ONNX": near.seconds} if near is not None else {}


def _artifact(job: _Job, entry: CachedEngine, notes: list[str], *, cached: bool) -> EngineArtifact:
    flavour, device = job.flavour, job.device
    versions: dict[str, str] = {flavour.name: job.version}
    if device.driver:
        versions["cuda_driver"] = device.driver
    return EngineArtifact(
        files={"onnx": job.onnx, **{role: job.places[role] for role in entry.files}},
        batch=_batch(job, entry.facts.inputs),
        device=DeviceRecord(
            name=device.gpu or "",
            platform=job.key.platform,
            capabilities=device.capabilities,
            settings={LEVEL: job.options.hardware_compatibility},
        ),
        versions=versions,
        notes=tuple(notes),
        build=BuildRecord(job.key, job.key.sha256, cached, entry.seconds, entry.facts),
    )


def _batch(job: _Job, inputs: Sequence[TensorRecord]) -> int:
    """Cases per inference: the first size of every input."""
    if len({each.shape[:1] for each in inputs}) != 1 or not inputs[0].shape:
        raise ModelError(
            str(job.onnx),
            got=f"inputs {', '.join(f'{i.name} {i.shape}' for i in inputs) or 'none'}",
            expected="image batches, all of one size",
        )
    return inputs[0].shape[0]
