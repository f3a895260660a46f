"""Runs an engine with OpenVINO on the CPU."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from mahtrt.bundle.contents import held
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.bundle.records import DeviceRecord
from mahtrt.data.feed import Feed
from mahtrt.errors import BuildError, ModelError, require
from mahtrt.machine import describe_machine, usable_cores
from mahtrt.openvino_core import read_onnx, shared_core
from mahtrt.reading import Content
from mahtrt.spec import ModelSpec
from mahtrt.targets.backend import (
    CPU,
    EngineToOpen,
    Tensor,
    check_interface,
    compile_here,
    failed_to_run,
)
from mahtrt.targets.openvino.concats import quantize_before_concats
from mahtrt.targets.openvino.decoding import keep_decoding_float32
from mahtrt.targets.openvino.float32 import check_float32, keep_float32, wanted_float32
from mahtrt.targets.openvino.guard import keep_concats_float
from mahtrt.targets.openvino.interpolation import gather_last_interpolations
from mahtrt.targets.openvino.ir import IR, WEIGHTS, read_ir
from mahtrt.targets.openvino.matrices import lower_constant_products

BLOB = "blob"  # the role

# Rewrites that change the speed alone; each can be left out, to measure what it gains.
CONCATS, INTERPOLATIONS, MATRICES = "concats", "interpolations", "matrices"
REWRITES = (CONCATS, INTERPOLATIONS, MATRICES)


class OpenVinoBackend:
    """A compiled network with as many infer requests as threads use it at once."""

    def __init__(
        self, compiled: Any, spec: ModelSpec, name: str, notes: Sequence[str] = ()
    ) -> None:
        self.name, self.notes, self.device = name, tuple(notes), CPU
        inputs = {each.any_name: list(each.shape) for each in compiled.inputs}
        outputs = {known: list(each.shape) for each in compiled.outputs for known in each.names}
        self.batch = check_interface(name, spec, inputs, outputs)
        self.threads: int | None = int(compiled.get_property("INFERENCE_NUM_THREADS"))
        self._compiled, self._inputs = compiled, list(inputs)
        self._outputs = {output.name: compiled.output(output.name) for output in spec.outputs}
        # Threads take a request and put it back. A deque's append and pop are atomic.
        self._free: deque[Any] = deque()
        self.facts: dict[str, str] = {}

    @staticmethod
    def roles(engine: EngineRecord) -> tuple[str, ...]:
        """The engine's files that :meth:`open` reads here.

        The compiled blob where OpenVINO and CPU are those that made it; then the IR, which bundles
        of earlier versions do not have; then the ONNX. Each is there for where OpenVINO refuses the
        one before.
        """
        blob = (BLOB,) if _made_blob(engine) else ()
        ir = (IR, WEIGHTS) if {IR, WEIGHTS} <= engine.files.keys() else ()
        return (*blob, *ir, "onnx")

    @classmethod
    def open(cls, engine: EngineToOpen) -> OpenVinoBackend:
        """Open an engine of a bundle.

        Without ``threads`` it takes as many as the build measured to be fastest, where it measured
        on this CPU, else OpenVINO's own.

        Raises:
            BuildError: OpenVINO can open neither the engine nor the graphs it was made from.
            MissingComponentError: OpenVINO is not installed.
        """
        record, threads = engine.record, engine.threads
        require("openvino", extra="", needed_for=f"engine {record.name}")
        notes, source = notes_on_opening(record), engine.file("onnx")
        wanted = record.device.inference_precision or "f32"
        if wanted == "bf16" and not has_native_bf16():
            notes.append("Built for native BF16, which this CPU lacks: it runs in FP32 here.")
            wanted = "f32"
        if threads is None and engine.streams == 1:
            threads = _measured_threads(record)
        try:
            files = {role: engine.file(role) for role in cls.roles(record)}
            compiled = _compiled(files, wanted, threads, engine.streams)
            return cls(compiled, engine.spec, record.name, notes)
        except (RuntimeError, UnicodeDecodeError) as error:  # names that are not UTF-8
            raise BuildError(
                f"engine {record.name}",
                got=reason_of(error),
                expected=f"{source.name} to compile here",
                fix=compile_here(record.target),
            ) from error

    def infer(self, feed: Feed, outputs: Sequence[str] | None = None) -> dict[str, Tensor]:
        """See :class:`mahtrt.targets.backend.Backend`."""
        try:
            request = self._free.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        try:
            request.infer(
                [feed[name] for name in self._inputs], share_inputs=True, share_outputs=True
            )
            # The request's own memory is used again by the next call, so copy what is wanted.
            return {
                name: np.array(request.get_tensor(self._outputs[name]).data, np.float32)
                for name in (self._outputs if outputs is None else outputs)
            }
        except RuntimeError as error:
            raise failed_to_run(self.name, reason_of(error)) from error
        finally:
            self._free.append(request)

    def close(self) -> None:
        """See :class:`mahtrt.targets.backend.Backend`."""
        self._free.clear()


def notes_on_opening(engine: EngineRecord) -> list[str]:
    """What differs between here and where the engine was built."""
    notes = []
    built_for, here = engine.device.name, cpu_device().name
    if built_for and built_for != here:
        notes.append(f"Built and measured on {built_for}; this is {here}.")
    if not _same_version(engine):
        built_with = engine.versions.get("openvino", "another version")
        notes.append(
            f"Built with OpenVINO {built_with}, this is {openvino_version()}: compiled again here."
        )
    return notes


def _measured_threads(engine: EngineRecord) -> int | None:
    """What the build measured to be fastest, if that was on this CPU and as many cores of it."""
    device = engine.device
    here = (device.name, device.cores) == (cpu_device().name, usable_cores())
    return device.threads if here else None


def _same_version(engine: EngineRecord) -> bool:
    return engine.versions.get("openvino") == openvino_version()


def _made_blob(engine: EngineRecord) -> bool:
    device, here = engine.device, cpu_device()
    same = (device.name, device.capabilities) == (here.name, here.capabilities)
    return same and BLOB in engine.files and _same_version(engine)


def _compiled(
    files: Mapping[str, Content], inference_precision: str, threads: int | None, streams: int
) -> Any:
    """The engine by the first of its files that OpenVINO takes, see :meth:`OpenVinoBackend.roles`.

    Raises:
        RuntimeError: OpenVINO's own error about the ONNX.
    """
    how: dict[str, Any] = {"inference_precision": inference_precision, "threads": threads}
    how |= {"NUM_STREAMS": streams} if streams > 1 else {}
    compiled = None
    if BLOB in files:
        compiled = import_blob(files[BLOB], **how)
    if compiled is None and IR in files:
        compiled = compile_ir(files[IR], files[WEIGHTS], **how)
    if compiled is None:
        compiled = compile_model(files["onnx"], **how)
    return compiled


def import_blob(
    blob: Content, *, inference_precision: str, threads: int | None, **settings: Any
) -> Any | None:
    """A compiled network as it was exported, None where OpenVINO does not take it back."""
    config = {**config_for(inference_precision, threads), **settings}
    try:
        return shared_core().import_model(blob.read_bytes(), "CPU", config)
    except RuntimeError:
        return None


def compile_ir(
    graph: Content,
    weights: Content,
    *,
    inference_precision: str,
    threads: int | None,
    **settings: Any,
) -> Any | None:
    """A network compiled from its IR, None where OpenVINO does not take that."""
    try:
        return compile_graph(read_ir(graph, weights), inference_precision, threads, **settings)
    except RuntimeError:
        return None


def read_model(onnx: Content, *, without: Collection[str] = ()) -> Any:
    """An ONNX as an OpenVINO model that computes what the file says.

    Args:
        without: Rewrites for speed to leave out, of :data:`REWRITES`.

    Raises:
        RuntimeError: OpenVINO's own error.
    """
    with held(onnx) as place:
        model = read_onnx(place)
    if CONCATS not in without:
        quantize_before_concats(model)
    keep_concats_float(model)  # what is still quantised behind a Concat
    keep_decoding_float32(model)
    if INTERPOLATIONS not in without:
        gather_last_interpolations(model)
    wanted = wanted_float32(model)
    return keep_float32(model, wanted) if wanted else model


def compile_model(
    onnx: Content,
    *,
    inference_precision: str,
    threads: int | None,
    without: Collection[str] = (),
    **settings: Any,
) -> Any:
    """Compile an ONNX for the CPU, for latency.

    Args:
        without: Rewrites for speed to leave out, of :data:`REWRITES`: to measure what each gains.
        settings: OpenVINO's own, beside those of :func:`config_for`.

    Raises:
        BuildError: OpenVINO does not keep in FP32 what the plan wants there.
        RuntimeError: OpenVINO's own error.
    """
    model = read_model(onnx, without=without)
    compiled = compile_graph(model, inference_precision, threads, without=without, **settings)
    check_float32(compiled, wanted_float32(model), str(onnx))
    return compiled


def compile_graph(
    model: Any,
    inference_precision: str,
    threads: int | None,
    *,
    without: Collection[str] = (),
    **settings: Any,
) -> Any:
    """Compile a graph for the CPU; what only suits the inference precision is changed in place.

    Args:
        model: An ``openvino.Model``, as :func:`read_model` gives it.
        without: As for :func:`compile_model`.
        settings: OpenVINO's own, beside those of :func:`config_for`.

    Raises:
        RuntimeError: OpenVINO's own error.
    """
    if inference_precision == "bf16" and MATRICES not in without:
        lower_constant_products(model, wanted_float32(model))
    config = {**config_for(inference_precision, threads), **settings}
    return shared_core().compile_model(model, "CPU", config)


def config_for(inference_precision: str, threads: int | None) -> dict[str, Any]:
    config: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": inference_precision,
    }
    if threads is not None:
        config["INFERENCE_NUM_THREADS"] = threads
    return config


def batch_of(compiled: Any, subject: str) -> int:
    """The static batch size of a compiled network.

    Raises:
        ModelError: Its shapes are not static.
        UnicodeDecodeError: A name is not UTF-8.
    """
    ports = (*compiled.inputs, *compiled.outputs)
    _ = [each.names for each in ports]
    shapes = [each.partial_shape for each in ports]
    if any(shape.is_dynamic or not len(shape) for shape in shapes):
        raise ModelError(
            subject,
            got=f"shapes {', '.join(map(str, shapes))}",
            expected="static shapes",
            fix="Export with mahtrt export, or fix the batch size in the graph.",
        )
    return int(shapes[0].to_shape()[0])


@functools.cache
def cpu_device() -> DeviceRecord:
    """The CPU as OpenVINO sees it: its name and capabilities."""
    core = shared_core()
    return DeviceRecord(
        name=str(core.get_property("CPU", "FULL_DEVICE_NAME")).strip(),
        capabilities=tuple(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")),
    )


def has_native_bf16() -> bool:
    """Whether this CPU multiplies BF16 itself.

    OpenVINO names the capability on CPUs that only emulate it, so the CPU's flags are asked too.
    """
    return describe_machine().multiplies_bf16 and "BF16" in cpu_device().capabilities


def openvino_version() -> str:
    """Release and build, e.g. ``2026.4.1-22982-…``: a blob is reused only by the same."""
    version: str = require("openvino", extra="", needed_for="target openvino").__version__
    return version


def reason_of(error: Exception) -> str:
    """OpenVINO's message in one line, without the places in its source."""
    lines = [line.strip() for line in str(error).splitlines()]
    noise = ("Exception from", "Check '")
    return " ".join(line for line in lines if line and not line.startswith(noise))
