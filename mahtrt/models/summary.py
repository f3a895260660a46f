"""The verb ``models``: parameters and arithmetic of every variant.

Counting builds every network and runs it as shapes, which takes PyTorch and ten seconds. The
numbers do not change, so they are kept in ``assets/models.json``: ``python -m
mahtrt.models.summary`` counts anew and writes that file, and a test counts too.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mahtrt.atomic import write_text_atomic
from mahtrt.models.families import build_model, model_names
from mahtrt.parsing import read_json_file
from mahtrt.reading import Wanted
from mahtrt.schema import dataclass_from

_KEPT = "models.json"


@dataclass(frozen=True, slots=True)
class InputSummary:
    """An image that a variant takes: its name, channels, and (height, width) in pixels."""

    name: str
    channels: int
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """One variant.

    Attributes:
        parts: What the config names in words, such as its encoder.
        inputs: Images of a case, the first one first.
        outputs: Name of an output to its kind.
        landmarks: How many it finds, 0 where it finds none.
        gflops: 1e9 floating-point operations per case, a multiply-add counted as two.
    """

    name: str
    parts: Mapping[str, str]
    inputs: tuple[InputSummary, ...]
    outputs: Mapping[str, str]
    landmarks: int
    parameters: int
    gflops: float

    @property
    def encoder(self) -> str:
        """The part of that name, "" without one."""
        return self.parts.get("encoder", "")

    @property
    def transformer(self) -> str:
        """The part of that name, "" without one."""
        return self.parts.get("transformer", "")

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the first input."""
        return self.inputs[0].size

    def to_dict(self) -> dict[str, Any]:
        """Plain data.

        Beside the fields there are ``input_size``, and ``encoder`` and ``transformer`` of networks
        that have such parts: names of before there were several families.
        """
        named = {key: self.parts[key] for key in ("encoder", "transformer") if key in self.parts}
        return {**dataclasses.asdict(self), **named, "input_size": self.input_size}


def models() -> tuple[ModelSummary, ...]:
    """Every variant with its size."""
    rows = read_json_file(_place(), Wanted("sizes of networks"))
    return tuple(dataclass_from(ModelSummary, row, _KEPT) for row in rows)


def summarize(name: str) -> ModelSummary:
    """Count a variant on PyTorch's meta device.

    Raises:
        MissingComponentError: PyTorch, or another package that a family needs, is not installed.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        module = build_model(name).eval()
        spec = module.spec
        images = [torch.empty(1, image.channels, *image.size) for image in spec.inputs]
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        module(*images)
    return ModelSummary(
        name=name,
        parts={key: value for key, value in spec.config.items() if isinstance(value, str)},
        inputs=tuple(InputSummary(i.name, i.channels, i.size) for i in spec.inputs),
        outputs={output.name: output.kind for output in spec.outputs},
        landmarks=spec.num_landmarks,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        gflops=round(counter.get_total_flops() / 1e9, 2),
    )


def _place() -> Path:
    return Path(str(importlib.resources.files("mahtrt") / "assets" / _KEPT))


def _write() -> None:
    """Count every variant and keep the numbers."""
    rows = [dataclasses.asdict(summarize(name)) for name in model_names()]
    write_text_atomic(_place(), json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    _write()
