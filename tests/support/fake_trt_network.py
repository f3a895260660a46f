"""The network and the ONNX parser of the fake TensorRT."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any

from fake_trt_base import FakeError, FakeState, Strict, check_bound

_DTYPES = {1: "FLOAT", 2: "UINT8", 3: "INT8", 6: "INT32", 7: "INT64", 9: "BOOL", 10: "HALF"} | {
    16: "BF16"
}


class ITensor(Strict):
    ATTRIBUTES = ("name", "shape", "dtype", "is_network_input", "is_network_output")

    def __init__(self, name: str, shape: tuple[int, ...], dtype: Any, is_input: bool) -> None:
        self.name, self.shape, self.dtype = name, shape, dtype
        self.is_network_input, self.is_network_output = is_input, not is_input


class ILayer(Strict):
    ATTRIBUTES = ("name", "type", "metadata", "num_inputs", "num_outputs")

    def __init__(self, name: str, kind: Any, inputs: list[str], outputs: list[str]) -> None:
        self.name, self.type, self.metadata = name, kind, f"[ONNX Layer: {name}]"
        self._inputs, self._outputs = inputs, outputs
        self.num_inputs, self.num_outputs = len(inputs), len(outputs)


_LAYER_TYPES = {
    "Conv": "CONVOLUTION",
    "ConvTranspose": "DECONVOLUTION",
    "MatMul": "MATRIX_MULTIPLY",
    "Gemm": "MATRIX_MULTIPLY",
    "QuantizeLinear": "QUANTIZE",
    "DequantizeLinear": "DEQUANTIZE",
    "Cast": "CAST",
    "Relu": "ACTIVATION",
    "Sigmoid": "ACTIVATION",
    "Softmax": "SOFTMAX",
    "Concat": "CONCATENATION",
    "Resize": "RESIZE",
}


def add_network(trt: Any, state: FakeState) -> None:
    class INetworkDefinition(Strict):
        ATTRIBUTES = ("name", "error_recorder")

        def __init__(self, flags: int) -> None:
            self._flags = flags
            self.name = "Unnamed Network"
            self._inputs: list[ITensor] = []
            self._outputs: list[ITensor] = []
            self._layers: list[ILayer] = []
            self._digest = ""

        flags = property(lambda self: self._flags)
        num_inputs = property(lambda self: len(self._inputs))
        num_outputs = property(lambda self: len(self._outputs))
        num_layers = property(lambda self: len(self._layers))

        def get_flag(self, flag: Any) -> bool:
            return bool(self._flags >> int(flag) & 1)

        def get_input(self, index: int) -> ITensor:
            return self._inputs[index]

        def get_output(self, index: int) -> ITensor:
            return self._outputs[index]

        def get_layer(self, index: int) -> ILayer:
            return self._layers[index]

    class ParserError:
        def __init__(self, error: FakeError) -> None:
            for name in ("desc", "node", "node_name", "node_operator", "file", "func", "line"):
                setattr(self, name, functools.partial(getattr, error, name))
            self.code = lambda: getattr(trt.ErrorCode, error.code)
            self.local_function_stack = list
            self.local_function_stack_size = lambda: 0

    class OnnxParser(Strict):
        ATTRIBUTES = ("flags",)

        def __init__(self, network: Any, logger: Any) -> None:
            check_bound(logger, trt.ILogger)
            self._network, self._logger = network, logger
            self._errors: list[FakeError] = []
            self._proto: Any = None

        num_errors = property(lambda self: len(self._errors))

        def get_error(self, index: int) -> ParserError:
            return ParserError(self._errors[index])

        def clear_errors(self) -> None:
            self._errors = []

        def set_builder_config(self, config: Any) -> bool:
            state.calls.append(("OnnxParser.set_builder_config", (config,)))
            return True

        def set_flag(self, flag: Any) -> None:
            state.calls.append(("OnnxParser.set_flag", (flag.name,)))

        def parse_from_file(self, path: str) -> bool:
            state.calls.append(("OnnxParser.parse_from_file", (path,)))
            if not isinstance(path, str):
                raise TypeError("parse_from_file(): incompatible function arguments")
            try:
                data = Path(path).read_bytes()
            except OSError:
                return self._fail(FakeError("MODEL_DESERIALIZE_FAILED", f"cannot open {path}", -1))
            return self._parse(data)

        def parse(self, model: bytes, path: str | None = None) -> bool:
            state.calls.append(("OnnxParser.parse", (len(model),)))
            return self._parse(bytes(model))

        def supports_model_v2(self, model: bytes, path: str | None = None) -> bool:
            state.calls.append(("OnnxParser.supports_model_v2", (len(model),)))
            if state.parse_errors:
                self._errors += state.parse_errors[0]
                return False
            return True

        def _fail(self, *errors: FakeError) -> bool:
            self._errors += errors
            for error in errors:
                self._logger.log(trt.ILogger.ERROR, error.desc)
            return False

        def _parse(self, data: bytes) -> bool:
            import onnx

            if state.parse_errors:
                return self._fail(*state.parse_errors.pop(0))
            try:
                model = onnx.load_model_from_string(data)
            except Exception:
                model = None
            if model is None or not model.graph.node:
                text = "Failed to parse the ONNX model: not a complete protobuf"
                return self._fail(FakeError("MODEL_DESERIALIZE_FAILED", text, -1))
            self._fill(model, data)
            return True

        def _fill(self, model: Any, data: bytes) -> None:
            network, graph = self._network, model.graph
            weights = {each.name for each in graph.initializer}
            network.name = graph.name
            network._digest = hashlib.sha256(data).hexdigest()
            network._inputs = [
                _tensor(trt, each, True) for each in graph.input if each.name not in weights
            ]
            network._outputs = [_tensor(trt, each, False) for each in graph.output]
            for index, node in enumerate(graph.node):
                kind = getattr(trt.LayerType, _LAYER_TYPES.get(node.op_type, "ELEMENTWISE"))
                name = node.name or f"{node.op_type}_{index}"
                network._layers.append(ILayer(name, kind, [*node.input], [*node.output]))

    trt.INetworkDefinition, trt.OnnxParser = INetworkDefinition, OnnxParser
    trt.ParserError, trt.ITensor, trt.ILayer = ParserError, ITensor, ILayer


def _tensor(trt: Any, value: Any, is_input: bool) -> ITensor:
    kind = value.type.tensor_type
    shape = tuple(each.dim_value if each.HasField("dim_value") else -1 for each in kind.shape.dim)
    dtype = getattr(trt.DataType, _DTYPES[kind.elem_type])
    return ITensor(value.name, shape, dtype, is_input)
