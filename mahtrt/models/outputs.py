"""What a network returned, by the names of its spec, with shapes checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mahtrt.errors import ModelError
from mahtrt.spec import ModelSpec, OutputSpec

_SHAPES = {
    "heatmaps": "(B, K, h, w)",
    "landmarks": "(B, K, 2)",
    "confidence": "(B, K)",
    "spread": "(B, K)",
    "visibility": "(B, K)",
    "map": "(B, C, h, w)",
    "logits": "(B, L)",
}


def named_outputs(returned: Any, spec: ModelSpec) -> dict[str, Tensor]:
    """The tensors of a forward pass in the order of the spec's outputs.

    Args:
        returned: A tensor, a tuple or list in the order of the spec (what follows is left out),
            or a mapping that has a key for each name of the spec (other keys are left out).
        spec: Names the outputs.

    Raises:
        ModelError: An output of the spec is not there.
    """
    names = [output.name for output in spec.outputs]
    if isinstance(returned, Tensor):
        returned = (returned,)
    if isinstance(returned, Mapping):
        found = {name: returned[name] for name in names if name in returned}
        got = f"keys {', '.join(map(str, returned))}"
    elif isinstance(returned, (tuple, list)):
        found = dict(zip(names, returned, strict=False))
        got = f"{len(returned)} value(s)"
    else:
        raise ModelError(
            "what the network returns",
            got=f"a {type(returned).__name__}",
            expected="a tensor, a tuple, a list or a dict of tensors",
        )
    missing = [name for name in names if not isinstance(found.get(name), Tensor)]
    if missing:
        raise ModelError(
            f"output {missing[0]!r}",
            got=got,
            expected=f"tensors for {', '.join(names)}",
            fix="Name what the network returns, in its order, under outputs in the spec.",
        )
    return found


def check_outputs(outputs: Mapping[str, Tensor], spec: ModelSpec, batch: int) -> None:
    """Refuse outputs whose rank, shape or dtype does not fit their kind.

    Raises:
        ModelError: Names the output, what it is and what its kind wants.
    """
    for output in spec.outputs:
        tensor = outputs[output.name]
        expected = _expected_shape(output, spec, batch)
        if tensor.dtype != torch.float32 or not _fits(tuple(tensor.shape), expected):
            kind = _SHAPES[output.kind]
            raise ModelError(
                f"output {output.name!r}",
                got=f"shape {tuple(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}",
                expected=f"{_text(expected)} of float32, which is {kind} for kind {output.kind}",
                fix="Correct the spec's outputs, labels, landmarks or decode.heatmap_size, or the "
                "network.",
            )


def _expected_shape(output: OutputSpec, spec: ModelSpec, batch: int) -> tuple[int | None, ...]:
    """The shape a kind wants; None where any size will do."""
    count = spec.num_landmarks or None
    if output.kind == "heatmaps":
        return (batch, count, *(spec.decode.heatmap_size or (None, None)))
    if output.kind == "landmarks":
        return (batch, count, 2)
    if output.kind == "map":
        return (batch, None, None, None)
    if output.kind == "logits":
        return (batch, len(output.labels) or None)
    return (batch, count)


def _fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    return len(shape) == len(expected) and all(
        want is None or got == want for got, want in zip(shape, expected, strict=True)
    )


def _text(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join('any' if size is None else str(size) for size in shape)})"
