"""What a session's callers give, before any of it reaches a backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mahtrt.data.feed import Feed
from mahtrt.errors import InputError
from mahtrt.spec import InputSpec, ModelSpec
from mahtrt.targets.backend import Tensor


def by_input(tensor: Any, inputs: Sequence[InputSpec]) -> dict[str, Any]:
    """Tensors by input name, whatever they are; one alone is that of the only input.

    Raises:
        InputError: A mapping of other names, or no mapping where there are several inputs.
    """
    names = [each.name for each in inputs]
    if not isinstance(tensor, Mapping) and len(names) == 1:
        tensor = {names[0]: tensor}
    expected = f"a mapping with {', '.join(names)}"
    if not isinstance(tensor, Mapping):
        raise InputError("tensor", got=f"a {type(tensor).__name__}", expected=expected)
    if set(tensor) != set(names):
        got = f"a mapping with {', '.join(map(str, tensor)) or 'nothing'}"
        raise InputError("tensor", got=got, expected=expected)
    return {name: tensor[name] for name in names}


def checked_feed(tensor: Tensor | Feed, spec: ModelSpec) -> dict[str, Tensor]:
    """C-contiguous tensors by input name, all of one length.

    Raises:
        InputError: Wrong rank, dtype or size, an input that is missing, or another length.
    """
    feed = by_input(tensor, spec.inputs)
    for each in spec.inputs:
        _check_tensor(feed[each.name], each)
    lengths = {len(each) for each in feed.values()}
    if len(lengths) > 1:
        got = f"tensors of {' and '.join(map(str, sorted(lengths)))} images"
        raise InputError("tensor", got=got, expected="as many of each input")
    return {name: np.ascontiguousarray(each) for name, each in feed.items()}


def check_outputs(names: Sequence[str] | None, spec: ModelSpec) -> None:
    """Refuse names of outputs that the network does not have.

    Raises:
        InputError: One of them.
    """
    known = [output.name for output in spec.outputs]
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise InputError(f"output {unknown[0]!r}", expected=f"one of {', '.join(known)}")


def _check_tensor(tensor: Any, spec: InputSpec) -> None:
    wanted = (spec.channels, *spec.size)
    expected = f"float32 (N, {', '.join(map(str, wanted))}) with N of at least 1"
    if not isinstance(tensor, np.ndarray):
        raise InputError("tensor", got=f"a {type(tensor).__name__}", expected=expected)
    wrong_shape = tensor.ndim != 4 or tensor.shape[1:] != wanted or not len(tensor)
    if wrong_shape or tensor.dtype != np.float32:
        raise InputError("tensor", got=f"{tensor.dtype} {tensor.shape}", expected=expected)
