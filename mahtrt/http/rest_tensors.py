"""Requests and answers of the tensor endpoint over REST.

The JSON is that of the Open Inference Protocol, version 2 ("Inference" of its HTTP/REST part), with
Triton's binary tensor data extension: raw tensors behind the JSON, whose length the header
``Inference-Header-Content-Length`` gives. kserve's own reader turns raw tensors into lists of
numbers in the event loop, and passes exceptions on as internal errors; hence this one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mahtrt.errors import InputError, shown
from mahtrt.http.served import Opened
from mahtrt.http.tensor_work import (
    DATATYPE,
    Array,
    Feed,
    GivenTensor,
    TensorAsked,
    feed_of,
    run_feeds,
)
from mahtrt.parsing import read_json

JSON_LENGTH = "inference-header-content-length"
_WHAT = "an inference request of the Open Inference Protocol"


@dataclass(frozen=True, slots=True)
class RestAnswer:
    """A body, and the length of its JSON where raw tensors lie behind it."""

    body: bytes
    json_bytes: int | None


@dataclass(frozen=True, slots=True)
class RestRequest:
    """A request that was read.

    Attributes:
        binary: Names of the outputs that are wanted raw.
    """

    feed: Feed
    id: str
    binary: frozenset[str]


@dataclass(frozen=True, slots=True)
class RestTensorWork:
    """The bytes of a request to the tensor endpoint.

    Attributes:
        json_length: What the header says of the JSON's length; None where all is JSON.
        model: The name that the client called.
        request_id: The id of the answer, where the request has none of its own.
    """

    body: bytes
    json_length: str | None
    model: str
    request_id: str
    most_bytes: int = field(repr=False)

    def prepare(self, opened: Opened) -> RestRequest:
        length = _length(self.json_length, len(self.body))
        head = read_json(
            self.body[:length], "body", _WHAT, error=InputError, most_bytes=self.most_bytes
        )
        inputs = _inputs(head, memoryview(self.body)[length:])
        outputs, binary = _outputs(head)
        feed = feed_of(TensorAsked(inputs, outputs), opened.spec)
        if binary is None:
            binary = frozenset(feed.wanted)
        given_id = head.get("id", "")
        return RestRequest(feed, given_id if isinstance(given_id, str) else "", binary)

    def cases(self, prepared: RestRequest) -> int:
        return prepared.feed.cases

    def run(self, opened: Opened, prepared: Sequence[RestRequest]) -> Sequence[Mapping[str, Array]]:
        return run_feeds(opened, [each.feed for each in prepared])

    def answer(
        self, opened: Opened, prepared: RestRequest, found: Mapping[str, Array]
    ) -> RestAnswer:
        outputs, raw = [], []
        for name, array in found.items():
            output: dict[str, Any] = {"name": name, "datatype": DATATYPE, "shape": [*array.shape]}
            if name in prepared.binary:
                raw.append(array.astype("<f4", copy=False).tobytes())
                output["parameters"] = {"binary_data_size": len(raw[-1])}
            else:
                output["data"] = _plain(array)
            outputs.append(output)
        head = {
            "model_name": self.model,
            "model_version": opened.version,
            "id": prepared.id or self.request_id,
            "outputs": outputs,
        }
        text = json.dumps(head, ensure_ascii=False, separators=(",", ":")).encode()
        return RestAnswer(b"".join((text, *raw)), len(text) if raw else None)


def _length(given: str | None, most: int) -> int:
    if given is None:
        return most
    if not (given.isdecimal() and int(given[:12]) <= most):
        raise InputError(JSON_LENGTH, got=shown(given), expected=f"a number up to {most}")
    return int(given)


def _inputs(head: Any, raw: memoryview) -> tuple[GivenTensor, ...]:
    if not isinstance(head, dict) or not isinstance(head.get("inputs"), list):
        raise InputError("body", got="no list of inputs", expected=_WHAT)
    given, start = [], 0
    for each in head["inputs"]:
        name, datatype, shape = _head_of_input(each)
        size = _parameters(each).get("binary_data_size")
        data = each.get("data")
        if size is not None:
            rest = len(raw) - start
            is_size = isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= rest
            if not is_size or data is not None:
                got = "data twice" if data is not None else f"binary_data_size {shown(size)}"
                expected = f"at most the {rest} bytes behind the JSON, and no data in it"
                raise InputError(f"input {shown(name)}", got=got, expected=expected)
            data, start = bytes(raw[start : start + size]), start + size
        elif not isinstance(data, list):
            raise InputError(f"input {shown(name)}", got="no data", expected="a list of numbers")
        given.append(GivenTensor(name, datatype, shape, data))
    if start != len(raw):
        got = f"{len(raw) - start} bytes behind the last input"
        raise InputError("body", got=got, expected="as many as the inputs say")
    return tuple(given)


def _head_of_input(each: Any) -> tuple[str, str, tuple[int, ...]]:
    fields = each if isinstance(each, dict) else {}
    name, datatype, shape = fields.get("name"), fields.get("datatype"), fields.get("shape")
    is_shape = isinstance(shape, list) and all(type(side) is int for side in shape)
    if not (isinstance(name, str) and isinstance(datatype, str) and is_shape):
        raise InputError("inputs", got="one without", expected="name, datatype and shape")
    assert isinstance(shape, list)
    return name, datatype, tuple(shape)


def _outputs(head: Mapping[str, Any]) -> tuple[tuple[str, ...], frozenset[str] | None]:
    """Names of the outputs wanted, and of those that are wanted raw; None stands for all."""
    is_binary = _parameters(head).get("binary_data_output") is True
    asked = head.get("outputs")
    if asked is None or asked == []:
        return (), None if is_binary else frozenset()
    if not isinstance(asked, list):
        raise InputError("outputs", got="no list", expected="a list of outputs")
    names, binary = [], set()
    for each in asked:
        name = each.get("name") if isinstance(each, dict) else None
        if not isinstance(name, str) or name in names:
            raise InputError("outputs", got="one without a name, or twice", expected="each once")
        names.append(name)
        if _parameters(each).get("binary_data", is_binary) is True:
            binary.add(name)
    return tuple(names), frozenset(binary)


def _parameters(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    found = fields.get("parameters")
    if found is not None and not isinstance(found, dict):
        raise InputError("parameters", got="no table", expected="names with values")
    return found or {}


def _plain(array: Array) -> list[Any]:
    """Numbers in row-major order; null where one is not finite, which JSON cannot say."""
    flat: list[Any] = array.ravel().tolist()
    if np.isfinite(array).all():
        return flat
    return [each if np.isfinite(each) else None for each in flat]
