"""The tensor endpoint's work: prepared inputs to the network's outputs, and landmarks of these.

Inputs are those of the spec, float32 (N, C, H, W) for any N, prepared as docs/preprocessing.md
says. Outputs are the network's own, as the engine gives them, and for a network with landmarks what
is decoded from them: ``points_px`` (N, K, 2) as x, y, ``points_confidence`` (N, K) and
``points_spread_px`` (N, K), in pixels of the network's first input. An output of the network that
is called like one of these keeps its name, and the decoded one is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.errors import InputError, shown
from mahtrt.http.served import Opened
from mahtrt.runtime.checked_feed import checked_feed
from mahtrt.runtime.decode import decode, landmark_names, needed_outputs
from mahtrt.spec import ModelSpec

Array = NDArray[np.float32]
DATATYPE = "FP32"
_ITEM_BYTES = 4
_MOST_AXES = 8
_DECODED = ("points_px", "points_confidence", "points_spread_px")


@dataclass(frozen=True, slots=True)
class GivenTensor:
    """An input as a request has it.

    Attributes:
        data: Its bytes, little-endian and row-major, or numbers as JSON has them.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes | Sequence[Any]


@dataclass(frozen=True, slots=True)
class TensorAsked:
    """A request for inference.

    Attributes:
        outputs: Names of the outputs wanted; none names all.
    """

    inputs: tuple[GivenTensor, ...]
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Feed:
    """A request that was checked: tensors by input, and the names of the outputs wanted."""

    tensors: Mapping[str, Array]
    wanted: tuple[str, ...]

    @property
    def cases(self) -> int:
        return len(next(iter(self.tensors.values())))


def output_names(spec: ModelSpec) -> tuple[str, ...]:
    """Names of all outputs that a network has here: its own, then those that are decoded."""
    own = tuple(output.name for output in spec.outputs)
    decoded = _DECODED if landmark_names(spec) else ()
    return (*own, *(name for name in decoded if name not in own))


def feed_of(asked: TensorAsked, spec: ModelSpec) -> Feed:
    """Check a request.

    Raises:
        InputError: Inputs or outputs that the network does not have, a wrong type or shape, or
            numbers that are not finite: of these a network gives landmarks that look like any.
    """
    names = output_names(spec)
    if unknown := [name for name in asked.outputs if name not in names]:
        raise InputError(f"output {shown(unknown[0])}", expected=f"one of {', '.join(names)}")
    tensors: dict[str, Array] = {}
    for given in asked.inputs:
        if given.name in tensors:
            raise InputError(f"input {shown(given.name)}", got="it twice", expected="it once")
        tensors[given.name] = _array(given)
    # The network's own outputs that are wanted, or that the wanted ones are decoded from.
    return Feed(checked_feed(tensors, spec), asked.outputs or names)


def run_feeds(opened: Opened, feeds: Sequence[Feed]) -> list[dict[str, Array]]:
    """The outputs of several requests, which go through the engine together."""
    spec = opened.spec
    own = [output.name for output in spec.outputs]
    wanted = {name for feed in feeds for name in feed.wanted}
    is_decoded = bool(wanted - set(own))
    needed = wanted & set(own) | (set(needed_outputs(spec)) if is_decoded else set())
    together = {
        name: np.concatenate([feed.tensors[name] for feed in feeds])
        if len(feeds) > 1
        else feeds[0].tensors[name]
        for name in spec.input_names
    }
    found = opened.session.infer(together, [name for name in own if name in needed])
    if is_decoded:
        decoded = decode(found, spec)
        arrays = (decoded.points_px, decoded.confidence, decoded.spread_px)
        found = {**dict(zip(_DECODED, arrays, strict=True)), **found}
    answers, start = [], 0
    for feed in feeds:
        end = start + feed.cases
        answers.append({name: found[name][start:end] for name in feed.wanted})
        start = end
    return answers


def _array(given: GivenTensor) -> Array:
    """An input's numbers in its shape."""
    subject = f"input {shown(given.name)}"
    if given.datatype != DATATYPE:
        raise InputError(subject, got=f"datatype {shown(given.datatype)}", expected=DATATYPE)
    shape = given.shape
    if not 0 < len(shape) <= _MOST_AXES or any(not 0 <= side < 2**31 for side in shape):
        raise InputError(subject, got=f"shape {shown(list(shape))}", expected="(N, C, H, W)")
    if isinstance(given.data, bytes):
        if len(given.data) % _ITEM_BYTES:
            got = f"{len(given.data)} bytes"
            raise InputError(subject, got=got, expected=f"a multiple of {_ITEM_BYTES}")
        numbers: NDArray[Any] = np.frombuffer(given.data, "<f4")
    else:
        numbers = _numbers(given.data, subject)
    count = int(np.prod(shape, dtype=object))
    if numbers.size != count:
        expected = f"{count}, as the shape {list(shape)} says"
        raise InputError(subject, got=f"{numbers.size} numbers", expected=expected)
    is_finite = np.isfinite(numbers)
    if not is_finite.all():
        got = f"{count - np.count_nonzero(is_finite)} of {count} numbers not finite as float32"
        raise InputError(subject, got=got, expected="finite ones")
    return numbers.reshape(shape)


def _numbers(data: Sequence[Any], subject: str) -> Array:
    try:
        numbers = np.asarray(data)
    except ValueError as error:
        raise InputError(subject, got="rows of unequal length", expected="equal ones") from error
    # Integers of more than 64 bits, which numpy keeps as objects of Python.
    is_long = numbers.dtype.kind == "O" and all(type(n) in (int, float) for n in numbers.flat)
    if numbers.size and numbers.dtype.kind not in "iuf" and not is_long:
        raise InputError(subject, got="data that are no numbers", expected="numbers")
    with np.errstate(over="ignore"):  # what float32 does not hold is infinite, and refused as that
        return (numbers.astype(np.float64) if is_long else numbers).astype(np.float32)
