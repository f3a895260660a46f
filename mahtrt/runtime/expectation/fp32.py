"""The FP32 graph beside an engine: what tells preprocessing from what an engine moves."""

from __future__ import annotations

import importlib

from mahtrt.bundle.bundle import Bundle
from mahtrt.errors import MissingComponentError, ModelError
from mahtrt.runtime.session import Session
from mahtrt.spec import ModelSpec
from mahtrt.targets.backend import Backend

# In the order of preference, resolved on use: shared code imports no target's own modules.
_PLAIN = ("mahtrt.targets.onnxruntime.plain", "mahtrt.targets.openvino.plain")


def open_graph(data: bytes, spec: ModelSpec) -> Backend:
    """An FP32 graph, through the first runtime that is installed.

    Raises:
        MissingComponentError: None is.
        ModelError: The runtime refuses the graph.
    """
    *preferred, last = _PLAIN
    for name in preferred:
        try:
            return _opened(name, data, spec)
        except (MissingComponentError, ModelError):  # not there, or too old for the graph
            continue
    return _opened(last, data, spec)


def _opened(name: str, data: bytes, spec: ModelSpec) -> Backend:
    backend: Backend = importlib.import_module(name).open_fp32(data, spec, None)
    return backend


def fp32_session(bundle: Bundle) -> Session | None:
    """The bundle's FP32 graph; None where it has none."""
    graph = next((each for each in bundle.manifest.graphs if each.name == "fp32"), None)
    if graph is None or graph.file not in bundle.records:
        return None
    backend = open_graph(bundle.file(graph.file).read_bytes(), bundle.spec)
    version = bundle.manifest.preprocess_version
    return Session(backend, bundle.spec, preprocess_version=version)
