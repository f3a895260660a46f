"""ONNX operators that move values about, in PyTorch (see :mod:`mahtrt.finetuning.operators`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from onnx import helper
from torch import Tensor

Values = Sequence[Any]
Attributes = Mapping[str, Any]

_END = 2**31  # a Slice's "to the end", which exporters write as the largest of some type


def only(value: Any) -> Tensor:
    """A value that is a tensor."""
    assert isinstance(value, Tensor)
    return value


def whole_numbers(value: Tensor) -> list[int]:
    """The numbers of a tensor that holds a shape, axes or places."""
    return [int(number) for number in value.reshape(-1).tolist()]


def axes_of(values: Values, attributes: Attributes) -> list[int] | None:
    """The axes that a node names in its second input or its attributes; None where in neither."""
    if len(values) > 1 and values[1] is not None and values[1].numel():
        return whole_numbers(values[1])
    return [int(axis) for axis in attributes["axes"]] if attributes.get("axes") else None


def _cast(values: Values, attributes: Attributes) -> Tensor:
    dtype = helper.tensor_dtype_to_np_dtype(attributes["to"])
    return only(values[0].to(getattr(torch, str(dtype))))


def _concat(values: Values, attributes: Attributes) -> Tensor:
    return torch.cat(list(values), attributes["axis"])


def _expand(values: Values, _: Attributes) -> Tensor:
    value, wanted = values[0], whole_numbers(values[1])
    return torch.broadcast_to(value, torch.broadcast_shapes(value.shape, tuple(wanted)))


def _flatten(values: Values, attributes: Attributes) -> Tensor:
    value, axis = values[0], attributes.get("axis", 1) % (values[0].dim() + 1)
    rows = 1
    for length in value.shape[:axis]:
        rows *= length
    return only(value.reshape(rows, -1))


def _gather(values: Values, attributes: Attributes) -> Tensor:
    value, indices = values
    axis = attributes.get("axis", 0) % value.dim()
    places = torch.where(indices < 0, indices + value.shape[axis], indices).long()
    taken = torch.index_select(value, axis, places.reshape(-1))
    return taken.reshape(*value.shape[:axis], *indices.shape, *value.shape[axis + 1 :])


def _pad(values: Values, attributes: Attributes) -> Tensor:
    value, pads = values[0], whole_numbers(values[1])
    fill = float(values[2]) if len(values) > 2 and values[2] is not None else 0.0
    axes = whole_numbers(values[3]) if len(values) > 3 and values[3] is not None else None
    around = [[0, 0] for _ in range(value.dim())]
    for place, axis in enumerate(axes if axes is not None else range(value.dim())):
        around[axis] = [pads[place], pads[place + len(pads) // 2]]
    mode = attributes.get("mode", b"constant").decode()
    flat = [amount for pair in reversed(around) for amount in pair]
    if mode == "constant":
        return torch.nn.functional.pad(value, flat, value=fill)
    names = {"edge": "replicate", "reflect": "reflect", "wrap": "circular"}
    return torch.nn.functional.pad(value, flat[: 2 * (value.dim() - 2)], mode=names[mode])


def _reshape(values: Values, attributes: Attributes) -> Tensor:
    value, shape = values[0], whole_numbers(values[1])
    if not attributes.get("allowzero", 0):
        shape = [value.shape[i] if length == 0 else length for i, length in enumerate(shape)]
    return only(value.reshape(shape))


def _shape(values: Values, attributes: Attributes) -> Tensor:
    end = attributes.get("end")
    return torch.tensor(tuple(values[0].shape)[attributes.get("start", 0) : end])


def _slice(values: Values, _: Attributes) -> Tensor:
    value, starts, ends = values[0], whole_numbers(values[1]), whole_numbers(values[2])
    given = [None if v is None else whole_numbers(v) for v in (*values[3:], None, None)[:2]]
    axes = given[0] if given[0] is not None else list(range(len(starts)))
    steps = given[1] if given[1] is not None else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        places = range(value.shape[axis])[slice(start, None if abs(end) >= _END else end, step)]
        if step == 1:
            value = value.narrow(axis, places.start, len(places))
        else:
            value = value.index_select(axis, torch.tensor(list(places), device=value.device))
    return only(value)


def _split(values: Values, attributes: Attributes) -> tuple[Tensor, ...]:
    value, axis = values[0], attributes.get("axis", 0)
    if len(values) > 1 and values[1] is not None:
        return torch.split(value, whole_numbers(values[1]), axis)
    length, parts = value.shape[axis], attributes["num_outputs"]
    return torch.split(value, -(-length // parts), axis)


def _squeeze(values: Values, attributes: Attributes) -> Tensor:
    axes = axes_of(values, attributes)
    return torch.squeeze(values[0]) if axes is None else torch.squeeze(values[0], tuple(axes))


def _tile(values: Values, _: Attributes) -> Tensor:
    return torch.tile(values[0], tuple(whole_numbers(values[1])))


def _transpose(values: Values, attributes: Attributes) -> Tensor:
    value = values[0]
    order = attributes.get("perm") or list(reversed(range(value.dim())))
    return only(value.permute(*order))


def _unsqueeze(values: Values, attributes: Attributes) -> Tensor:
    value, axes = values[0], axes_of(values, attributes) or []
    rank = value.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        value = value.unsqueeze(axis)
    return only(value)


def _depth_to_space(values: Values, attributes: Attributes) -> Tensor:
    value, size = values[0], attributes["blocksize"]
    if attributes.get("mode", b"DCR") == b"CRD":
        return torch.nn.functional.pixel_shuffle(value, size)
    batch, channels, height, width = value.shape
    parts = value.reshape(batch, size, size, channels // size**2, height, width)
    moved = parts.permute(0, 3, 4, 1, 5, 2)
    return only(moved.reshape(batch, channels // size**2, height * size, width * size))


OPERATORS: Mapping[str, Callable[[Values, Attributes], Tensor | tuple[Tensor, ...]]] = {
    "Cast": _cast,
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Pad": _pad,
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
