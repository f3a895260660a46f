"""Runtime, engine, context and inspector of the fake TensorRT."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fake_trt_base import (
    PLAN_MAGIC,
    FakeState,
    IHostMemory,
    Overridable,
    Strict,
    check_bound,
    check_enum,
)


def add_runtime(trt: Any, state: FakeState, *, inputs_key: str) -> None:
    class Runtime(Strict):
        ATTRIBUTES = ("engine_host_code_allowed", "max_threads", "logger")

        def __init__(self, logger: Any) -> None:
            assert state.driver, "a Runtime was made without a CUDA driver"
            check_bound(logger, trt.ILogger)
            state.runtimes += 1
            self.logger, self.engine_host_code_allowed = logger, False

        def deserialize_cuda_engine(self, serialized_engine: Any) -> Any:
            data = bytes(serialized_engine)
            state.calls.append(
                ("Runtime.deserialize_cuda_engine", (len(data), self.engine_host_code_allowed))
            )
            try:
                record = json.loads(data.removeprefix(PLAN_MAGIC))
            except ValueError:
                self.logger.log(trt.ILogger.ERROR, "Magic tag does not match")
                return None
            if record["version"] != trt.__version__:
                self.logger.log(trt.ILogger.ERROR, "Version tag does not match")
                return None
            return ICudaEngine(record)

    class ICudaEngine(Strict):
        def __init__(self, record: dict[str, Any]) -> None:
            self._record = record
            self._ports = {
                each["name"]: (each, mode)
                for mode, key in (
                    (trt.TensorIOMode.INPUT, "inputs"),
                    (trt.TensorIOMode.OUTPUT, "outputs"),
                )
                for each in record[key]
            }

        num_io_tensors = property(lambda self: len(self._ports))
        num_layers = property(lambda self: len(self._record["layers"]))
        num_optimization_profiles = property(lambda self: 1)
        device_memory_size_v2 = property(lambda self: 1 << 20)
        name = property(lambda self: "engine")

        @property
        def hardware_compatibility_level(self) -> Any:
            return getattr(trt.HardwareCompatibilityLevel, self._record["hardware_compatibility"])

        @property
        def profiling_verbosity(self) -> Any:
            return getattr(trt.ProfilingVerbosity, self._record["verbosity"])

        def get_tensor_name(self, index: int) -> str:
            return list(self._ports)[index]

        def get_tensor_mode(self, name: str) -> Any:
            return self._ports[name][1] if name in self._ports else trt.TensorIOMode.NONE

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return tuple(self._ports[name][0]["shape"])

        def get_tensor_dtype(self, name: str) -> Any:
            return getattr(trt.DataType, self._ports[name][0]["dtype"])

        def get_tensor_location(self, name: str) -> Any:
            return trt.TensorLocation.DEVICE

        def serialize(self) -> IHostMemory:
            return IHostMemory(PLAN_MAGIC + json.dumps(self._record).encode())

        def create_execution_context(self, strategy: Any = None) -> Any:
            state.calls.append(("ICudaEngine.create_execution_context", ()))
            if state.refuse_contexts:
                return None
            return IExecutionContext(self)

        def create_engine_inspector(self) -> Any:
            return EngineInspector(self)

    class IProfiler(Overridable):
        def report_layer_time(self, layer_name: str, ms: float) -> None:
            raise NotImplementedError

    class IExecutionContext(Strict):
        ATTRIBUTES = ("profiler", "enqueue_emits_profile")

        def __init__(self, engine: ICudaEngine) -> None:
            self._engine = engine
            self.profiler, self.enqueue_emits_profile = None, True
            self._addresses: dict[str, int] = {}
            self._shapes: dict[str, tuple[int, ...]] = {}

        engine = property(lambda self: self._engine)

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if name == "profiler" and value is not None:
                check_bound(value, trt.IProfiler)

        def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
            state.calls.append(("IExecutionContext.set_input_shape", (name, tuple(shape))))
            if tuple(shape) != self._engine.get_tensor_shape(name):
                return False
            self._shapes[name] = tuple(shape)
            return True

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return self._engine.get_tensor_shape(name)

        def set_tensor_address(self, name: str, memory: int) -> bool:
            state.calls.append(("IExecutionContext.set_tensor_address", (name, memory)))
            if name not in self._engine._ports:
                return False
            self._addresses[name] = memory
            return True

        def get_tensor_address(self, name: str) -> int:
            return self._addresses.get(name, 0)

        def infer_shapes(self) -> list[str]:
            return list(state.infer_shapes_missing)

        def execute_async_v3(self, stream_handle: int) -> bool:
            state.calls.append(("IExecutionContext.execute_async_v3", (stream_handle,)))
            if set(self._addresses) != set(self._engine._ports):
                return False
            done = state.on_execute(self)
            if done and self.profiler is not None and self.enqueue_emits_profile:
                for layer in self._engine._record["layers"]:
                    self.profiler.report_layer_time(layer["name"], state.layer_ms(layer))
            return done

    class EngineInspector(Strict):
        ATTRIBUTES = ("execution_context",)

        def __init__(self, engine: ICudaEngine) -> None:
            self._record = engine._record

        def get_engine_information(self, format: Any) -> str:
            check_enum(format, trt.LayerInformationFormat)
            if format != trt.LayerInformationFormat.JSON:
                return "\n".join(each["name"] for each in self._record["layers"])
            detailed = self._record["verbosity"] == "DETAILED"
            layers = [
                _layer_report(each) if detailed else each["name"] for each in self._record["layers"]
            ]
            names = [each["name"] for key in ("inputs", "outputs") for each in self._record[key]]
            return json.dumps({"Layers": layers, inputs_key: names})

        def get_layer_information(self, layer_index: int, format: Any) -> str:
            return json.dumps(_layer_report(self._record["layers"][layer_index]))

    trt.Runtime, trt.ICudaEngine, trt.IProfiler = Runtime, ICudaEngine, IProfiler
    trt.IExecutionContext, trt.EngineInspector = IExecutionContext, EngineInspector


def _layer_report(layer: dict[str, Any]) -> dict[str, Any]:
    def port(name: str) -> dict[str, Any]:
        return {"Name": name, "Dimensions": [], "Format/Datatype": "Float"}

    return {
        "Name": layer["name"],
        "LayerType": layer["type"].title(),
        "Inputs": [port(name) for name in layer["inputs"]],
        "Outputs": [port(name) for name in layer["outputs"]],
        "Metadata": f"[ONNX Layer: {layer['name']}]",
    }
