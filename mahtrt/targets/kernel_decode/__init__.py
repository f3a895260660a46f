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
from mahtrt.spec import spec_from_json

_SPEC_KEY = "mahtrt.spec"  # of an export's metadata


def write_cut(onnx_path: Path, place: Path, record_place: Path) -> Path:
    """Write a graph that ends at the heatmaps, and the record of what follows them.

    Returns:
        ``place``.

    Raises:
        MissingComponentError: The packages that edit graphs are not installed.
        ModelError: The graph has no soft-argmax and no DARK as mahtrt exports them.
        SpecError: The spec in the file is none.
    """
    onnx: Any = require("onnx", extra="export", needed_for="--fuse-soft-argmax")
    require("onnxscript", extra="export", needed_for="--fuse-soft-argmax")
    from mahtrt.targets.kernel_decode.cut import cut_decoding

    model = onnx.load(onnx_path)
    text = next((each.value for each in model.metadata_props if each.key == _SPEC_KEY), "")
    spec = spec_from_json(text, where=f"{onnx_path}: spec") if text else None
    cut, record = cut_decoding(model, spec)
    files.write_bytes(place, cut.SerializeToString(deterministic=True))
    files.write_bytes(record_place, record.to_json().encode())
    return place
