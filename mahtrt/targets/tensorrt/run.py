"""Runs an engine with TensorRT or TensorRT-RTX on an NVIDIA GPU.

An engine is executable code that is tied to one version of TensorRT and to the GPUs it was built
for. So everything that can be compared is compared first, then the CUDA driver is asked for its
device, and only then is a ``Runtime`` made: without a driver it can crash the process.

Streams, memory, graphs and threads are those of :mod:`mahtrt.cuda.pool`; here is what TensorRT does
in each slot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mahtrt.cuda.apis import open_device
from mahtrt.cuda.device import CudaDevice
from mahtrt.cuda.pool import SlotPool
from mahtrt.cuda.slots import DeviceTensor
from mahtrt.data.feed import Feed
from mahtrt.errors import BuildError, MahtrtError, ModelError
from mahtrt.spec import ModelSpec
from mahtrt.targets.backend import EngineToOpen, compile_here
from mahtrt.targets.kernel_decode.record import KernelDecode, read_decode
from mahtrt.targets.kernel_decode.run import DecodingEngine, decoded_tensors, with_decoding
from mahtrt.targets.pool_backend import PoolBackend
from mahtrt.targets.tensorrt.callbacks import make_logger, make_profiler
from mahtrt.targets.tensorrt.compatible import Here, check_compatible
from mahtrt.targets.tensorrt.device import build_platform
from mahtrt.targets.tensorrt.flavours import find_flavour, load_flavour


class TensorRtBackend(PoolBackend):
    """A deserialized engine with as many execution contexts as threads use it at once."""

    def __init__(
        self,
        trt: Any,
        data: bytes,
        device: CudaDevice,
        spec: ModelSpec,
        name: str,
        decode: KernelDecode | None = None,
    ) -> None:
        """Take over an engine; :meth:`open` has checked what can be checked.

        Args:
            trt: The flavour's package.
            data: The engine file's bytes.
            device: Its CUDA device, closed with this backend.
            decode: What a kernel computes behind the engine; None where nothing.

        Raises:
            BuildError: TensorRT refuses the engine.
            ModelError: The engine's inputs and outputs are not those of the spec.
            IntegrityError: The engine does not give what is to be decoded.
        """
        self._trt, self._name = trt, name
        with device:
            # Both have to live as long as the engine.
            self._logger = make_logger(trt)
            self._runtime = trt.Runtime(self._logger)
            self._engine = self._deserialize(data)
            self._tensors = _read_io_tensors(trt, self._engine, name, decode)
        tensors = decoded_tensors(self._tensors, decode, name) if decode else self._tensors
        super().__init__(name, device, spec, tensors)
        make = with_decoding(self._new_context, decode, device, lambda: self.pool.kernels)
        self.pool = SlotPool(name, device, tensors, make)
        self.pool.at_end(self._forget)

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
        decode = read_decode(engine)
        device = open_device(needed_for=f"engine {record.name}")
        try:
            here = Here(
                flavour.name, trt.__version__, build_platform(), device.name, device.capability
            )
            check_compatible(record, here)
            return cls(trt, plan, device, engine.spec, record.name, decode)
        except BaseException:
            device.close()
            raise

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
        with self.pool.slot(no_graphs="a profiler listens") as slot:
            engine = slot.engine
            context = engine.engine if isinstance(engine, DecodingEngine) else engine
            assert isinstance(context, _Context)
            context.attach(profiler)
            for _ in range(runs):
                profiler.begin_run()
                slot.start(feed, self._outputs)
                slot.finish()
        found: list[dict[str, float]] = profiler.runs
        if not all(found):
            raise MahtrtError(
                f"engine {self.name}", got="no layer times", expected="one of each layer"
            )
        return found

    def _new_context(self) -> _Context:
        context = self._engine.create_execution_context()
        if context is None:
            raise MahtrtError(
                f"engine {self.name}",
                got=self._logger.take() or "no execution context",
                expected="memory for one more inference at the same time",
                fix="Close other programs on the GPU, or use fewer threads.",
            )
        return _Context(context, self._tensors, self.name, self._logger)

    def _deserialize(self, data: bytes) -> Any:
        assert not self._runtime.engine_host_code_allowed
        engine = self._runtime.deserialize_cuda_engine(data)
        if engine is None:
            raise BuildError(
                f"engine {self._name}",
                got=self._logger.take() or "an engine that TensorRT does not read",
                expected="TensorRT to load it",
                fix=compile_here("TARGET"),
            )
        return engine

    def _forget(self) -> None:
        """The engine goes before its runtime."""
        self._engine = None
        self._runtime = None


class _Context:
    """TensorRT's part of a slot: an execution context.

    Shapes are static, so it is told them once; an address is told when it changes.
    """

    def __init__(
        self, context: Any, tensors: Sequence[DeviceTensor], name: str, logger: Any
    ) -> None:
        self._context, self._tensors, self._name, self._logger = context, tensors, name, logger
        self._profiler: Any = None
        self._told: dict[str, int] = {}

    def prepare(self, addresses: Mapping[str, int], stream: int) -> None:
        """See :class:`mahtrt.cuda.slots.Engine`."""
        for each in self._tensors:
            if each.is_input:
                done = self._context.set_input_shape(each.name, each.shape)
                self._check(done, f"input shape {each.shape} for {each.name}")
        self._tell(addresses)
        missing = self._context.infer_shapes()
        self._check(not missing, f"no shape for {', '.join(missing)}")

    def _tell(self, addresses: Mapping[str, int]) -> None:
        for name, address in addresses.items():
            if self._told.get(name) != address:
                done = self._context.set_tensor_address(name, address)
                self._check(done, f"memory for {name}")
                self._told[name] = address

    def attach(self, profiler: Any) -> None:
        """Let a profiler hear how long each layer takes, before an inference returns."""
        self._profiler = profiler  # has to live as long as the context
        self._context.profiler = profiler

    def enqueue(self, addresses: Mapping[str, int], stream: int) -> None:
        """See :class:`mahtrt.cuda.slots.Engine`."""
        self._tell(addresses)
        self._check(self._context.execute_async_v3(stream), "the inference")

    def close(self) -> None:
        """See :class:`mahtrt.cuda.slots.Engine`."""
        self._context = self._profiler = None

    def _check(self, done: bool, what: str) -> None:
        if not done:
            raise MahtrtError(
                f"engine {self._name}",
                got=self._logger.take() or f"TensorRT refuses {what}",
                expected="success",
                fix=compile_here("TARGET"),
            )


def _read_io_tensors(
    trt: Any, engine: Any, subject: str, decode: KernelDecode | None
) -> tuple[DeviceTensor, ...]:
    """Inputs and outputs of an engine.

    Raises:
        ModelError: One is not float32, nor float16 heatmaps for a kernel, or has no static shape.
    """
    dtypes: dict[Any, np.dtype[Any]] = {
        trt.DataType.FLOAT: np.dtype(np.float32),
        trt.DataType.HALF: np.dtype(np.float16),
    }
    tensors = []
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        shape, told = tuple(engine.get_tensor_shape(name)), engine.get_tensor_dtype(name)
        dtype, is_decoded = dtypes.get(told), decode is not None and name == decode.heatmaps
        fits = dtype is not None and (dtype == np.float32 or is_decoded)
        if dtype is None or not fits or any(size < 0 for size in shape):
            raise ModelError(
                f"{subject}: {name}",
                got=f"{told} {shape}",
                expected="float32 of static shape",
                fix="Build from an ONNX that mahtrt exported.",
            )
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        tensors.append(DeviceTensor(name, shape, dtype, is_input))
    return tuple(tensors)
