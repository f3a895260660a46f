"""What the reference gave for a golden vector beside landmarks: maps, logits and visibility.

Each output is a file of raw little-endian float32. A golden vector keeps at most
:data:`MOST_OUTPUT_BYTES` of them, so of large maps it keeps every second, third, … row and column:
the values that it has are exact, and an engine is compared at these places alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mahtrt import files
from mahtrt.bundle.bundle import Bundle, BundleWriter
from mahtrt.bundle.manifest import REBUILD, GoldenImage, GoldenOutput
from mahtrt.errors import IntegrityError

MOST_OUTPUT_BYTES = 2**20  # of one golden vector
_DTYPE = np.dtype("<f4")

Values = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class GoldenValues:
    """What the reference gave in one output.

    Attributes:
        values: (C, h, w) of a map, at every ``step``-th row and column; (L,) or (K,) of others.
        step: 1 where nothing was left out.
    """

    values: Values
    step: int = 1


def thinned(values: NDArray[np.floating], step: int) -> Values:
    """Every ``step``-th row and column of maps (…, h, w), from the first; all of other outputs."""
    return np.asarray(values[..., ::step, ::step] if step > 1 else values, np.float32)


def at_places(
    found: NDArray[np.floating], step: int, kept: NDArray[np.floating], name: str
) -> Values:
    """What an engine gave in an output of N cases, at the places that were kept of it.

    Args:
        found, kept: (N, …), the engine's and the golden values.
        name: Name of the output, for messages.

    Raises:
        IntegrityError: The engine's output has other places.
    """
    values = thinned(found, step)
    if values.shape != kept.shape:
        raise IntegrityError(
            f"golden values of {name}",
            got=f"shape {kept.shape[1:]} at step {step}",
            expected=f"{values.shape[1:]}, as the engine gives",
            fix=REBUILD,
        )
    return values


def golden_values(outputs: Mapping[str, NDArray[np.floating]]) -> dict[str, GoldenValues]:
    """What is kept of a case's outputs: all of them, or larger maps in larger steps.

    Logits that alone take more than :data:`MOST_OUTPUT_BYTES` are left out: a graph of an earlier
    version may have some per pixel.

    Args:
        outputs: Output name to a map (C, h, w), or a few numbers (n,).
    """
    step = 1
    while _bytes(outputs, step) > MOST_OUTPUT_BYTES:
        step += 1
    return {
        name: GoldenValues(thinned(values, own), own)
        for name, values in outputs.items()
        if values.ndim == 3 or values.size * _DTYPE.itemsize <= MOST_OUTPUT_BYTES
        for own in [step if values.ndim == 3 else 1]
    }


def _bytes(outputs: Mapping[str, NDArray[np.floating]], step: int) -> int:
    """What the maps take, as far as steps make them smaller."""
    total = 0
    for values in outputs.values():
        if values.ndim == 3 and max(values.shape[1:]) > step:
            channels, rows, columns = map(int, values.shape)
            total += channels * -(-rows // step) * -(-columns // step)
    return total * _DTYPE.itemsize


def write_outputs(
    writer: BundleWriter, folder: str, number: int, outputs: Mapping[str, GoldenValues]
) -> tuple[GoldenOutput, ...]:
    """Write the outputs of golden vector ``number``."""
    records = []
    for place, (name, kept) in enumerate(outputs.items()):
        path = f"{folder}/{number}-out{place}.f32"
        files.write_bytes(writer.place(path), np.asarray(kept.values, _DTYPE).tobytes())
        records.append(GoldenOutput(name, path, kept.values.shape, kept.step))
    return tuple(records)


def read_outputs(bundle: Bundle, record: GoldenImage) -> dict[str, GoldenValues]:
    """Read the outputs of a golden vector; empty where none were kept.

    Raises:
        IntegrityError: A file or its record is not what it should be.
    """
    sizes = [math.prod(each.shape) * _DTYPE.itemsize for each in record.outputs]
    subject = f"{bundle.path}: golden image {record.name}"
    if sum(sizes) > 2 * MOST_OUTPUT_BYTES:
        expected = f"at most {2 * MOST_OUTPUT_BYTES} bytes"
        raise IntegrityError(subject, got=f"outputs of {sum(sizes)} bytes", expected=expected)
    for each in record.outputs:
        _check(each, bundle, subject)
    return {each.name: GoldenValues(_read(bundle, each), each.step) for each in record.outputs}


def _check(record: GoldenOutput, bundle: Bundle, subject: str) -> None:
    kinds = {output.name: output.kind for output in bundle.spec.outputs}
    kind = kinds.get(record.name)
    rank = {"map": 3, "logits": 1, "visibility": 1}.get(kind or "", 0)
    if len(record.shape) != rank or (record.step > 1 and rank != 3):
        raise IntegrityError(
            subject,
            got=f"output {record.name!r} of shape {record.shape} and step {record.step}",
            expected="a map (C, h, w), or logits or visibility (n,) of the spec",
            fix=REBUILD,
        )


def _read(bundle: Bundle, record: GoldenOutput) -> Values:
    file = bundle.file(record.file)
    expected = math.prod(record.shape) * _DTYPE.itemsize
    if file.record.size != expected:
        raise IntegrityError(
            str(file),
            got=f"{file.record.size} bytes",
            expected=f"{record.shape} of float32 ({expected} bytes)",
            fix=REBUILD,
        )
    values = np.frombuffer(file.read_bytes(), _DTYPE).reshape(record.shape)
    return values.astype(np.float32)
