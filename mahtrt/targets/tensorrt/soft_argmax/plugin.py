"""Experimental: the fused soft-argmax as a TensorRT plugin whose kernel travels in the engine.

Defined through ``tensorrt.plugin`` with an ahead-of-time implementation: TensorRT puts the PTX of
``tensorrt_soft_argmax.cu`` into the engine, and runs it later without Python. Imported only in the
process that builds, and registered only for a build that asks for it.

The parser finds the plugin by the node that :mod:`mahtrt.targets.kernel_decode.fuse` leaves:
operator name, ``plugin_namespace``, ``plugin_version``, and ``aot`` for this implementation.
"""

from __future__ import annotations

import importlib
from types import GenericAlias
from typing import Any

import numpy as np

from mahtrt.cuda.probe import probe_cuda
from mahtrt.errors import MissingComponentError, ModelError
from mahtrt.targets.tensorrt.flavours import FLAVOURS
from mahtrt.targets.tensorrt.soft_argmax import KERNEL

NAMESPACE = "mahtrt"
NAME = "SoftArgmax2d"
PLUGIN_ID = f"{NAMESPACE}::{NAME}"
# The kernel's, see tensorrt_soft_argmax.cu.
BLOCK_THREADS = 256

_SUBJECT = "--fuse-soft-argmax"
_WITHOUT = "Build without it: the graph's own soft-argmax gives the same landmarks."
_EXPECTED = "a whole installation of TensorRT"
# Of tensorrt.plugin, all that is used here.
_NEEDED = (
    "KernelLaunchParams",
    "SymExprs",
    "SymInt32",
    "SymIntExprs",
    "TensorDesc",
    "aot_impl",
    "from_shape_expr",
    "op",
    "register",
)

# Array attributes: TensorRT's parser hands numbers over as arrays, whatever their ONNX type.
# Spelled out, as it takes them apart, and newer NumPy's NDArray[...] is no such type any more.
# In alphabetical order, so that it is the same by name and as the node has them: they are passed by
# position.
_ATTRIBUTES = {
    "input_size": np.ndarray[Any, np.dtype[np.int32]],
    "temperature": np.ndarray[Any, np.dtype[np.float32]],
}


def check_support(trt: Any) -> Any:
    """Refuse a TensorRT that cannot take the plugin.

    Args:
        trt: The TensorRT module, of either flavour.

    Returns:
        The module ``tensorrt.plugin``.

    Raises:
        MissingComponentError: TensorRT-RTX, which has no plugins in Python; no NVIDIA driver;
            or an installation without ``tensorrt.plugin``.
    """
    if trt.__name__ == FLAVOURS["tensorrt-rtx"].module:
        raise _missing(
            f"TensorRT-RTX {trt.__version__}, which has no plugins in Python", "target tensorrt"
        )
    if problem := probe_cuda().problem:
        raise _missing(problem, "the GPU that the engine is for")
    name = f"{trt.__name__}.plugin"
    try:
        trtp = getattr(trt, "plugin", None) or importlib.import_module(name)
    except ImportError as error:
        raise _missing(f"no module {name} ({error})", _EXPECTED) from error
    absent = [needed for needed in _NEEDED if not hasattr(trtp, needed)]
    if absent:
        raise _missing(f"{name} without {', '.join(absent)}", _EXPECTED)
    return trtp


def register(trt: Any) -> None:
    """Make the plugin known to TensorRT, once per process; before a model is parsed.

    Raises:
        MissingComponentError: As :func:`check_support`; then nothing is registered.
    """
    trtp = check_support(trt)
    namespace = getattr(trtp.op, NAMESPACE, None)
    if namespace is not None and hasattr(namespace, NAME):
        return
    ptx = kernel_ptx()
    descriptor = trtp.TensorDesc
    three = GenericAlias(tuple, (descriptor,) * 3)
    code = str | bytes

    # The annotations are part of the API: it reads them as objects, not as text.
    def describe(heatmaps: Any, input_size: Any, temperature: Any) -> Any:
        return _outputs(trt, trtp, heatmaps)

    describe.__annotations__ = {
        "heatmaps": descriptor,
        **_ATTRIBUTES,
        "return": three,
    }
    trtp.register(PLUGIN_ID)(describe)

    def implement(
        heatmaps: Any, input_size: Any, temperature: Any, outputs: Any, tactic: int
    ) -> Any:
        name = kernel_name(trt, heatmaps.dtype)
        launch = trtp.KernelLaunchParams()
        launch.grid_x = heatmaps.shape_expr[0] * heatmaps.shape_expr[1]  # a block per map
        launch.block_x = BLOCK_THREADS
        return name.encode(), ptx, launch, _numbers(trtp, heatmaps, input_size, temperature)

    implement.__annotations__ = {
        "heatmaps": descriptor,
        **_ATTRIBUTES,
        "outputs": three,
        "tactic": int,
        "return": GenericAlias(tuple, (code, code, trtp.KernelLaunchParams, trtp.SymExprs)),
    }
    trtp.aot_impl(PLUGIN_ID)(implement)


def kernel_name(trt: Any, dtype: Any) -> str:
    """The kernel's entry for heatmaps of a type.

    Raises:
        ModelError: There is none.
    """
    entries = {
        trt.DataType.FLOAT: "mahtrt_soft_argmax_f32",
        trt.DataType.HALF: "mahtrt_soft_argmax_f16",
    }
    if dtype not in entries:
        raise ModelError(PLUGIN_ID, got=f"{dtype} heatmaps", expected="FLOAT or HALF")
    return entries[dtype]


def kernel_ptx() -> bytes:
    """The compiled kernel, as TensorRT puts it into the engine."""
    return KERNEL.read_bytes()


def temperature_bits(temperature: float) -> int:
    """The FP32 bits of a temperature as a whole number, which the kernel reads as FP32 again.

    TensorRT passes a kernel tensors and whole numbers, nothing else.

    Raises:
        ModelError: The temperature is not a positive number.
    """
    value = np.float32(temperature)
    if not 0 < value < np.inf:
        raise ModelError(PLUGIN_ID, got=f"temperature {temperature}", expected="more than 0")
    return int(value.view(np.int32))


def _outputs(trt: Any, trtp: Any, heatmaps: Any) -> tuple[Any, Any, Any]:
    """Landmarks (B, K, 2), confidence (B, K) and spread (B, K), all FP32."""
    kernel_name(trt, heatmaps.dtype)  # refuses what no kernel reads
    images, maps = heatmaps.shape_expr[0], heatmaps.shape_expr[1]
    shapes = ((images, maps, 2), (images, maps), (images, maps))
    landmarks, confidence, spread = (
        trtp.from_shape_expr(shape, dtype=trt.DataType.FLOAT) for shape in shapes
    )
    return landmarks, confidence, spread


def _numbers(trtp: Any, heatmaps: Any, input_size: Any, temperature: Any) -> Any:
    """The kernel's arguments between inputs and outputs, in its order."""
    height_px, width_px = (int(pixels) for pixels in input_size)
    values = (
        heatmaps.shape_expr[2],
        heatmaps.shape_expr[3],
        height_px,
        width_px,
        temperature_bits(temperature[0]),
    )
    numbers = trtp.SymIntExprs(len(values))
    for index, value in enumerate(values):
        numbers[index] = trtp.SymInt32(value)
    return numbers


def _missing(got: str, expected: str) -> MissingComponentError:
    return MissingComponentError(_SUBJECT, got=got, expected=expected, fix=_WITHOUT)
