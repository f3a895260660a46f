"""OpenVINO's IR of an engine: the graph that is compiled, for programs that cannot edit graphs.

An ONNX has to be edited before OpenVINO computes what it says
(:mod:`mahtrt.targets.openvino.guard`, :mod:`mahtrt.targets.openvino.decoding`), and OpenVINO's C
interface cannot do that. The IR holds the edited graph, so that whatever opens an IR can compile
the engine on another CPU or with another OpenVINO than the build's.

What OpenVINO writes is changed in two places, and read by it as before:

- Operations without a name of their own are called by a number that the process counts up
  (``Constant_6179``). They are called by their number in the file, so that one graph always gives
  the same bytes.
- OpenVINO 2026.4 marks a node that keeps its precision by ``DisablePrecisionConversion``, which
  2025.4 does not know: decoding would run in BF16 there (seen: landmarks 0.17 px off). Both know
  ``precise``, which is written beside it.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Any

from mahtrt import files
from mahtrt.atomic import naming_place
from mahtrt.errors import require
from mahtrt.openvino_core import shared_core
from mahtrt.reading import Content
from mahtrt.scratch import scratch_folder

IR, WEIGHTS = "ir", "weights"  # the roles
_COUNTED = re.compile(rb'<layer id="(\d+)" name="[A-Za-z][A-Za-z0-9]*_\d+" type="(\w+)"')
_KEEPS_PRECISION = re.compile(rb'<attribute name="DisablePrecisionConversion"[^>]*/>')
_PLACED = re.compile(rb' offset="(\d+)" size="(\d+)"')


def write_ir(model: Any, folder: Path) -> dict[str, Path]:
    """Write a graph as model.xml and model.bin.

    Args:
        model: An ``openvino.Model``, as :func:`mahtrt.targets.openvino.run.read_model` gives it.
        folder: Made if missing.

    Returns:
        Role to place.

    Raises:
        BuildError: The disk is full, or the place cannot be written.
        RuntimeError: OpenVINO's own error.
    """
    graph, weights = folder / "model.xml", folder / "model.bin"
    with naming_place(graph):
        files.make_folders(folder)
        text, numbers = serialized(model, folder)
        files.write_bytes(graph, text)
        files.write_bytes(weights, numbers)
    return {IR: graph, WEIGHTS: weights}


def read_ir(graph: Content, weights: Content) -> Any:
    """The graph of :func:`write_ir` as an ``openvino.Model``, ready to compile.

    Raises:
        RuntimeError: OpenVINO's own error.
    """
    return shared_core().read_model(graph.read_bytes(), weights.read_bytes())


def serialized(model: Any, folder: Path) -> tuple[bytes, bytes]:
    """Graph and weights as the IR has them.

    Args:
        model: An ``openvino.Model``.
        folder: Gets a scratch folder for a moment: OpenVINO writes to paths alone.

    Raises:
        OSError: The disk is full.
        RuntimeError: OpenVINO's own error.
    """
    openvino: Any = require("openvino", extra="", needed_for="target openvino")
    with scratch_folder(folder) as scratch:
        place = scratch / "model.xml"
        try:
            files.call(openvino.save_model, model, os.fsencode(place), False)  # FP32 as it is
        except RuntimeError as error:
            if "iostream" in str(error):  # all that it says of a full disk
                raise _full(place) from error
            raise
        text, weights = place.read_bytes(), place.with_suffix(".bin").read_bytes()
    ends = [int(offset) + int(size) for offset, size in _PLACED.findall(text)]
    if not text.rstrip().endswith(b"</net>") or len(weights) < max(ends, default=0):
        raise _full(place)
    text = _COUNTED.sub(rb'<layer id="\1" name="\2_\1" type="\2"', text)
    return _KEEPS_PRECISION.sub(rb'\g<0><attribute name="precise" version="0" />', text), weights


def _full(place: Path) -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))
