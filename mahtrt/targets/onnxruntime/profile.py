"""Layer times of ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mahtrt.data.feed import Feed
from mahtrt.errors import ModelError, require
from mahtrt.parsing import MOST_DATA_SET_BYTES, read_json_file
from mahtrt.reading import Wanted
from mahtrt.scratch import temporary_folder
from mahtrt.targets.layers import RUNS, WARM_UP, Layer, undisturbed
from mahtrt.targets.onnxruntime.run import open_onnx

_SUFFIX = "_kernel_time"


def profile(onnx_path: Path, feed: Feed, threads: int | None = None) -> list[Layer]:
    """The layers of a graph, opened once more with ONNX Runtime's own profiler.

    Args:
        onnx_path: Floating point or Q/DQ.
        feed: Each input by name (B, C, H, W).

    Raises:
        MissingComponentError: ONNX Runtime or the onnx package is not installed.
    """

    def open_session(settings: Mapping[str, Any]) -> Any:
        return open_onnx(onnx_path, str(onnx_path), threads=threads, settings=settings)

    return profile_session(open_session, feed)


def profile_session(open_session: Callable[[Mapping[str, Any]], Any], feed: Feed) -> list[Layer]:
    """The layers of a session that is opened for it, with ONNX Runtime's own profiler.

    Args:
        open_session: Takes attributes of ``SessionOptions`` to be set.
        feed: Each input by name (B, C, H, W).

    Raises:
        MissingComponentError: The onnx package is not installed.
    """
    onnx: Any = require("onnx", extra="export", needed_for="layer times of onnxruntime")
    with temporary_folder() as folder:
        optimised = folder / "optimised.onnx"  # says how the layers hang together
        settings = {
            "enable_profiling": True,
            "profile_file_prefix": str(folder / "profile"),
            "optimized_model_filepath": str(optimised),
        }
        session = open_session(settings)
        for _ in range(WARM_UP + RUNS):
            session.run(None, dict(feed))
        events = read_json_file(
            Path(session.end_profiling()),
            Wanted("a profile", ModelError),
            most_bytes=MOST_DATA_SET_BYTES,
        )
        nodes = list(onnx.load(optimised, load_external_data=False).graph.node)
    times = _times(events)
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


def _times(events: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Milliseconds per node."""
    found: dict[str, list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and str(event["name"]).endswith(_SUFFIX):
            found.setdefault(event["name"].removesuffix(_SUFFIX), []).append(event["dur"] / 1e3)
    return {name: undisturbed(durations) for name, durations in found.items()}
