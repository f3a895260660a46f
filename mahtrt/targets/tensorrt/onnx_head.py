"""The few facts of an ONNX file that are worth knowing before a builder reads it.

TensorRT's parser takes a text file for an empty network and any opset for a known one. This reads
the protobuf's outermost fields (no weights, no package needed), so both are found in microseconds.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mahtrt.errors import ModelError

# Field numbers of onnx.proto: ModelProto, OperatorSetIdProto.
_GRAPH, _OPSET_IMPORT = 7, 8
_DOMAIN, _VERSION = 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZE = {_FIXED64: 8, _FIXED32: 4}
# Protobuf readers, TensorRT's among them, take no more in one file.
MAX_BYTES = 2**31 - 1


class _NotProtobufError(ValueError):
    """The bytes break off, or never were a protobuf."""


@dataclass(frozen=True, slots=True)
class OnnxHead:
    """The outermost facts of an ONNX file.

    Attributes:
        opsets: Domain ("" is ONNX's own) to version.
        graph_bytes: Size of the graph with its weights.
    """

    opsets: Mapping[str, int]
    graph_bytes: int


def read_head(path: Path) -> OnnxHead:
    """Read which operator sets an ONNX file uses, and see that the file is whole.

    Raises:
        ModelError: It cannot be read, breaks off, or is no ONNX.
    """
    subject, expected = str(path), "an ONNX graph"
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if not size:
                raise ModelError(subject, got="an empty file", expected=expected)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                head = _head_of(data)
    except OSError as error:
        raise ModelError(subject, got=error.strerror or str(error), expected=expected) from error
    except _NotProtobufError as error:
        raise ModelError(
            subject,
            got=f"{size} bytes that {error}",
            expected=expected,
            fix="Export or copy it again: it was cut short, or is something else.",
        ) from error
    if size > MAX_BYTES:
        raise ModelError(subject, got=f"{size} bytes", expected="less than 2 GiB in one file")
    return head


def _head_of(data: mmap.mmap) -> OnnxHead:
    opsets, graph_bytes = {}, 0
    for number, value in _fields(data, 0, len(data)):
        if not isinstance(value, slice):
            continue
        if number == _GRAPH:
            graph_bytes = value.stop - value.start
        elif number == _OPSET_IMPORT:
            domain, version = _opset(data, value)
            opsets[domain] = version
    if not graph_bytes or not opsets:
        raise _NotProtobufError(f"hold no {'operator sets' if graph_bytes else 'graph'}")
    return OnnxHead(opsets, graph_bytes)


def _opset(data: mmap.mmap, place: slice) -> tuple[str, int]:
    domain, version = "", 0
    for number, value in _fields(data, place.start, place.stop):
        if number == _DOMAIN and isinstance(value, slice):
            domain = data[value].decode(errors="replace")
        elif number == _VERSION and isinstance(value, int):
            version = value
    return ("" if domain == "ai.onnx" else domain), version


def _fields(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int | slice]]:
    """Field number with its number, or with the place of its bytes."""
    while at < end:
        key, at = _varint(data, at, end)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(data, at, end)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at, end)
        elif kind in _FIXED_SIZE:
            size = _FIXED_SIZE[kind]
        else:
            raise _NotProtobufError("are no protobuf")
        if not number or at + size > end:
            raise _NotProtobufError(f"break off {at + size - end} bytes early")
        yield number, slice(at, at + size)
        at += size


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """A number of seven bits per byte, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise _NotProtobufError("break off in the middle of a number")
        value |= (data[at] & 0x7F) << shift
        at += 1
        if not data[at - 1] & 0x80:
            return value, at
    raise _NotProtobufError("are no protobuf")
