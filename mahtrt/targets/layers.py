"""Layers of an engine: in which precision each runs, how long it takes, which nodes it is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

WARM_UP = 3  # runs whose times are passed over
RUNS = 20  # runs after them
UNKNOWN = "unknown"
LAYERS_ROLE = "layers"  # of the file in which a target notes the layers of an engine


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer as a target executes it.

    Attributes:
        name: The target's name for it.
        origins: Names that may be those of ONNX nodes or of their outputs.
        ms: Time per inference.
        readers: Names of the layers that read its outputs.
    """

    name: str
    origins: tuple[str, ...]
    ms: float
    readers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineLayer:
    """One layer of an engine.

    Attributes:
        kind: Its type in the target's words.
        precision: Type of its weights, else of its first input; ``UNKNOWN`` where it is not told.
        is_product: Whether it is a convolution or a matrix product.
        origins: Names that may be those of ONNX nodes or of their outputs.
        types: Every type that it may compute in, by what is told of it: that of its weights, else
            those of its inputs and outputs.
    """

    name: str
    kind: str
    precision: str
    is_product: bool
    origins: tuple[str, ...] = ()
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineLayers:
    """What a target tells of the layers of an engine, without times.

    Attributes:
        detailed: Whether there is more than names; without, no precision is known.
    """

    layers: tuple[EngineLayer, ...]
    tensors: tuple[str, ...]
    detailed: bool

    @property
    def int8_layers(self) -> int:
        """How many products run in INT8."""
        return sum(layer.is_product and layer.precision == "int8" for layer in self.layers)

    @property
    def by_precision(self) -> dict[str, int]:
        """Precision -> layers, the most frequent first."""
        return dict(Counter(layer.precision for layer in self.layers).most_common())

    def to_dict(self) -> dict[str, Any]:
        return {
            "detailed": self.detailed,
            "layers": [_layer_table(layer) for layer in self.layers],
            "tensors": list(self.tensors),
            "by_precision": self.by_precision,
            "int8_layers": self.int8_layers if self.detailed else None,
        }


def layers_from_profile(times_ms: Mapping[str, float]) -> list[Layer]:
    """Layers from a plain table of times, as TensorRT's layer profile gives them.

    TensorRT names a fused layer by its parts: ``a + b``, ``PWN(a, b)``, ``{ForeignNode[a...b]}``,
    and a conversion by the layer that needs it.
    """
    return [Layer(name, tuple(parts_of(name)), ms) for name, ms in times_ms.items()]


def _layer_table(layer: EngineLayer) -> dict[str, Any]:
    table = asdict(layer)
    del table["origins"], table["types"]  # what they lead to is told
    return table


def parts_of(name: str) -> list[str]:
    """The names in TensorRT's name of a fused layer."""
    wanted = name.rpartition(" to ")[2] if name.startswith("Reformatting CopyNode") else name
    pieces = re.split(r"\s\+\s|,\s*|\.\.\.|[\[\](){}]", wanted)
    return [piece.strip() for piece in pieces if piece.strip()]


def undisturbed(durations_ms: Sequence[float]) -> float:
    """A layer's time without what else ran on the machine: the second smallest after warm-up.

    Other work only ever adds time, on a busy machine to most of the runs, and by whole slices of
    the scheduler. The smallest may owe something to rounding.
    """
    ordered = sorted(durations_ms[WARM_UP:] or durations_ms)
    return max(0.0, ordered[min(1, len(ordered) - 1)])
