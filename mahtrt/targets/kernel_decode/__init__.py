"""Landmarks by a kernel of ours behind the engine, instead of by nodes inside of it.

The graph that the engine is built from ends at the heatmaps. What the cut-off nodes computed is
written beside the engine, as a file of role ``decode``, and a session launches the kernel on the
engine's stream.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mahtrt import files
from mahtrt.errors import require


def write_cut(onnx_path: Path, place: Path, record_place: Path) -> Path:
    """Write a graph that ends at the heatmaps, and the record of what follows them.

    Returns:
        ``place``.

    Raises:
        MissingComponentError: The packages that edit graphs are not installed.
        ModelError: The graph has no soft-argmax as mahtrt exports it.
    """
    onnx: Any = require("onnx", extra="export", needed_for="--fuse-soft-argmax")
    require("onnxscript", extra="export", needed_for="--fuse-soft-argmax")
    from mahtrt.targets.kernel_decode.cut import cut_soft_argmax

    cut, record = cut_soft_argmax(onnx.load(onnx_path))
    files.write_bytes(place, cut.SerializeToString(deterministic=True))
    files.write_bytes(record_place, record.to_json().encode())
    return place
