"""Runs an engine with ONNX Runtime's CUDA provider.

Streams, memory and threads are those of :mod:`mahtrt.cuda.pool`; ONNX Runtime's part of a slot is
:mod:`mahtrt.targets.onnxruntime_cuda.bound_session`. A slot holds the weights once more on the GPU,
so that only so many calls are run at once; a further one waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mahtrt.cuda.apis import open_device
from mahtrt.cuda.device import CudaDevice
from mahtrt.cuda.pool import Sharing, SlotPool
from mahtrt.cuda.shared_lock import SharedLock
from mahtrt.cuda.slots import DeviceTensor
from mahtrt.errors import BuildError, ModelError
from mahtrt.reading import Content
from mahtrt.targets.backend import EngineToOpen
from mahtrt.targets.onnxruntime.run import OrtMode, open_onnx
from mahtrt.targets.onnxruntime_cuda.bound_session import BoundSession, SessionMaker
from mahtrt.targets.onnxruntime_cuda.findings import load_runtime
from mahtrt.targets.pool_backend import PoolBackend

MOST_AT_ONCE = 4
_FLOAT = "tensor(float)"
_OWN_GRAPHS = "ONNX Runtime records its own graphs"
# ONNX Runtime records in CUDA's global mode: meanwhile no thread of the process may allocate, wait
# for a stream, or do else what could break a recording (CUDA's documentation of
# cudaStreamBeginCapture). So no call of any of these engines is under way when a session is opened.
_OPENING = SharedLock()


class OnnxRuntimeCudaBackend(PoolBackend):
    """Sessions of an engine, as many as run at once."""

    def __init__(self, ort: Any, device: CudaDevice, engine: EngineToOpen) -> None:
        """Open the first session; :meth:`open` has checked what can be checked.

        Args:
            ort: The package.
            device: Closed with this backend, or by the caller where this raises.

        Raises:
            BuildError: ONNX Runtime refuses the graph.
            ModelError: The network's inputs and outputs are not those of the spec.
            CudaError: Out of memory.
        """
        record = engine.record
        self._version = _other_version(record.versions, ort)
        tensors = _read_tensors(engine.file("onnx"), record.name)
        super().__init__(record.name, device, engine.spec, tensors)
        self._maker = SessionMaker(ort, device, engine.file("onnx"), self.name, tensors)
        self.pool = SlotPool(
            self.name,
            device,
            tensors,
            lambda: BoundSession(self._maker),
            no_graphs=_OWN_GRAPHS,
            sharing=Sharing(MOST_AT_ONCE, _OPENING),
        )
        with self.pool.slot():  # what cannot be opened is told now
            pass

    @classmethod
    def open(cls, engine: EngineToOpen) -> OnnxRuntimeCudaBackend:
        """Open an engine of a bundle.

        Raises:
            BuildError: ONNX Runtime refuses the graph, or would run parts of it on the CPU.
            MissingComponentError: No ONNX Runtime with the provider, no driver, no GPU, or no CUDA
                libraries.
        """
        needed_for = f"engine {engine.record.name}"
        ort, device = load_runtime(needed_for), open_device(needed_for=needed_for)
        try:
            return cls(ort, device, engine)
        except BaseException:
            device.close()
            raise

    @property
    def notes(self) -> tuple[str, ...]:
        """What to tell of how it runs."""
        problem = self._maker.no_graph
        graph = (f"Without a CUDA graph: {problem}.",) if problem else ()
        return (*graph, *self._maker.notes, *self._version)


def _read_tensors(model: Content, name: str) -> tuple[DeviceTensor, ...]:
    """Inputs and outputs of a graph, which the CPU reads before there is a stream.

    Raises:
        BuildError: ONNX Runtime refuses the graph.
        ModelError: One is not float32, or has no static shape.
    """
    try:
        session = open_onnx(model, f"engine {name}", mode=OrtMode.NODE_BY_NODE)
    except ModelError as error:
        raise BuildError(error.subject, got=error.got, expected=error.expected) from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    return (
        *(_tensor(each, name, is_input=True) for each in inputs),
        *(_tensor(each, name, is_input=False) for each in outputs),
    )


def _tensor(value: Any, subject: str, *, is_input: bool) -> DeviceTensor:
    if value.type != _FLOAT or not all(isinstance(size, int) for size in value.shape):
        raise ModelError(
            f"{subject}: {value.name}",
            got=f"{value.type} {tuple(value.shape)}",
            expected="float32 of static shape",
            fix="Build from an ONNX that mahtrt exported.",
        )
    return DeviceTensor(value.name, tuple(value.shape), np.dtype(np.float32), is_input)


def _other_version(versions: Mapping[str, str], ort: Any) -> tuple[str, ...]:
    built_with = next(iter(versions.values()), None)
    if built_with in (None, ort.__version__):
        return ()
    return (f"Built with ONNX Runtime {built_with}; this is {ort.__version__}.",)
