"""How long each layer of an engine takes, and which nodes of the ONNX it came from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

DEFAULT_RUNS = 20
WARM_UP = 3  # runs whose times are passed over


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


def layers_from_profile(times_ms: Mapping[str, float]) -> list[Layer]:
    """Layers from a plain table of times, as TensorRT's layer profile gives them.

    TensorRT names a fused layer by its parts: ``a + b``, ``PWN(a, b)``, ``{ForeignNode[a...b]}``,
    and a conversion by the layer that needs it.
    """
    return [Layer(name, tuple(_parts(name)), ms) for name, ms in times_ms.items()]


def _parts(name: str) -> list[str]:
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
