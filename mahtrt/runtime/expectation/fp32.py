"""The FP32 graph beside an engine: what tells preprocessing from what an engine moves."""

from __future__ import annotations

from mahtrt.bundle.bundle import Bundle
from mahtrt.errors import MissingComponentError, ModelError
from mahtrt.runtime.session import Session
from mahtrt.spec import ModelSpec
from mahtrt.targets.backend import Backend
from mahtrt.targets.onnxruntime.plain import open_fp32 as open_with_onnxruntime
from mahtrt.targets.openvino.plain import open_fp32 as open_with_openvino

_OPENERS = (open_with_onnxruntime, open_with_openvino)


def open_graph(data: bytes, spec: ModelSpec) -> Backend:
    """An FP32 graph, through the first runtime that is installed.

    Raises:
        MissingComponentError: None is.
        ModelError: The runtime refuses the graph.
    """
    for opener in _OPENERS[:-1]:
        try:
            return opener(data, spec, None)
        except (MissingComponentError, ModelError):  # not there, or too old for the graph
            continue
    return _OPENERS[-1](data, spec, None)


def fp32_session(bundle: Bundle) -> Session | None:
    """The bundle's FP32 graph; None where it has none."""
    graph = next((each for each in bundle.manifest.graphs if each.name == "fp32"), None)
    if graph is None or graph.file not in bundle.records:
        return None
    backend = open_graph(bundle.file(graph.file).read_bytes(), bundle.spec)
    version = bundle.manifest.preprocess_version
    return Session(backend, bundle.spec, preprocess_version=version)
