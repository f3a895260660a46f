"""Runs an engine with ONNX Runtime on the CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import numpy as np

from mahtrt.bundle.contents import held
from mahtrt.data.feed import Feed
from mahtrt.errors import BuildError, ModelError, require
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

CPU_PROVIDER = "CPUExecutionProvider"
_ERRORS_ONLY = 3


class OrtMode(Enum):
    """How ONNX Runtime takes a graph.

    Attributes:
        ENGINE: Every optimisation, INT8 kernels included: as an engine runs.
        LITERAL_INT8: Every optimisation, but Q/DQ pairs are computed as they stand: slower, and
            free of what a CPU's INT8 instructions saturate.
        NODE_BY_NODE: Nothing is rewritten: every tensor of the graph is computed, in its own type.
    """

    ENGINE = "engine"
    LITERAL_INT8 = "literal int8"
    NODE_BY_NODE = "node by node"


# Threads spin for tens of milliseconds after a call, at the cost of what comes next: other engines,
# preprocessing. What is never timed does not spin at all: on a busy machine that costs a lot.
_ENTRIES = {
    OrtMode.ENGINE: {"session.force_spinning_stop": "1"},
    OrtMode.LITERAL_INT8: {
        "session.disable_quant_qdq": "1",
        "session.intra_op.allow_spinning": "0",
    },
    OrtMode.NODE_BY_NODE: {"session.intra_op.allow_spinning": "0"},
}


class OnnxRuntimeBackend:
    """An ONNX Runtime session, whose ``run`` is thread-safe."""

    def __init__(self, session: Any, spec: ModelSpec, name: str, notes: Sequence[str] = ()) -> None:
        self.name, self.notes, self.device = name, tuple(notes), CPU
        inputs = {each.name: each.shape for each in session.get_inputs()}
        outputs = {each.name: each.shape for each in session.get_outputs()}
        self.batch = check_interface(name, spec, inputs, outputs)
        # 0 leaves them to ONNX Runtime, which does not say how many it took.
        self.threads: int | None = session.get_session_options().intra_op_num_threads or None
        self._session = session
        self.facts: dict[str, str] = {}
        self._outputs = [output.name for output in spec.outputs]

    @classmethod
    def open(cls, engine: EngineToOpen) -> OnnxRuntimeBackend:
        """Open an engine of a bundle.

        Raises:
            BuildError: ONNX Runtime cannot open the file.
            MissingComponentError: ONNX Runtime is not installed.
        """
        ort = require("onnxruntime", extra="cpu", needed_for=f"engine {engine.record.name}")
        notes, record = [], engine.record
        built_with = record.versions.get("onnxruntime")
        if built_with and built_with != ort.__version__:
            notes.append(f"Built with ONNX Runtime {built_with}; this is {ort.__version__}.")
        try:
            session = open_onnx(
                engine.file("onnx"), f"engine {record.name}", threads=engine.threads
            )
        except ModelError as error:
            raise BuildError(
                error.subject,
                got=error.got,
                expected="ONNX Runtime to open it",
                fix=compile_here(record.target),
            ) from error
        return cls(session, engine.spec, record.name, notes)

    def infer(self, feed: Feed, outputs: Sequence[str] | None = None) -> dict[str, Tensor]:
        """See :class:`mahtrt.targets.backend.Backend`."""
        names = self._outputs if outputs is None else list(outputs)
        try:
            arrays = self._session.run(names, dict(feed))
        except Exception as error:  # as in open_onnx
            raise failed_to_run(self.name, str(error).partition("\n")[0]) from error
        return {
            name: np.asarray(array, np.float32) for name, array in zip(names, arrays, strict=True)
        }

    def close(self) -> None:
        """See :class:`mahtrt.targets.backend.Backend`."""


def open_onnx(
    model: Content | bytes,
    where: str,
    *,
    threads: int | None = None,
    mode: OrtMode = OrtMode.ENGINE,
    settings: Mapping[str, Any] | None = None,
) -> Any:
    """An ``InferenceSession`` on the CPU; all of mahtrt opens them here.

    Args:
        model: An ONNX file, or its content.
        where: What an error is about: a path, or which graph it is.
        threads: None means one per physical core.
        settings: More attributes of ``SessionOptions``.

    Raises:
        ModelError: ONNX Runtime refuses the graph.
        MissingComponentError: ONNX Runtime is not installed.
    """
    ort: Any = require("onnxruntime", extra="cpu", needed_for=where)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = _ERRORS_ONLY
    if mode is OrtMode.NODE_BY_NODE:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    for name, value in _ENTRIES[mode].items():
        options.add_session_config_entry(name, value)
    for name, value in (settings or {}).items():
        setattr(options, name, value)
    with contextlib.nullcontext(model) if isinstance(model, bytes) else held(model) as source:
        return _session(ort, source if isinstance(source, bytes) else str(source), options, where)


def _session(ort: Any, source: str | bytes, options: Any, where: str) -> Any:
    try:
        session = ort.InferenceSession(source, options, providers=[CPU_PROVIDER])
        for each in (*session.get_inputs(), *session.get_outputs()):
            _ = each.name  # not UTF-8: an error that only looking at it brings up
    except Exception as error:  # its exceptions derive from Exception and have no public names
        first = str(error).partition("\n")[0]
        raise ModelError(where, got=first, expected="a graph that ONNX Runtime runs") from error
    assert session.get_providers() == [CPU_PROVIDER]
    return session


def batch_of(session: Any, subject: str) -> int:
    """The static batch size of an opened network.

    Raises:
        ModelError: Its shapes are not static.
    """
    shapes = [each.shape for each in (*session.get_inputs(), *session.get_outputs())]
    if not all(shape and all(isinstance(size, int) for size in shape) for shape in shapes):
        raise ModelError(
            subject,
            got=f"shapes {', '.join(map(str, shapes))}",
            expected="static shapes",
            fix="Export with mahtrt export, or fix the batch size in the graph.",
        )
    return int(shapes[0][0])
