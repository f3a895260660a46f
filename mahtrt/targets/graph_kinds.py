"""The kinds of ONNX graph that engines are compiled from.

A kind says all that a build has to know to write the graph: ``build`` makes each kind once for all
the engines that are compiled from it. ``name`` is the graph's name in a bundle's manifest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

FloatType = Literal["fp32", "fp16", "bf16"]
FLOAT_TYPES: tuple[FloatType, ...] = get_args(FloatType)
HalfType = Literal["fp16", "bf16"]
HALVES: tuple[HalfType, ...] = get_args(HalfType)

# Metadata of a graph whose types do not say it: the nodes that stay FP32 where the runtime chooses
# half precision, as a JSON list of names.
FP32_NODES_KEY = "mahtrt.fp32_nodes"
_PLANNED = "-planned"


def follows_plan(name: str) -> bool:
    """Whether a graph in half precision keeps in FP32 what a plan says, by the graph's name."""
    return name.endswith(_PLANNED)


class _Named:
    """The file's name follows from the graph's name."""

    __slots__ = ()

    @property
    def name(self) -> str:
        raise NotImplementedError

    @property
    def file_name(self) -> str:
        """Place of the graph in a bundle."""
        return f"model.{self.name}.onnx"


@dataclass(frozen=True, slots=True)
class Fp32(_Named):
    """The export as it is."""

    @property
    def name(self) -> str:
        return "fp32"

    @property
    def file_name(self) -> str:
        return "model.onnx"

    @property
    def declares(self) -> FloatType:
        """Type of the floating-point numbers in the graph."""
        return "fp32"


@dataclass(frozen=True, slots=True)
class RoundedBf16(_Named):
    """FP32 tensors whose values are rounded as BF16 rounds them, for runtimes without BF16.

    Attributes:
        planned: Not where a plan says FP32.
    """

    planned: bool = False

    @property
    def name(self) -> str:
        return f"bf16{_PLANNED if self.planned else ''}"

    @property
    def declares(self) -> FloatType:
        """See :attr:`Fp32.declares`."""
        return "fp32"


@dataclass(frozen=True, slots=True)
class NativeBf16(_Named):
    """The export, which names what a plan keeps in FP32 where the runtime computes in BF16."""

    @property
    def name(self) -> str:
        return f"bf16-native{_PLANNED}"

    @property
    def declares(self) -> FloatType:
        """See :attr:`Fp32.declares`."""
        return "fp32"


@dataclass(frozen=True, slots=True)
class Half(_Named):
    """Tensors and weights of a type of 16 bits, except where FP32 is kept for accuracy.

    Attributes:
        planned: And where a plan says FP32.
    """

    dtype: HalfType
    planned: bool = False

    @property
    def name(self) -> str:
        typed = "bf16-typed" if self.dtype == "bf16" else self.dtype
        return f"{typed}{_PLANNED if self.planned else ''}"

    @property
    def declares(self) -> FloatType:
        """See :attr:`Fp32.declares`."""
        return self.dtype


@dataclass(frozen=True, slots=True)
class Int8(_Named):
    """INT8 where the plan says so, as quantisers and dequantisers in the graph.

    Attributes:
        beside: Type of what is not INT8. None where the runtime chooses, which then reads FP32.
        weight_bits: Bits of the quantised weights.
    """

    beside: FloatType | None
    weight_bits: int

    @property
    def name(self) -> str:
        return "int8" if self.beside is None else f"int8-{self.beside}"

    @property
    def declares(self) -> FloatType:
        """See :attr:`Fp32.declares`."""
        return self.beside or "fp32"


GraphKind = Fp32 | RoundedBf16 | NativeBf16 | Half | Int8
