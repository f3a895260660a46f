"""Experimental: the soft-argmax of a network as one TensorRT plugin, behind one hook.

The hook is the four functions here. A build that asks for the plugin checks the package before any
work, makes the kernel's digest a part of the engine's cache key, fuses the soft-argmax of its graph
into one node, and registers the plugin in the process that builds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mahtrt import files
from mahtrt.cuda.compile import ptx_place
from mahtrt.digest import sha256_of_file
from mahtrt.errors import require

KERNEL = ptx_place("tensorrt_soft_argmax")


def check_support(trt: Any) -> None:
    """Refuse a TensorRT that cannot take the plugin.

    Raises:
        MissingComponentError: Its version, flavour or machine has no plugins in Python.
    """
    from mahtrt.targets.tensorrt.soft_argmax import plugin

    plugin.check_support(trt)


def register(trt: Any) -> None:
    """Make the plugin known to TensorRT, in the process that builds.

    Raises:
        MissingComponentError: As :func:`check_support`.
    """
    from mahtrt.targets.tensorrt.soft_argmax import plugin

    plugin.register(trt)


def kernel_digest() -> str:
    """SHA-256 of the compiled kernel."""
    return sha256_of_file(KERNEL)


def write_fused(onnx_path: Path, place: Path) -> Path:
    """Write the graph with its soft-argmax as one plugin node.

    Returns:
        ``place``.

    Raises:
        MissingComponentError: The packages that edit graphs are not installed.
        ModelError: The graph has no soft-argmax as mahtrt exports it.
    """
    onnx: Any = require("onnx", extra="export", needed_for="--fuse-soft-argmax")
    require("onnxscript", extra="export", needed_for="--fuse-soft-argmax")
    from mahtrt.targets.kernel_decode.fuse import fuse_soft_argmax

    fused = fuse_soft_argmax(onnx.load(onnx_path))
    files.write_bytes(place, fused.SerializeToString(deterministic=True))
    return place
