"""Runs an engine with ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mahtrt.bundle.manifest import EngineRecord
from mahtrt.errors import BuildError, ModelError, require
from mahtrt.spec import ModelSpec
from mahtrt.targets.backend import Tensor, check_interface

CPU_PROVIDER = "CPUExecutionProvider"
_ERRORS_ONLY = 3


class OnnxRuntimeBackend:
    """An ONNX Runtime session, whose ``run`` is thread-safe."""

    def __init__(self, session: Any, spec: ModelSpec, name: str, notes: Sequence[str] = ()) -> None:
        self.name, self.notes = name, tuple(notes)
        inputs = {port.name: port.shape for port in session.get_inputs()}
        names = [port.name for port in session.get_outputs()]
        self.batch = check_interface(name, spec, inputs, names)
        self._session = session
        self._input = spec.input.name
        self._outputs = [output.name for output in spec.outputs]

    @classmethod
    def open(
        cls,
        engine: EngineRecord,
        files: Mapping[str, Path],
        spec: ModelSpec,
        *,
        threads: int | None = None,
    ) -> OnnxRuntimeBackend:
        """Open an engine of a bundle.

        Raises:
            BuildError: ONNX Runtime cannot open the file.
            MissingComponentError: ONNX Runtime is not installed.
        """
        ort = require("onnxruntime", extra="cpu", needed_for=f"engine {engine.name}")
        notes = []
        built_with = engine.versions.get("onnxruntime")
        if built_with and built_with != ort.__version__:
            notes.append(f"Built with ONNX Runtime {built_with}; this is {ort.__version__}.")
        try:
            session = open_onnx(files["onnx"], threads=threads)
        except Exception as error:  # its exceptions derive from Exception and have no public names
            raise BuildError(
                f"engine {engine.name}",
                got=str(error).partition("\n")[0],
                expected="ONNX Runtime to open it",
                fix="Build the bundle again on this machine.",
            ) from error
        return cls(session, spec, engine.name, notes)

    def infer(self, tensor: Tensor, outputs: Sequence[str] | None = None) -> dict[str, Tensor]:
        """See :class:`mahtrt.targets.backend.Backend`."""
        names = self._outputs if outputs is None else list(outputs)
        arrays = self._session.run(names, {self._input: tensor})
        return {
            name: np.asarray(array, np.float32) for name, array in zip(names, arrays, strict=True)
        }

    def close(self) -> None:
        """See :class:`mahtrt.targets.backend.Backend`."""


def open_onnx(path: Path, *, threads: int | None, literal_qdq: bool = False) -> Any:
    """An ``InferenceSession`` on the CPU with every graph optimisation.

    Args:
        literal_qdq: Compute Q/DQ pairs as they stand, without INT8 kernels: slower, and free of
            what a CPU's INT8 instructions saturate.

    Raises:
        Exception: ONNX Runtime's own error.
    """
    ort: Any = require("onnxruntime", extra="cpu", needed_for="target onnxruntime")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads or 0  # 0: one per physical core
    options.log_severity_level = _ERRORS_ONLY
    # Its threads otherwise spin for tens of milliseconds after a call, at the cost of what comes
    # next: other engines, preprocessing.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if literal_qdq:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = ort.InferenceSession(str(path), options, providers=[CPU_PROVIDER])
    assert session.get_providers() == [CPU_PROVIDER]
    return session


def batch_of(session: Any, subject: str) -> int:
    """The static batch size of an opened network.

    Raises:
        ModelError: Its shapes are not static.
    """
    shapes = [port.shape for port in (*session.get_inputs(), *session.get_outputs())]
    if not all(isinstance(size, int) for shape in shapes for size in shape):
        raise ModelError(
            subject,
            got=f"shapes {', '.join(map(str, shapes))}",
            expected="static shapes",
            fix="Export with mahtrt export, or fix the batch size in the graph.",
        )
    return int(shapes[0][0])
