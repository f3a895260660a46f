"""How long each layer of a target takes, and which nodes of the ONNX it came from."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.errors import UsageError, require
from mahtrt.targets.onnxruntime.run import CPU_PROVIDER
from mahtrt.targets.openvino.run import read_model, shared_core

DEFAULT_RUNS = 20
WARM_UP = 3  # runs whose times are passed over
_NOT_RUN = "not_executed"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer as a target executes it.

    Attributes:
        name: The target's name for it.
        origins: Names that may be those of ONNX nodes or of their outputs.
        ms: Time per inference.
        readers: Names of the layers that read its outputs.
    """

    name: str
    origins: tuple[str, ...]
    ms: float
    readers: tuple[str, ...] = ()


# (ONNX, precision of what is not INT8, tensor, threads, runs) to layers.
Profiler = Callable[[Path, str, NDArray[np.float32], int | None, int], list[Layer]]


def profile(
    target: str,
    onnx_path: Path,
    tensor: NDArray[np.float32],
    *,
    inference_precision: str = "f32",
    threads: int | None = None,
    runs: int = DEFAULT_RUNS,
) -> list[Layer]:
    """The layers of a graph on a target, by the target's own profiler.

    Args:
        target: A name in ``PROFILERS``; a GPU's layers are those of the engine that is raced
            (:mod:`mahtrt.targets.tensorrt.profile`).
        onnx_path: Floating point or Q/DQ.
        tensor: One input (B, C, H, W).
        inference_precision: ``f32`` or ``bf16``: of what is not INT8, where the target chooses.
        runs: After some to warm up; see :func:`undisturbed` for what is made of them.

    Raises:
        UsageError: A target without a profiler here.
        MissingComponentError: Its package is not installed.
    """
    if target not in PROFILERS:
        raise UsageError(
            f"layer times of target {target!r}",
            got="no profiler",
            expected=f"one of {', '.join(PROFILERS)}, or layer times of your own",
        )
    return PROFILERS[target](onnx_path, inference_precision, tensor, threads, runs)


def layers_from_profile(times_ms: Mapping[str, float]) -> list[Layer]:
    """Layers from a plain table of times, as TensorRT's layer profile gives them.

    TensorRT names a fused layer by its parts: ``a + b``, ``PWN(a, b)``, ``{ForeignNode[a...b]}``,
    and a conversion by the layer that needs it.
    """
    return [Layer(name, tuple(_parts(name)), ms) for name, ms in times_ms.items()]


def _parts(name: str) -> list[str]:
    wanted = name.rpartition(" to ")[2] if name.startswith("Reformatting CopyNode") else name
    pieces = re.split(r"\s\+\s|,\s*|\.\.\.|[\[\](){}]", wanted)
    return [piece.strip() for piece in pieces if piece.strip()]


def _profile_openvino(
    onnx_path: Path,
    inference_precision: str,
    tensor: NDArray[np.float32],
    threads: int | None,
    runs: int,
) -> list[Layer]:
    config: dict[str, Any] = {
        "PERF_COUNT": True,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": inference_precision,
    }
    if threads is not None:
        config["INFERENCE_NUM_THREADS"] = threads
    compiled = shared_core().compile_model(read_model(onnx_path), "CPU", config)
    request = compiled.create_infer_request()
    times = _openvino_times(request, tensor, runs)
    layers = []
    for op in compiled.get_runtime_model().get_ordered_ops():
        name, info = op.get_friendly_name(), op.get_rt_info()
        if name not in times or _text(info, "execTimeMcs") == _NOT_RUN:
            continue
        origins = tuple(filter(None, _text(info, "originalLayersNames").split(",")))
        readers = tuple(
            reader.get_node().get_friendly_name()
            for output in op.outputs()
            for reader in output.get_target_inputs()
        )
        layers.append(Layer(name, origins, times[name], readers))
    return layers


def _openvino_times(request: Any, tensor: NDArray[np.float32], runs: int) -> dict[str, float]:
    """Milliseconds per layer, from averages since the start, which is what OpenVINO keeps.

    They are whole microseconds, so that the difference of two is off by as many as there were
    runs: a layer's time is good to some microseconds, which is enough to rank blocks.
    """
    found: dict[str, list[float]] = {}
    totals: dict[str, float] = {}
    for run in range(1, WARM_UP + runs + 1):
        request.infer([tensor])
        for layer in request.get_profiling_info():
            name, total_ms = layer.node_name, layer.real_time.total_seconds() * 1e3 * run
            found.setdefault(name, []).append(total_ms - totals.get(name, 0.0))
            totals[name] = total_ms
    return {name: undisturbed(durations) for name, durations in found.items()}


def undisturbed(durations_ms: Sequence[float]) -> float:
    """A layer's time without what else ran on the machine: the second smallest after warm-up.

    Other work only ever adds time, on a busy machine to most of the runs, and by whole slices of
    the scheduler. The smallest may owe something to rounding.
    """
    ordered = sorted(durations_ms[WARM_UP:] or durations_ms)
    return max(0.0, ordered[min(1, len(ordered) - 1)])


def _text(info: Any, key: str) -> str:
    return str(info[key].astype(str)) if key in info else ""


def _profile_onnxruntime(
    onnx_path: Path,
    inference_precision: str,
    tensor: NDArray[np.float32],
    threads: int | None,
    runs: int,
) -> list[Layer]:
    ort: Any = require("onnxruntime", extra="cpu", needed_for="layer times of onnxruntime")
    onnx: Any = require("onnx", extra="export", needed_for="layer times of onnxruntime")
    with tempfile.TemporaryDirectory(prefix="mahtrt-") as folder:
        optimised = Path(folder) / "optimised.onnx"
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads or 0
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        # The optimised graph says how the layers of the profile hang together.
        options.optimized_model_filepath = str(optimised)
        session = ort.InferenceSession(str(onnx_path), options, providers=[CPU_PROVIDER])
        feed = {session.get_inputs()[0].name: tensor}
        for _ in range(WARM_UP + runs):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        nodes = list(onnx.load(optimised, load_external_data=False).graph.node)
    times = _onnxruntime_times(events)
    readers: dict[str, list[str]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node.name)
    return [
        Layer(
            node.name,
            (node.name, *node.output),
            times[node.name],
            tuple(r for name in node.output for r in readers.get(name, ())),
        )
        for node in nodes
        if node.name in times
    ]


def _onnxruntime_times(events: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Milliseconds per node."""
    suffix = "_kernel_time"
    found: dict[str, list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and str(event["name"]).endswith(suffix):
            found.setdefault(event["name"].removesuffix(suffix), []).append(event["dur"] / 1e3)
    return {name: undisturbed(durations) for name, durations in found.items()}


PROFILERS: Mapping[str, Profiler] = {
    "openvino": _profile_openvino,
    "onnxruntime": _profile_onnxruntime,
}
