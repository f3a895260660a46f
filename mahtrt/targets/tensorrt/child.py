"""The process that runs TensorRT's builder: ``python -m mahtrt.targets.tensorrt.child REQUEST``.

A native builder that crashes, or is killed for its memory, takes its process along; so it gets one
of its own, and the parent (:mod:`mahtrt.targets.tensorrt.build`) turns what happened into an error.

The protocol: the request is a JSON file (:class:`Request`). Standard output carries one JSON object
per line: ``{"event": "phase", "text": …}`` and at the end ``{"event": "result", …}``
(:func:`run_request`). A line on standard input, or its end, cancels. Enumerations travel by name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mahtrt import files
from mahtrt.errors import MahtrtError
from mahtrt.parsing import read_json
from mahtrt.schema import check_schema, dataclass_from
from mahtrt.targets.tensorrt.cache import read_timing_cache, write_timing_cache
from mahtrt.targets.tensorrt.flavours import find_flavour, load_flavour
from mahtrt.targets.tensorrt.network import product_types

SCHEMA = "mahtrt.tensorrt-request/1"
# How long a cancelled build may take to end by itself; some steps look at it rarely.
GRACE_S = 3.0
_SERIOUS = ("INTERNAL_ERROR", "ERROR")

Emit = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Request:
    """One build.

    Attributes:
        flavour: Name of a flavour.
        onnx: The graph, weights inside.
        plan: Where the engine goes.
        layers: Where the engine inspector's JSON goes; None where no engine may be deserialized.
        capabilities: Names of compute capabilities; only for a flavour that chooses them.
        timing_cache: File of kernel timings; None: off.
        allow_tf32: Whether FP32 products may drop mantissa bits, as TensorRT lets them by default.
    """

    flavour: str
    onnx: str
    plan: str
    layers: str | None = None
    capabilities: tuple[str, ...] = ()
    workspace_mib: int | None = None
    optimization_level: int | None = None
    hardware_compatibility: str = "none"
    timing_cache: str | None = None
    threads: int | None = None
    allow_tf32: bool = True
    schema: str = SCHEMA

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


def request_from_json(text: str, where: str) -> Request:
    """Read what :meth:`Request.to_json` wrote.

    Raises:
        IntegrityError: Another schema.
        SpecError: An unknown field, or a value of another type.
    """
    data = read_json(text, where, "a request")
    check_schema(str(data.get("schema")), SCHEMA, where)
    return dataclass_from(Request, data, where)


def run_request(
    trt: Any, request: Request, emit: Emit, cancelled: Callable[[], bool] = lambda: False
) -> dict[str, Any]:
    """Parse, build and write the engine.

    Args:
        trt: The flavour's package, or something like it.
        emit: Takes phases, each a mapping with ``event`` and ``text``.
        cancelled: Asked often; True ends the build.

    Returns:
        ``status`` and what belongs to it. ``built``: ``plan_bytes``, ``plan_sha256``, ``inputs``
        and ``outputs`` (each name, shape, dtype), ``layers`` (type of network layer to number),
        ``products`` (each to the type it computes in), ``timing_cache``, ``parse_s``, ``build_s``,
        ``warnings``. ``parse`` and ``build``, which
        failed: ``log`` and, for the former, ``errors``. ``dynamic``: ``inputs``. ``cancelled``:
        nothing.
    """
    log = _make_logger(trt)
    started = time.monotonic()
    emit({"event": "phase", "text": "parsing the ONNX"})
    builder = trt.Builder(log)
    if request.threads is not None:
        builder.max_threads = request.threads
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(request.onnx):
        return {"status": "parse", "errors": _parser_errors(parser), "log": log.errors}
    inputs = [_io_tensor(network.get_input(i)) for i in range(network.num_inputs)]
    if any(size < 1 for each in inputs for size in each["shape"]):
        return {"status": "dynamic", "inputs": inputs}
    if cancelled():
        return {"status": "cancelled"}
    parsed = time.monotonic()
    built = _build(trt, _Parsed(builder, network, log), request, emit, cancelled)
    if built["status"] != "built":
        return built
    kinds = Counter(network.get_layer(i).type.name for i in range(network.num_layers))
    return built | {
        "inputs": inputs,
        "outputs": [_io_tensor(network.get_output(i)) for i in range(network.num_outputs)],
        "layers": dict(sorted(kinds.items())),
        "products": product_types(network),
        "parse_s": round(parsed - started, 3),
        "warnings": log.warnings[:20],
    }


@dataclass(frozen=True, slots=True)
class _Parsed:
    """A network that TensorRT has parsed, the builder that owns it, and the log of both."""

    builder: Any
    network: Any
    log: Any


def _build(
    trt: Any, parsed: _Parsed, request: Request, emit: Emit, cancelled: Callable[[], bool]
) -> dict[str, Any]:
    """Build a parsed network and write what came of it."""
    flavour, started = find_flavour(request.flavour), time.monotonic()
    config = parsed.builder.create_builder_config()
    _configure(trt, config, request)
    if flavour.chooses_capabilities:
        _choose_capabilities(trt, config, request.capabilities)
    # The configuration holds no reference that Python would count.
    config.progress_monitor = monitor = _make_monitor(trt, emit, cancelled)
    timing = _load_timing_cache(config, request) if flavour.has_timing_cache else "off"
    engine = parsed.builder.build_serialized_network(parsed.network, config)
    if monitor.stopped or cancelled():
        return {"status": "cancelled"}
    if engine is None:
        return {"status": "build", "log": parsed.log.errors}
    seconds = time.monotonic() - started
    emit({"event": "phase", "text": "writing the engine"})
    if timing != "off":
        _save_timing_cache(config, request)
    digest = _write(engine, Path(request.plan))
    if request.layers is not None:
        _inspect(trt, parsed.log, engine, Path(request.layers))
    return {
        "status": "built",
        "plan_bytes": engine.nbytes,
        "plan_sha256": digest,
        "timing_cache": timing,
        "build_s": round(seconds, 3),
    }


def _configure(trt: Any, config: Any, request: Request) -> None:
    """What both flavours take, where it is not the default."""
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if not request.allow_tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if request.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request.workspace_mib << 20)
    if request.optimization_level is not None:
        config.builder_optimization_level = request.optimization_level
    levels = {
        "ampere_plus": trt.HardwareCompatibilityLevel.AMPERE_PLUS,
        "same_compute_capability": trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY,
    }
    if request.hardware_compatibility in levels:
        config.hardware_compatibility_level = levels[request.hardware_compatibility]


def _choose_capabilities(trt: Any, config: Any, names: tuple[str, ...]) -> None:
    config.num_compute_capabilities = len(names)
    for index, name in enumerate(names):
        config.set_compute_capability(trt.ComputeCapability.__members__[name], index)


def _load_timing_cache(config: Any, request: Request) -> str:
    """Give the builder the kernel timings of earlier builds: ``hit``, ``miss`` or ``off``."""
    if request.timing_cache is None:
        return "off"
    data = read_timing_cache(Path(request.timing_cache))
    cache = config.create_timing_cache(data) if data else None
    # False refuses timings of another GPU; a file that cannot be used is as good as none.
    if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
        return "hit"
    empty = config.create_timing_cache(b"")
    return "miss" if config.set_timing_cache(empty, ignore_mismatch=False) else "off"


def _save_timing_cache(config: Any, request: Request) -> None:
    """Add this build's timings to what is there now; another build may have written meanwhile."""
    cache, path = config.get_timing_cache(), Path(request.timing_cache or "")
    data = read_timing_cache(path)
    other = config.create_timing_cache(data) if data else None
    if other is not None:
        cache.combine(other, ignore_mismatch=False)
    with contextlib.suppress(OSError, MahtrtError):  # a build is not lost for its timings
        write_timing_cache(path, bytes(cache.serialize()))


