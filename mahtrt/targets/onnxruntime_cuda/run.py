"""Runs an engine with ONNX Runtime's CUDA provider.

A backend has as many workers (:mod:`mahtrt.targets.onnxruntime_cuda.worker`) as threads use it at
once, up to a bound: each holds the weights once more on the GPU. Where all are busy, a call waits.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mahtrt.cuda.bindings import open_device
from mahtrt.cuda.device import CudaDevice
from mahtrt.data.feed import Feed
from mahtrt.errors import MahtrtError, MissingComponentError
from mahtrt.spec import ModelSpec
from mahtrt.targets.backend import (
    EngineToOpen,
    Tensor,
    check_interface,
    gpu_label,
)
from mahtrt.targets.onnxruntime_cuda.findings import load_runtime
from mahtrt.targets.onnxruntime_cuda.inference import Inference
from mahtrt.targets.onnxruntime_cuda.provider import ProviderOptions, open_on_gpu
from mahtrt.targets.onnxruntime_cuda.worker import Worker

MOST_WORKERS = 4


class OnnxRuntimeCudaBackend:
    """Workers of an engine, made as they are needed."""

    def __init__(
        self,
        device: CudaDevice,
        make_worker: Callable[[], Worker],
        spec: ModelSpec,
        name: str,
        *,
        most_workers: int = MOST_WORKERS,
    ) -> None:
        """Make the first worker.

        Args:
            device: Closed with this backend.
            make_worker: A new worker.
            most_workers: How many there can be at once.

        Raises:
            BuildError: ONNX Runtime refuses the graph.
            ModelError: The network's inputs and outputs are not those of the spec.
            CudaError: Out of memory.
        """
        self.name = name
        self.threads: int | None = None  # a GPU computes
        self.device = gpu_label(device.ordinal, device.name)
        self.notes: tuple[str, ...] = ()
        self._gpu, self._make_worker, self._most = device, make_worker, most_workers
        self._changed = threading.Condition()
        self._made, self._in_use, self._closed = 1, 0, False
        first = make_worker()
        self._free = [first]
        shapes: tuple[dict[str, Sequence[int]], dict[str, Sequence[int]]] = ({}, {})
        for each in first.io_tensors:
            shapes[0 if each.is_input else 1][each.name] = each.shape
        try:
            self.batch = check_interface(name, spec, *shapes)
        except BaseException:
            first.free()
            raise
        self._outputs = [output.name for output in spec.outputs]

    @classmethod
    def open(cls, engine: EngineToOpen) -> OnnxRuntimeCudaBackend:
        """Open an engine of a bundle.

        Raises:
            BuildError: ONNX Runtime refuses the graph, or would run parts of it on the CPU.
            MissingComponentError: No ONNX Runtime with the provider, no driver, no GPU, or no CUDA
                libraries.
        """
        record = engine.record
        needed_for = f"engine {record.name}"
        ort, device = load_runtime(needed_for), open_device(needed_for=needed_for)
        try:
            maker = WorkerMaker(ort, device, engine)
            backend = cls(device, maker, engine.spec, record.name)
        except BaseException:
            device.close()
            raise
        backend.notes = (*maker.notes, *_other_version(record.versions, ort))
        return backend

    def infer(self, feed: Feed, outputs: Sequence[str] | None = None) -> dict[str, Tensor]:
        """See :class:`mahtrt.targets.backend.Backend`."""
        names = self._outputs if outputs is None else list(outputs)
        with self._counted(), self._worker() as worker:
            return worker.run(feed, names)

    def close(self) -> None:
        """See :class:`mahtrt.targets.backend.Backend`."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            last = self._in_use == 0
        if last:
            self._release()

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        """A call under way: the last one after :meth:`close` releases everything."""
        with self._changed:
            if self._closed:
                raise MahtrtError(f"engine {self.name}", got="a call after close()")
            self._in_use += 1
        try:
            yield
        finally:
            with self._changed:
                self._in_use -= 1
                last = self._closed and self._in_use == 0
            if last:
                self._release()

    @contextlib.contextmanager
    def _worker(self) -> Iterator[Worker]:
        """A worker for the calling thread alone; one that failed is not used again."""
        worker = self._take()
        try:
            yield worker
        except BaseException:
            with contextlib.suppress(MahtrtError):  # the first error is the one to tell
                worker.free()
            self._put_back(None)
            raise
        self._put_back(worker)

    def _take(self) -> Worker:
        """A free worker, the last one used first, or a new one; else wait for one."""
        with self._changed:
            while not self._free and self._made >= self._most:
                self._changed.wait()
            if self._free:
                return self._free.pop()
            self._made += 1
        try:
            return self._make_worker()
        except BaseException:
            self._put_back(None)
            raise

    def _put_back(self, worker: Worker | None) -> None:
        """A worker is free again, or, where there is none, may be made anew."""
        with self._changed:
            if worker is None:
                self._made -= 1
            else:
                self._free.append(worker)
            self._changed.notify()

    def _release(self) -> None:
        with contextlib.ExitStack() as stack:  # goes on where one of them fails; last in, first out
            stack.callback(self._gpu.close)
            while self._free:
                stack.callback(self._free.pop().free)


class WorkerMaker:
    """Makes the workers of one engine.

    Attributes:
        notes: What to tell of how they run.
    """

    def __init__(self, ort: Any, device: CudaDevice, engine: EngineToOpen) -> None:
        self.notes: tuple[str, ...] = ()
        self._ort, self._device = ort, device
        self._model, self._name = engine.file("onnx"), f"engine {engine.record.name}"
        self._label = engine.record.name
        self._graph = True

    def __call__(self) -> Worker:
        """A worker that ran once, with a CUDA graph unless that was refused before."""
        if not self._graph:
            return self._make(graph=False)
        try:
            return self._make(graph=True)
        except MissingComponentError:
            raise
        except MahtrtError as error:
            worker = self._make(graph=False)  # an error here is that of the engine
            self._graph = False
            self.notes = (*self.notes, f"Runs without a CUDA graph: {error.got}.")
            return worker

    def _make(self, *, graph: bool) -> Worker:
        def inference() -> Inference:
            return Inference(
                self._ort, self._device, lambda stream: self._open(stream, graph), self._label
            )

        return Worker(self._device, inference)

    def _open(self, stream: int, graph: bool) -> Any:
        options = ProviderOptions(self._device.ordinal, stream, graph)
        opened = open_on_gpu(self._ort, self._model, self._name, options)
        self.notes = opened.notes or self.notes
        return opened.session


def _other_version(versions: Mapping[str, str], ort: Any) -> tuple[str, ...]:
    built_with = next(iter(versions.values()), None)
    if built_with in (None, ort.__version__):
        return ()
    return (f"Built with ONNX Runtime {built_with}; this is {ort.__version__}.",)
