"""Runs an engine with TensorRT or TensorRT-RTX on an NVIDIA GPU.

An engine is executable code that is tied to one version of TensorRT and to the GPUs it was built
for. So everything that can be compared is compared first, then the CUDA driver is asked for its
device, and only then is a ``Runtime`` made: without a driver it can crash the process.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.feed import Feed
from mahtrt.errors import BuildError, MahtrtError, ModelError
from mahtrt.spec import ModelSpec
from mahtrt.targets.backend import EngineToOpen, Tensor, check_interface, gpu_label
from mahtrt.targets.tensorrt.callbacks import make_logger, make_profiler
from mahtrt.targets.tensorrt.compatible import Here, check_compatible
from mahtrt.targets.tensorrt.cuda_driver import CudaDevice, open_device
from mahtrt.targets.tensorrt.device import build_platform
from mahtrt.targets.tensorrt.flavours import find_flavour, load_flavour


class TensorRtBackend:
    """A deserialized engine with as many execution contexts as threads use it at once."""

    def __init__(
        self, trt: Any, data: bytes, device: CudaDevice, spec: ModelSpec, name: str
    ) -> None:
        """Take over an engine; :meth:`open` has checked what can be checked.

        Args:
            trt: The flavour's package.
            data: The engine file's bytes.
            device: Its CUDA device, closed with this backend.

        Raises:
            BuildError: TensorRT refuses the engine.
            ModelError: The engine's inputs and outputs are not those of the spec.
        """
        self.name = name
        self.notes: tuple[str, ...] = ()
        self.threads: int | None = None
        self.device = gpu_label(0, device.name)
        self._trt, self._device = trt, device
        with device:
            # Both have to live as long as the engine.
            self._logger = make_logger(trt)
            self._runtime = trt.Runtime(self._logger)
            self._engine = self._deserialize(data)
            self._io_tensors = _read_io_tensors(trt, self._engine, name)
        inputs = {key: each.shape for key, each in self._io_tensors.items() if each.is_input}
        outputs = {key: each.shape for key, each in self._io_tensors.items() if not each.is_input}
        self.batch = check_interface(name, spec, inputs, outputs)
        self._outputs = [output.name for output in spec.outputs]
        self._free: list[_Context] = []
        self._lock = threading.Lock()
        self._in_use, self._closed = 0, False

    @classmethod
    def open(cls, engine: EngineToOpen) -> TensorRtBackend:
        """Open an engine of a bundle.

        Raises:
            BuildError: The engine is for another flavour, version, platform or GPU, or TensorRT
                refuses it.
            MissingComponentError: No TensorRT of that flavour, no CUDA driver, or no GPU.
        """
        record, flavour = engine.record, find_flavour(engine.record.target)
        trt = load_flavour(flavour)
        plan = engine.file("plan").read_bytes()  # before a GPU is used
        device = open_device(needed_for=f"engine {record.name}")
        try:
            here = Here(
                flavour.name, trt.__version__, build_platform(), device.name, device.capability
            )
            check_compatible(record, here)
            return cls(trt, plan, device, engine.spec, record.name)
        except BaseException:
            device.close()
            raise

    def infer(self, feed: Feed, outputs: Sequence[str] | None = None) -> dict[str, Tensor]:
        """See :class:`mahtrt.targets.backend.Backend`."""
        names = self._outputs if outputs is None else list(outputs)
        with self._counted(), self._device:
            context = self._take_context()
            try:
                found = context.run(feed, names)
            except BaseException:
                with contextlib.suppress(MahtrtError):  # the first error is the one to tell
                    context.free()
                raise
            self._free.append(context)
            return found

    def layer_times(self, feed: Feed, runs: int) -> list[dict[str, float]]:
        """Milliseconds of each layer in each of several inferences, by TensorRT's own profiler.

        They are measured in a context of its own, since one with a profiler is slower.

        Args:
            feed: Each input by name (B, C, H, W).

        Returns:
            Per run: the layer's name -> its time, the sum where several have the name.

        Raises:
            MahtrtError: The engine tells no times, or an inference fails.
        """
        profiler = make_profiler(self._trt)
        with self._counted(), self._device:
            context = self._new_context()
            try:
                context.attach(profiler)
                for _ in range(runs):
                    profiler.begin_run()
                    context.run(feed, self._outputs)
            except BaseException:
                with contextlib.suppress(MahtrtError):  # the first error is the one to tell
                    context.free()
                raise
            context.free()
        found: list[dict[str, float]] = profiler.runs
        if not all(found):
            raise MahtrtError(
                f"engine {self.name}", got="no layer times", expected="one of each layer"
            )
        return found

    def close(self) -> None:
        """See :class:`mahtrt.targets.backend.Backend`."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            last = self._in_use == 0
        if last:
            self._release()

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        """A call under way: the last one after :meth:`close` releases everything."""
        with self._lock:
            if self._closed:
                raise MahtrtError(f"engine {self.name}", got="a call after close()")
            self._in_use += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_use -= 1
                last = self._closed and self._in_use == 0
            if last:
                self._release()

    def _take_context(self) -> _Context:
        """An execution context for the calling thread alone."""
        try:
            return self._free.pop()
        except IndexError:
            return self._new_context()

    def _new_context(self) -> _Context:
        with self._lock:  # an engine makes one context at a time
            context = self._engine.create_execution_context()
        if context is None:
            raise MahtrtError(
                f"engine {self.name}",
                got=self._logger.take() or "no execution context",
                expected="memory for one more inference at the same time",
                fix="Close other programs on the GPU, or use fewer threads.",
            )
        return _Context(self._device, context, self._io_tensors, self.name, self._logger)

    def _deserialize(self, data: bytes) -> Any:
        assert not self._runtime.engine_host_code_allowed
        engine = self._runtime.deserialize_cuda_engine(data)
        if engine is None:
            raise BuildError(
                f"engine {self.name}",
                got=self._logger.take() or "an engine that TensorRT does not read",
                expected="TensorRT to load it",
                fix="Compile it for this host: mahtrt compile BUNDLE --target TARGET.",
            )
        return engine

    def _release(self) -> None:
        """Free everything, in the order in which it may be freed."""
        with self._device:
            while self._free:
                self._free.pop().free()
            self._engine = self._runtime = None
        self._device.close()


