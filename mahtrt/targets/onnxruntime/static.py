"""ONNX Runtime's own static quantisation of a plain export, as its documentation recommends.

The graph is prepared first (``quant_pre_process``: shapes and its optimiser), ranges are the least
and largest value of each tensor, and INT8 is written as Q/DQ. Types are those that the docstring of
``quantize_static`` (ONNX Runtime 1.31) names for a CPU: on x86 unsigned activations, weights of
7 bits where there is no VNNI, elsewhere signed activations. Weights have a scale per channel,
which it recommends where accuracy counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mahtrt import files
from mahtrt.data.feed import Feed
from mahtrt.errors import require
from mahtrt.machine import Machine, describe_machine
from mahtrt.scratch import temporary_folder
from mahtrt.spec import ModelSpec
from mahtrt.targets.calibration_set import CalibrationSet
from mahtrt.targets.cpu import is_x86, weight_bits_here
from mahtrt.targets.onnxruntime.run import OnnxRuntimeBackend, open_onnx
from mahtrt.targets.quiet import quiet_tools


class FeedReader:
    """Feeds as ``quantize_static`` asks for them; see its ``CalibrationDataReader``."""

    def __init__(self, feeds: Iterator[Feed]) -> None:
        self._feeds = feeds

    def get_next(self) -> dict[str, Any] | None:
        """The next feed, None after the last one."""
        feed = next(self._feeds, None)
        return None if feed is None else dict(feed)


def open_static(
    data: bytes, spec: ModelSpec, threads: int | None, images: CalibrationSet
) -> OnnxRuntimeBackend:
    """An ONNX file's content, quantised.

    Args:
        threads: Threads of one inference; None leaves their number to the runtime.

    Raises:
        MissingComponentError: A package that the quantiser needs is not installed.
        ModelError: ONNX Runtime refuses the graph.
        Exception: Whatever ONNX Runtime's quantiser raises.
    """
    tool: Any = require("onnxruntime.quantization", extra="cpu", needed_for="onnxruntime-static")
    options = recommended(tool, describe_machine())
    with temporary_folder() as folder, quiet_tools():
        plain, prepared, quantised = (folder / f"{n}.onnx" for n in ("plain", "prepared", "int8"))
        files.write_bytes(plain, data)
        _prepare(tool, plain, prepared)
        tool.quantize_static(prepared, quantised, FeedReader(images.feeds()), **options)
        content = quantised.read_bytes()
    session = open_onnx(content, "its own INT8 of the plain export", threads=threads)
    backend = OnnxRuntimeBackend(session, spec, "onnxruntime")
    backend.facts["weights"] = "7 bits" if options["reduce_range"] else "8 bits"
    return backend


def recommended(tool: Any, machine: Machine) -> dict[str, Any]:
    """Settings of ``quantize_static`` for a CPU, see the module's docstring.

    Args:
        tool: The package ``onnxruntime.quantization``.
    """
    types = tool.QuantType
    return {
        "quant_format": tool.QuantFormat.QDQ,
        "activation_type": types.QUInt8 if is_x86(machine) else types.QInt8,
        "weight_type": types.QInt8,
        "per_channel": True,
        "reduce_range": weight_bits_here(machine) == 7,
        "calibrate_method": tool.CalibrationMethod.MinMax,
    }


def _prepare(tool: Any, plain: Path, prepared: Path) -> None:
    """Prepare the graph; where shapes cannot be inferred by symbols, they are all static anyway."""
    try:
        tool.quant_pre_process(plain, prepared)
    except Exception:  # "Incomplete symbolic shape inference", of no type of its own
        tool.quant_pre_process(plain, prepared, skip_symbolic_shape=True)
