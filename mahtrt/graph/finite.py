"""Does every node of a graph give finite values, and how near are they to the end of the range?

Every floating-point tensor is reduced inside the graph to two numbers, its largest magnitude and
whether it holds a NaN, so nothing large leaves the graph. One run per image looks at every node.

ONNX Runtime computes most FP16 nodes in FP32 on a CPU and may leave out the rounding in between,
which would hide an overflow. So magnitudes are compared with what the tensor's type can hold,
instead of waiting for an infinity to appear.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, shape_inference

from mahtrt.errors import DataError
from mahtrt.graph.runner import ImageRunner, load_model
from mahtrt.targets.onnxruntime.run import OrtMode

_PREFIX = "mahtrt_finite_"

_LARGEST: Mapping[int, float] = {
    TensorProto.FLOAT: float(np.finfo(np.float32).max),
    TensorProto.FLOAT16: float(np.finfo(np.float16).max),
    TensorProto.BFLOAT16: float(ml_dtypes.finfo(ml_dtypes.bfloat16).max),
    TensorProto.DOUBLE: float(np.finfo(np.float32).max),  # judged after a Cast to FP32
}


@dataclass(frozen=True, slots=True)
class Peak:
    """The largest magnitude that a tensor took.

    Attributes:
        tensor, node: The tensor and the node that makes it.
        element_type: Of the tensor, an ``onnx.TensorProto`` type.
        largest: Over all images, infinite where one value was.
        has_nan: Whether some value was not a number.
    """

    tensor: str
    node: str
    element_type: int
    largest: float
    has_nan: bool

    @property
    def headroom(self) -> float:
        """How many times larger the values could be before they leave the type's range."""
        return _LARGEST[self.element_type] / self.largest if self.largest else math.inf


@dataclass(frozen=True, slots=True)
class Finding:
    """A node that gave values which are not finite.

    Attributes:
        node, tensor: The node and its output.
        what: ``"nan"``, ``"infinite"``, or ``"overflow"``: finite only because ONNX Runtime keeps
            this tensor in a wider type than the graph says.
        largest: The largest magnitude seen.
    """

    node: str
    tensor: str
    what: str
    largest: float


def check_finite(
    model: onnx.ModelProto | Path,
    images: Iterable[NDArray[np.float32]],
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Finding]:
    """Run images and name every node whose output is not finite, in the order of the graph.

    Args and errors are those of :func:`measure_peaks`.
    """
    peaks = measure_peaks(model, images, threads=threads, progress=progress)
    return [
        Finding(peak.node, peak.tensor, what, peak.largest)
        for peak in peaks
        if (what := _trouble(peak))
    ]


def measure_peaks(
    model: onnx.ModelProto | Path,
    images: Iterable[NDArray[np.float32]],
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Peak]:
    """The largest magnitude of every floating-point tensor, in the order of the graph.

    Args:
        model: FP32, FP16 or quantised, with one image input. ONNX Runtime runs no BF16
            convolutions on a CPU; BF16 has the range of FP32, so look at the FP32 graph.
        images: Preprocessed images (C, H, W).
        threads: For ONNX Runtime; None lets it choose.
        progress: Called with the images done and their number, 0 if that is unknown.

    Raises:
        DataError: No images, or one of another shape than the input.
        ModelError: ONNX Runtime cannot run the model.
    """
    where = str(model) if isinstance(model, Path) else "ONNX graph"
    proto = load_model(model) if isinstance(model, Path) else model
    tapped, peaks = _with_taps(proto)
    runner = ImageRunner(tapped, where, threads, OrtMode.NODE_BY_NODE)
    total = len(images) if isinstance(images, Sized) else 0
    largest, nan, done = np.zeros(len(peaks)), np.zeros(len(peaks)), 0
    for group in runner.groups(images):
        seen = np.array(runner.run(group), np.float64).reshape(-1, 2)
        largest, nan = np.fmax(largest, seen[:, 0]), np.maximum(nan, seen[:, 1])
        done += len(group)
        if progress:
            progress(done, total)
    if not done:
        raise DataError("images", got="none", expected="at least one image")
    return [
        Peak(peak.tensor, peak.node, peak.element_type, float(top), bool(flag))
        for peak, top, flag in zip(peaks, largest, nan, strict=True)
    ]


def _trouble(peak: Peak) -> str:
    if peak.has_nan:
        return "nan"
    if math.isinf(peak.largest):
        return "infinite"
    return "overflow" if peak.headroom < 1 else ""


def _with_taps(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[Peak]]:
    """A copy whose outputs are magnitude and NaN flag of each tensor, and what they are of."""
    types = _element_types(model)
    makers = [(name, node) for node in model.graph.node for name in node.output]
    peaks = [
        Peak(name, node.name or node.output[0], types[name], 0.0, False)
        for name, node in makers
        if types.get(name) in _LARGEST
    ]
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    del tapped.graph.output[:]
    # ONNX Runtime orders nodes by going back from the last one that nothing reads. So the tap of
    # the first tensor comes last: each tensor is looked at and freed before the next is made.
    for number in reversed(range(len(peaks))):
        _add_tap(tapped.graph, f"{_PREFIX}{number}", peaks[number].tensor)
    for number in range(len(peaks)):
        for part in ("largest", "has_nan"):
            name = f"{_PREFIX}{number}_{part}"
            tapped.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, []))
    return tapped, peaks


def _add_tap(graph: onnx.GraphProto, prefix: str, tensor: str) -> None:
    """Reduce a tensor to its largest magnitude and to 1 if it holds a NaN."""
    wide, size, nan, flag = (f"{prefix}_{part}" for part in ("wide", "size", "nan", "flag"))
    graph.node.append(helper.make_node("Cast", [tensor], [wide], to=TensorProto.FLOAT))
    graph.node.append(helper.make_node("Abs", [wide], [size]))
    graph.node.append(helper.make_node("ReduceMax", [size], [f"{prefix}_largest"], keepdims=0))
    graph.node.append(helper.make_node("IsNaN", [wide], [nan]))
    graph.node.append(helper.make_node("Cast", [nan], [flag], to=TensorProto.FLOAT))
    graph.node.append(helper.make_node("ReduceMax", [flag], [f"{prefix}_has_nan"], keepdims=0))


def _element_types(model: onnx.ModelProto) -> dict[str, int]:
    inferred = shape_inference.infer_shapes(model).graph
    return {
        info.name: int(info.type.tensor_type.elem_type)
        for info in (*inferred.value_info, *inferred.output)
    }
