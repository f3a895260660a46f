"""Weights of an ONNX graph that lie in files beside it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import onnx
from onnx import TensorProto

from mahtrt.errors import ModelError
from mahtrt.graph.checks import bytes_of_tensor
from mahtrt.reading import Wanted, open_regular

_MOST_BYTES = 2**32


def load_external_data(tensors: Iterable[onnx.TensorProto], path: Path) -> None:
    """Read the data of tensors that lie in other files, into the tensors.

    Args:
        tensors: Those of a graph, of sizes that were checked.
        path: The ONNX file. Only files in its folder are read.

    Raises:
        ModelError: A file is not there, not below the folder, or too short.
    """
    sizes: dict[Path, int] = {}
    total = held = 0
    for tensor in tensors:
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        place, offset = _place_of(tensor, path)
        # Opened for each tensor: a graph may name more files than a process may keep open.
        with open_regular(place, Wanted("weights of the graph", ModelError)) as file:
            if place not in sizes:
                sizes[place] = os.fstat(file.fileno()).st_size
                held += sizes[place]
            size = bytes_of_tensor(tensor)
            total += size
            if total > min(held, _MOST_BYTES):
                raise _refused(path, f"weights of {total} bytes, of {held} in other files")
            file.seek(offset)
            data = file.read(size)
        if len(data) != size:
            raise _refused(path, f"{len(data)} of the {size} bytes of {tensor.name!r}")
        tensor.raw_data = data
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def _place_of(tensor: onnx.TensorProto, path: Path) -> tuple[Path, int]:
    """The file of a tensor, and where it begins in it."""
    told = {entry.key: entry.value for entry in tensor.external_data}
    folder = path.resolve().parent
    location, start = told.get("location", ""), told.get("offset", "0")
    if not (start.isascii() and start.isdigit() and len(start) < 20):
        raise _refused(path, f"weights {tensor.name!r} at offset {start[:40]!r}")
    try:
        place = (folder / location).resolve()
    except (OSError, ValueError, RuntimeError) as error:  # links in a circle, a NUL
        raise _refused(path, f"weights in {location[:80]!r}") from error
    if not location or not place.is_relative_to(folder):
        raise _refused(path, f"weights in {location[:80]!r}")
    return place, int(start)


def _refused(path: Path, got: str) -> ModelError:
    return ModelError(
        str(path),
        got=got,
        expected="weights in the file, or whole in files in its folder",
        fix="Put the files of the export together again.",
    )