def _write(engine: Any, path: Path) -> str:
    """Write the engine; returns its SHA-256. The parent gave a temporary name and renames it."""
    data = memoryview(engine)
    files.write_bytes(path, data)
    return hashlib.sha256(data).hexdigest()


def _inspect(trt: Any, log: Any, serialized: Any, path: Path) -> None:
    """Write what the engine inspector says; without an engine there is nothing to write."""
    engine = trt.Runtime(log).deserialize_cuda_engine(serialized)
    if engine is not None:
        inspector = engine.create_engine_inspector()
        text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
        files.write_text(path, text)


def _io_tensor(tensor: Any) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "shape": [int(size) for size in tensor.shape],
        "dtype": tensor.dtype.name,
    }


def _parser_errors(parser: Any) -> list[dict[str, Any]]:
    errors = (parser.get_error(i) for i in range(parser.num_errors))
    return [
        {
            "code": error.code().name,
            "node": error.node(),
            "name": error.node_name(),
            "operator": error.node_operator(),
            "desc": error.desc(),
        }
        for error in errors
    ]


def _make_logger(trt: Any) -> Any:
    class Log(trt.ILogger):
        """Keeps errors and warnings, as the builder's only account of what went wrong."""

        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []
            self.warnings: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity.name in _SERIOUS:
                self.errors.append(msg)
            elif severity.name == "WARNING" and msg not in self.warnings:
                self.warnings.append(msg)

    return Log()


