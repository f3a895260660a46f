"""What TensorRT calls while it runs: a logger, and a profiler of layers.

Their base classes are the flavour's, so they are made when it is known which one it is.
"""

from __future__ import annotations

from typing import Any


def make_logger(trt: Any) -> Any:
    """A logger that keeps the last error for messages and says nothing itself."""

    class LastError(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self._last = ""

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self._last = " ".join(msg.split())

        def take(self) -> str:
            """The last error, once: it must not explain a later failure."""
            last, self._last = self._last, ""
            return last

    return LastError()


def make_profiler(trt: Any) -> Any:
    """A profiler that keeps the times of each run apart."""

    class LayerTimes(trt.IProfiler):
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.runs: list[dict[str, float]] = []

        def begin_run(self) -> None:
            """What is told from here on is another inference's."""
            self.runs.append({})

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            times = self.runs[-1]
            times[layer_name] = times.get(layer_name, 0.0) + ms

    return LayerTimes()
