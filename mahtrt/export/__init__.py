"""Checkpoint to ONNX: tracing, graph passes, parity, networks from outside.

``mahtrt.export`` is both this package and a public verb: the import system puts the package where
the verb would be as soon as anything below it is imported, so the package can be called.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    """Calling the package exports; see :func:`mahtrt.export.onnx.export_onnx`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from mahtrt.export.onnx import export_onnx

        return export_onnx(*args, **kwargs)


sys.modules[__name__].__class__ = _CallablePackage
