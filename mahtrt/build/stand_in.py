"""A stand-in for an engine that this machine cannot run: its graph, computed by ONNX Runtime.

TensorRT-RTX builds engines on a machine without a GPU. What such an engine will do to landmarks is
decided by its graph nearly alone, and the graph can be run: INT8 exactly as its Q/DQ nodes say, and
half precision by an FP32 graph that rounds wherever the half graph does (not beside INT8, whose own
error is some ten times larger). A verdict made so says
what it was made on, and the engine is judged again where it runs, by ``mahtrt bench``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mahtrt import files
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.errors import ModelError
from mahtrt.graph.graph_file import GraphFile
from mahtrt.runtime.session import Session
from mahtrt.targets.onnxruntime.run import OnnxRuntimeBackend, OrtMode, open_onnx

if TYPE_CHECKING:
    from mahtrt.precision.types import Half

_WHAT = {
    "fp32": "its FP32 graph through ONNX Runtime",
    "fp16": "its graph through ONNX Runtime, FP16 rounding computed in FP32",
    "bf16": "its graph through ONNX Runtime, BF16 rounding computed in FP32",
    "int8": "its graph through ONNX Runtime, Q/DQ computed literally, the rest in FP32",
}


@dataclass(frozen=True, slots=True)
class StandInGraph:
    """What stands in for an engine.

    Attributes:
        onnx: What the engine was compiled from; of INT8 beside BF16, which ONNX Runtime does not
            run, the same with FP32 beside it.
        keep: Names of products that a plan keeps in FP32.
    """

    onnx: Path
    keep: tuple[str, ...] = ()


def open_stand_in(
    record: EngineRecord, graph: GraphFile, given: StandInGraph, scratch: Path, threads: int | None
) -> tuple[Session, str]:
    """Open what stands in for an engine.

    Args:
        graph: The export.
        scratch: A folder for the graph that is run instead.

    Returns:
        The session, and in words what it runs.

    Raises:
        ModelError: ONNX Runtime cannot run the graph.
        MissingComponentError: ONNX Runtime is not installed.
    """
    onnx_path = given.onnx
    if record.precision in ("fp16", "bf16"):
        from mahtrt.precision.emulation import emulate_half

        half: Half = "bf16" if record.precision == "bf16" else "fp16"
        emulated = emulate_half(graph.proto, half, given.keep)
        onnx_path = scratch / f"{record.name}.onnx"
        files.write_bytes(onnx_path, emulated.SerializeToString())
    mode = OrtMode.LITERAL_INT8 if record.precision == "int8" else OrtMode.ENGINE
    try:
        opened = open_onnx(onnx_path, f"engine {record.name}", threads=threads, mode=mode)
    except ModelError as error:
        raise ModelError(
            error.subject,
            got=f"a graph that ONNX Runtime cannot run ({error.got})",
            expected="one whose landmarks can be checked without a GPU",
        ) from error
    return Session(OnnxRuntimeBackend(opened, graph.spec, record.name), graph.spec, record), _WHAT[
        record.precision
    ]
