"""mahtrt: landmark networks from PyTorch to measured engines.

The verbs of the command line, as functions. Nothing heavy is imported until one is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Name to where it lives, resolved on use.
_LAZY = {
    "bench": "mahtrt.benchmarks.bench:bench",
    "build": "mahtrt.build.build:build",
    "BuildOptions": "mahtrt.build.options:BuildOptions",
    "export": "mahtrt.export.onnx:export_onnx",
    "Landmarks": "mahtrt.runtime.landmarks:Landmarks",
    "open": "mahtrt.runtime.session:open_session",
    "Session": "mahtrt.runtime.session:Session",
}

__all__ = [
    "BuildOptions",
    "Landmarks",
    "Session",
    "__version__",
    "bench",
    "build",
    "export",
    "open",
]

if TYPE_CHECKING:
    from mahtrt.benchmarks.bench import bench
    from mahtrt.build.build import build
    from mahtrt.build.options import BuildOptions
    from mahtrt.export.onnx import export_onnx as export
    from mahtrt.runtime.landmarks import Landmarks
    from mahtrt.runtime.session import Session
    from mahtrt.runtime.session import open_session as open


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'mahtrt' has no attribute {name!r}")
    module, _, attribute = _LAZY[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
