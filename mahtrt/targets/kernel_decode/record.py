"""What is to be computed behind an engine: the file of role ``decode``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from mahtrt.errors import IntegrityError
from mahtrt.parsing import read_json
from mahtrt.schema import Between, Pixels, check_schema, dataclass_from, plain
from mahtrt.targets.backend import EngineToOpen

SCHEMA = "mahtrt.kernel-decode/1"
DECODE_ROLE, DECODE_NAME = "decode", "decode.json"

Positive = Annotated[float, Between(1e-38, 3e38)]


@dataclass(frozen=True, slots=True)
class KernelDecode:
    """What a kernel reads from heatmaps that the engine gives.

    Attributes:
        kernel: How: ``soft_argmax`` or ``dark``.
        heatmaps: Name of the engine's output that holds them, (B, K, h, w).
        dtype: Their type.
        shape: (B, K, h, w).
        input_size: (H, W) in pixels of the network's input, the frame of landmarks and spread.
        temperature: What ``soft_argmax`` divides the heatmaps by; None for ``dark``.
        sigma: Standard deviation in cells of the Gaussian of ``dark``; None for ``soft_argmax``.
        landmarks: Name of the network's output (B, K, 2) that the kernel computes.
        confidence: Name of the output (B, K).
        spread: Name of the output (B, K).
    """

    kernel: Literal["soft_argmax", "dark"]
    heatmaps: str
    dtype: Literal["float32", "float16"]
    shape: tuple[Pixels, Pixels, Pixels, Pixels]
    input_size: tuple[Pixels, Pixels]
    landmarks: str
    confidence: str
    spread: str
    temperature: Positive | None = None
    sigma: Positive | None = None
    schema: str = SCHEMA

    @property
    def outputs(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of what the kernel computes, all float32."""
        images, maps = self.shape[:2]
        return {
            self.landmarks: (images, maps, 2),
            self.confidence: (images, maps),
            self.spread: (images, maps),
        }

    def to_json(self) -> str:
        """The text of the file."""
        return json.dumps(plain(self), indent=2) + "\n"


def kernel_decode_from_json(text: str, where: str) -> KernelDecode:
    """Read what :meth:`KernelDecode.to_json` wrote.

    Raises:
        IntegrityError: It is no such file, or a newer one.
    """
    data = read_json(text, where, "a decode record", error=IntegrityError)
    schema = data.get("schema") if isinstance(data, Mapping) else None
    check_schema(str(schema), SCHEMA, where)
    record = dataclass_from(KernelDecode, data, where, error=IntegrityError)
    if (record.temperature is None, record.sigma is None) != (
        record.kernel == "dark",
        record.kernel == "soft_argmax",
    ):
        raise IntegrityError(
            where,
            got=f"{record.kernel}, temperature {record.temperature}, sigma {record.sigma}",
            expected="a temperature for soft_argmax, a sigma for dark, and not the other",
        )
    return record


def read_decode(engine: EngineToOpen) -> KernelDecode | None:
    """The record of an engine of a bundle; None where the engine decodes by itself.

    Raises:
        IntegrityError: The file is no such record.
    """
    if DECODE_ROLE not in engine.files:
        return None
    text = engine.file(DECODE_ROLE).read_bytes().decode("utf-8", "replace")
    return kernel_decode_from_json(text, f"engine {engine.record.name}: {DECODE_NAME}")