def _make_monitor(trt: Any, emit: Emit, cancelled: Callable[[], bool]) -> Any:
    class Monitor(trt.IProgressMonitor):
        """Passes on the innermost phase and stops a cancelled build; called from any thread."""

        def __init__(self) -> None:
            super().__init__()
            self.stopped = False
            self.open: list[str] = []

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.open.append(phase_name)
            emit({"event": "phase", "text": phase_name})

        def phase_finish(self, phase_name: str) -> None:
            if phase_name in self.open:
                self.open.remove(phase_name)
            if self.open:
                emit({"event": "phase", "text": self.open[-1]})

        def step_complete(self, phase_name: str, step: int) -> bool:
            self.stopped = self.stopped or cancelled()
            return not self.stopped

    return Monitor()


def peak_memory_mib() -> int | None:
    """Most memory this process has held; None where the system does not say.

    Not ``ru_maxrss``: a process inherits its parent's through exec.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(found[0]) // 1024 if found else None


def _watch_parent(stop: threading.Event) -> None:
    """Cancel on a line or the end of standard input; a build that does not heed it is ended."""
    sys.stdin.buffer.readline()
    stop.set()
    time.sleep(GRACE_S)
    os._exit(1)


def main(arguments: list[str]) -> int:
    """Serve one request; the exit status is 0 whenever there is a result."""
    (place,) = arguments
    # Native code prints to descriptor 1; the protocol keeps the real one to itself.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    lock, stop = threading.Lock(), threading.Event()

    def emit(event: Mapping[str, Any]) -> None:
        with lock, contextlib.suppress(BrokenPipeError):
            channel.write(json.dumps(event) + "\n")

    threading.Thread(target=_watch_parent, args=(stop,), daemon=True).start()
    try:
        request = request_from_json(Path(place).read_text(encoding="utf-8"), place)
        trt = load_flavour(find_flavour(request.flavour))
        result = run_request(trt, request, emit, stop.is_set)
    except MahtrtError as error:
        parts = {name: getattr(error, name) for name in ("subject", "got", "expected", "fix")}
        result = {"status": "error", "kind": type(error).__name__, **parts}
    except OSError as error:
        result = {"status": "os_error", "errno": error.errno, "text": str(error)}
    emit({"event": "result", **result, "peak_memory_mib": peak_memory_mib()})
    channel.flush()
    # Not through the interpreter's end: native threads may still be there, and one result is all.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
