"""Layer times of OpenVINO."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mahtrt.data.feed import Feed
from mahtrt.targets.layers import RUNS, WARM_UP, Layer, undisturbed
from mahtrt.targets.openvino.info import noted
from mahtrt.targets.openvino.run import compile_graph, read_model

_NOT_RUN = "not_executed"


def profile(
    onnx_path: Path, feed: Feed, threads: int | None = None, inference_precision: str = "f32"
) -> list[Layer]:
    """The layers of a graph, compiled once more with OpenVINO's own profiler.

    Args:
        onnx_path: Floating point or Q/DQ.
        feed: Each input by name (B, C, H, W).
        inference_precision: ``f32`` or ``bf16``, for what is not INT8.
    """
    compiled = compile_graph(read_model(onnx_path), inference_precision, threads, PERF_COUNT=True)
    tensors = [feed[each.any_name] for each in compiled.inputs]
    times = _times(compiled.create_infer_request(), tensors)
    return list(_layers(compiled, times))


def _layers(compiled: Any, times: dict[str, float]) -> Iterator[Layer]:
    for op in compiled.get_runtime_model().get_ordered_ops():
        name, info = op.get_friendly_name(), op.get_rt_info()
        if name not in times or noted(info, "execTimeMcs") == _NOT_RUN:
            continue
        origins = tuple(filter(None, noted(info, "originalLayersNames").split(",")))
        readers = tuple(
            reader.get_node().get_friendly_name()
            for output in op.outputs()
            for reader in output.get_target_inputs()
        )
        yield Layer(name, origins, times[name], readers)


def _times(request: Any, tensors: Sequence[Any]) -> dict[str, float]:
    """Milliseconds per layer, from averages since the start, which is what OpenVINO keeps.

    They are whole microseconds, so that the difference of two is off by as many as there were
    runs: a layer's time is good to some microseconds, which is enough to rank blocks.
    """
    found: dict[str, list[float]] = {}
    totals: dict[str, float] = {}
    for run in range(1, WARM_UP + RUNS + 1):
        request.infer(tensors)
        for layer in request.get_profiling_info():
            name, total_ms = layer.node_name, layer.real_time.total_seconds() * 1e3 * run
            found.setdefault(name, []).append(total_ms - totals.get(name, 0.0))
            totals[name] = total_ms
    return {name: undisturbed(durations) for name, durations in found.items()}
