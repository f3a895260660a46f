"""The engine inspector's JSON: which layers an engine has, and in which precision they run.

The document's ``Layers`` are tables where the engine was built with detailed profiling verbosity,
else bare names. The inputs and outputs of the whole engine stand under ``Bindings`` in TensorRT 10
and under ``I/O Tensors`` in 11.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mahtrt.errors import IntegrityError, SpecError
from mahtrt.parsing import read_json
from mahtrt.reading import Content
from mahtrt.targets.layers import UNKNOWN, EngineLayer, EngineLayers, parts_of
from mahtrt.targets.tensorrt.network import NODE

IO_KEYS = ("I/O Tensors", "Bindings")

# The words for a type in a tensor's "Format/Datatype", which differ between releases
# ("Float", "Row major linear FP32", "Thirty-two wide channel vectorized row major Int8 format").
_TYPES = (
    ("int8", re.compile(r"\bint8\b", re.I)),
    ("fp8", re.compile(r"\b(fp8|e4m3|e5m2)", re.I)),
    ("int4", re.compile(r"\b(int4|fp4)\b", re.I)),
    ("bf16", re.compile(r"\b(bf16|bfloat16|bfloat)\b", re.I)),
    ("fp16", re.compile(r"\b(fp16|half|float16)\b", re.I)),
    ("int64", re.compile(r"\bint64\b", re.I)),
    ("int32", re.compile(r"\bint32\b", re.I)),
    ("fp32", re.compile(r"\b(fp32|float|float32)\b", re.I)),
    ("bool", re.compile(r"\bbool\b", re.I)),
)
_PRODUCT = re.compile(r"conv|gemm|matmul|matrix|fully", re.I)
_NO_PRODUCT = re.compile(r"reformat|noop|constant|shuffle", re.I)


def read_layers(file: Content) -> EngineLayers:
    """Read a file of the engine inspector's JSON.

    Raises:
        IntegrityError: The file holds no JSON.
        SpecError: The document has no list of layers.
    """
    return read_inspector(read_document(file), str(file))


def read_document(file: Content) -> Any:
    """The engine inspector's JSON as it stands in a file.

    Raises:
        IntegrityError: The file holds no JSON.
    """
    what = "an engine's layers"
    return read_json(file.read_bytes(), str(file), what, error=IntegrityError)


def read_inspector(data: Any, where: str = "engine inspector") -> EngineLayers:
    """Read the engine inspector's JSON.

    Args:
        data: What :func:`read_document` gave.
        where: Where it stood, for messages.

    Raises:
        SpecError: It has no list of layers.
    """
    layers = data.get("Layers") if isinstance(data, Mapping) else None
    if not isinstance(layers, list):
        raise SpecError(where, got="no list 'Layers'", expected="JSON of an engine inspector")
    tables = [layer for layer in layers if isinstance(layer, Mapping)]
    tensors: list[Any] = next((data[key] for key in IO_KEYS if isinstance(data.get(key), list)), [])
    return EngineLayers(
        layers=tuple(_layer(layer) for layer in layers),
        tensors=tuple(_name(tensor) for tensor in tensors),
        detailed=bool(tables),
    )


def _layer(layer: Any) -> EngineLayer:
    if not isinstance(layer, Mapping):
        return EngineLayer(str(layer), "", UNKNOWN, False)
    kind = str(layer.get("LayerType", ""))
    # Fused products of one kernel library are all of one type; their kernel's name tells.
    told = " ".join(str(layer.get(key, "")) for key in ("LayerType", "ParameterType", "TacticName"))
    is_product = bool(_PRODUCT.search(told)) and not _NO_PRODUCT.search(kind)
    types = tuple(dict.fromkeys(name for text in _texts(layer) if (name := _type_in(text))))
    weights = _type_in(_weights_text(layer))
    return EngineLayer(
        _name(layer),
        kind,
        types[0] if types else UNKNOWN,
        is_product,
        _origins(layer),
        (weights,) if weights else types,
    )


def _origins(layer: Mapping[str, Any]) -> tuple[str, ...]:
    nodes = NODE.findall(str(layer.get("Metadata", "")))
    return tuple(dict.fromkeys((*nodes, *parts_of(_name(layer)))))


def _texts(layer: Mapping[str, Any]) -> list[str]:
    """What tells a type, the most telling first: weights, inputs, outputs."""
    texts = [_weights_text(layer)]
    for key in ("Inputs", "Outputs"):
        tensors: Any = layer.get(key, [])
        if isinstance(tensors, list):
            texts += [_type_text(tensor) for tensor in tensors if isinstance(tensor, Mapping)]
    return texts


def _weights_text(layer: Mapping[str, Any]) -> str:
    weights = layer.get("Weights")
    return str(weights.get("Type", "")) if isinstance(weights, Mapping) else ""


def _type_text(tensor: Mapping[str, Any]) -> str:
    keys = ("Format/Datatype", "Datatype", "DataType", "Type", "Format")
    return next((str(tensor[key]) for key in keys if key in tensor), "")


def _type_in(text: str) -> str:
    return next((name for name, pattern in _TYPES if pattern.search(text)), "")


def _name(entry: Any) -> str:
    return str(entry.get("Name", "")) if isinstance(entry, Mapping) else str(entry)