@dataclass(frozen=True, slots=True)
class _IoTensor:
    """An input or output of an engine: float32, of static shape."""

    shape: tuple[int, ...]
    is_input: bool

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape)) * 4


class _Context:
    """What one inference needs: TensorRT's execution context, a stream, memory on both sides.

    Made, used and freed with the CUDA context current. Shapes are static and the addresses never
    change, so the execution context is told both once.
    """

    def __init__(
        self,
        device: CudaDevice,
        context: Any,
        io_tensors: Mapping[str, _IoTensor],
        name: str,
        logger: Any,
    ) -> None:
        self._device, self._context, self._io_tensors = device, context, io_tensors
        self._name, self._logger = name, logger
        self._profiler: Any = None
        self._addresses: dict[str, int] = {}
        self._host: dict[str, NDArray[np.float32]] = {}
        self._stream = device.create_stream()
        try:
            for key, each in io_tensors.items():
                self._addresses[key] = device.allocate(each.nbytes)
                self._host[key] = device.allocate_pinned(each.shape)
            self._prepare()
        except BaseException:
            with contextlib.suppress(MahtrtError):  # the first error is the one to tell
                self.free()
            raise

    def _prepare(self) -> None:
        for key, each in self._io_tensors.items():
            if each.is_input:
                done = self._context.set_input_shape(key, each.shape)
                self._check(done, f"input shape {each.shape} for {key}")
            done = self._context.set_tensor_address(key, self._addresses[key])
            self._check(done, f"memory for {key}")
        missing = self._context.infer_shapes()
        self._check(not missing, f"no shape for {', '.join(missing)}")

    def attach(self, profiler: Any) -> None:
        """Let a profiler hear how long each layer takes, before an inference returns."""
        self._profiler = profiler  # has to live as long as the context
        self._context.profiler = profiler

    def run(self, feed: Feed, outputs: Sequence[str]) -> dict[str, Tensor]:
        """Copy in, run, copy the wanted outputs out, wait."""
        device, stream = self._device, self._stream
        for name, tensor in feed.items():
            np.copyto(self._host[name], tensor)
            device.copy_to_device(self._addresses[name], self._host[name], stream)
        self._check(self._context.execute_async_v3(stream), "the inference")
        for name in outputs:
            device.copy_to_host(self._host[name], self._addresses[name], stream)
        device.synchronize(stream)
        # The memory is used again by the next call, so the caller gets copies.
        return {name: self._host[name].copy() for name in outputs}

    def free(self) -> None:
        """Give everything back."""
        self._context = self._profiler = None
        with contextlib.ExitStack() as stack:  # goes on where one of them fails
            for array in self._host.values():
                stack.callback(self._device.free_pinned, array)
            for address in self._addresses.values():
                stack.callback(self._device.free, address)
            stack.callback(self._device.destroy_stream, self._stream)  # last in, first out
        self._addresses, self._host = {}, {}

    def _check(self, done: bool, what: str) -> None:
        if not done:
            raise MahtrtError(
                f"engine {self._name}",
                got=self._logger.take() or f"TensorRT refuses {what}",
                expected="success",
                fix="Compile it for this host: mahtrt compile BUNDLE --target TARGET.",
            )


def _read_io_tensors(trt: Any, engine: Any, subject: str) -> dict[str, _IoTensor]:
    """Inputs and outputs of an engine by name.

    Raises:
        ModelError: One is not float32, or has no static shape.
    """
    io_tensors = {}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        shape, dtype = tuple(engine.get_tensor_shape(name)), engine.get_tensor_dtype(name)
        if dtype != trt.DataType.FLOAT or any(size < 0 for size in shape):
            raise ModelError(
                f"{subject}: {name}",
                got=f"{dtype} {shape}",
                expected="float32 of static shape",
                fix="Build from an ONNX that mahtrt exported.",
            )
        io_tensors[name] = _IoTensor(shape, engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT)
    return io_tensors
