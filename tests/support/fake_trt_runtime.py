"""What runs the plans of the fake TensorRT: runtime, engine, context and inspector."""

from __future__ import annotations

import copy
import ctypes
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

_DTYPES = {"FLOAT": np.float32, "HALF": np.float16}
_SESSIONS: dict[str, Any] = {}


def compute(context: Any) -> None:
    """What ONNX Runtime makes of the graph that an engine was built from."""
    import onnxruntime

    record, models = context.engine._record, context._state.models
    if record["onnx"] not in _SESSIONS:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1  # the others would only wait for each other
        _SESSIONS[record["onnx"]] = onnxruntime.InferenceSession(
            models[record["onnx"]], options, providers=["CPUExecutionProvider"]
        )
    feed = {tensor["name"]: array_at(context, tensor["name"]) for tensor in record["inputs"]}
    names = [tensor["name"] for tensor in record["outputs"]]
    for name, value in zip(names, _SESSIONS[record["onnx"]].run(names, feed), strict=True):
        array_at(context, name)[...] = value


def array_at(context: Any, name: str) -> np.ndarray:
    """An input or output of an engine, in the memory of the fake GPU."""
    shape = context.get_tensor_shape(name)
    dtype = np.dtype(_DTYPES[context.engine._tensors[name]["dtype"]])
    nbytes = int(np.prod(shape)) * dtype.itemsize
    memory = (ctypes.c_char * nbytes).from_address(context.get_tensor_address(name))
    return np.ndarray(shape, dtype, memory)  # type: ignore[arg-type]


class Runtime:
    engine_host_code_allowed = False

    def __init__(self, trt: Any, logger: Any, inputs_key: str) -> None:
        assert trt.state.driver, "a Runtime was made without a CUDA driver"
        trt.state.runtimes += 1
        self._trt, self._logger, self._inputs_key = trt, logger, inputs_key

    def deserialize_cuda_engine(self, serialized_engine: Any) -> ICudaEngine | None:
        assert not self.engine_host_code_allowed
        try:
            record = json.loads(bytes(serialized_engine).removeprefix(b"FAKEPLAN"))
        except ValueError:
            self._logger.log(self._trt.ILogger.ERROR, "Magic tag does not match")
            return None
        return ICudaEngine(self._trt, record, self._inputs_key)


class ICudaEngine:
    def __init__(self, trt: Any, record: dict[str, Any], inputs_key: str) -> None:
        self._trt, self._record, self._inputs_key = trt, record, inputs_key
        self._tensors = {each["name"]: each for each in (*record["inputs"], *record["outputs"])}
        self.num_io_tensors = len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        return str(list(self._tensors)[index])

    def get_tensor_mode(self, name: str) -> Any:
        modes = self._trt.TensorIOMode
        return modes.INPUT if self._tensors[name] in self._record["inputs"] else modes.OUTPUT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._tensors[name]["shape"])

    def get_tensor_dtype(self, name: str) -> Any:
        return getattr(self._trt.DataType, self._tensors[name]["dtype"])

    def create_execution_context(self) -> IExecutionContext | None:
        return None if self._trt.state.refuse_contexts else IExecutionContext(self)

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector(self)


class IExecutionContext:
    profiler: Any = None

    def __init__(self, engine: ICudaEngine) -> None:
        self.engine, self._state = engine, engine._trt.state
        self._addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        return tuple(shape) == self.engine.get_tensor_shape(name)

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.engine.get_tensor_shape(name)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return name in self.engine._tensors

    def get_tensor_address(self, name: str) -> int:
        return self._addresses[name]

    def infer_shapes(self) -> list[str]:
        return list(self._state.infer_shapes_missing)

    def execute_async_v3(self, stream_handle: int) -> bool:
        state = self._state
        if set(self._addresses) != set(self.engine._tensors) or not state.on_enqueue(self):
            return False
        given = copy.copy(self)  # with the addresses of now
        given._addresses = dict(self._addresses)
        if state.gpu is None:
            given._run()
        else:
            state.gpu.submit(stream_handle, given._run, list(given._addresses.values()))
        return True

    def _run(self) -> None:
        self._state.on_execute(self)
        if self.profiler is not None:
            for layer in self.engine._record["layers"]:
                self.profiler.report_layer_time(layer["name"], self._state.layer_ms(layer))


class EngineInspector:
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine

    def get_engine_information(self, format: Any) -> str:
        assert format == self._engine._trt.LayerInformationFormat.JSON
        record = self._engine._record
        layers = [
            {
                "Name": layer["name"],
                "LayerType": layer["type"].title(),
                "Inputs": [_tensor(name) for name in layer["inputs"]],
                "Outputs": [_tensor(name) for name in layer["outputs"]],
                "Metadata": f"[ONNX Layer: {layer['name']}]",
            }
            for layer in record["layers"]
        ]
        detailed = record.get("profiling_verbosity") == "DETAILED"
        names = [layer["name"] for layer in record["layers"]]
        key, tensors = self._engine._inputs_key, list(self._engine._tensors)
        return json.dumps({"Layers": layers if detailed else names, key: tensors})


def _tensor(name: str) -> dict[str, Any]:
    return {"Name": name, "Dimensions": [], "Format/Datatype": "Float"}
