"""What stands in for ``triton_python_backend_utils``, the module of Triton's Python backend.

Its names, and the shapes of what they take and give, are those of the README of ``python_backend``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2

ModelConfig: Any = model_config_pb2.ModelConfig


class Tensor:
    def __init__(self, name: str, array: np.ndarray) -> None:
        assert array.dtype != np.dtype(object) or isinstance(array.flat[0], bytes)
        self._name, self._array = name, array

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> np.ndarray:
        return self._array


class TritonError(Exception):
    INTERNAL, INVALID_ARG, UNSUPPORTED = "INTERNAL", "INVALID_ARG", "UNSUPPORTED"

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code


class InferenceResponse:
    def __init__(self, output_tensors: Any = (), error: TritonError | None = None) -> None:
        self.error = error
        self.arrays = {tensor.name(): tensor.as_numpy() for tensor in output_tensors}


class Request:
    """A request of some tensors."""

    def __init__(self, **arrays: np.ndarray) -> None:
        self._tensors = [Tensor(name, array) for name, array in arrays.items()]

    def inputs(self) -> list[Tensor]:
        return self._tensors


def install(patch: pytest.MonkeyPatch) -> list[str]:
    """Make the module importable; what models log."""
    lines: list[str] = []
    module = SimpleNamespace(
        Tensor=Tensor,
        TritonError=TritonError,
        InferenceResponse=InferenceResponse,
        Logger=SimpleNamespace(log_info=lines.append, log_error=lines.append),
    )
    patch.setitem(sys.modules, "triton_python_backend_utils", module)
    return lines


def read_config(model: Path) -> Any:
    """A model's config.pbtxt, read as Triton's own protocol buffer."""
    return text_format.Parse((model / "config.pbtxt").read_text("utf-8"), ModelConfig())


def arguments(model: Path, version: int = 1) -> Mapping[str, str]:
    """What Triton gives a model when it is loaded."""
    config = json_format.MessageToDict(read_config(model), preserving_proto_field_name=True)
    return {
        "model_repository": str(model),
        "model_version": str(version),
        "model_config": json.dumps(config),
    }


def run_python_model(model: Path, *requests: Request, version: int = 1) -> list[InferenceResponse]:
    """Load a model of the Python backend by its model.py, as Triton does, and ask it."""
    names: dict[str, Any] = {}
    place = model / str(version) / "model.py"
    exec(compile(place.read_text("utf-8"), str(place), "exec"), names)
    loaded = names["TritonPythonModel"]()
    loaded.initialize(arguments(model, version))
    try:
        replies: list[InferenceResponse] = loaded.execute(requests)
    finally:
        loaded.finalize()
    return replies


def as_bytes(*contents: bytes) -> np.ndarray:
    """Files as a BYTES tensor, (N, 1)."""
    array = np.empty((len(contents), 1), np.object_)
    array[:, 0] = contents
    return array
