"""The table of targets.

The entries are strings, resolved on use, so that looking at the table imports no runtime.
"""

from __future__ import annotations

import importlib

from mahtrt.errors import UsageError
from mahtrt.targets.target import Target

# Name to ``module:object``, in the order in which they are listed and built.
TARGETS = {
    "openvino": "mahtrt.targets.openvino.target:TARGET",
    "onnxruntime": "mahtrt.targets.onnxruntime.target:TARGET",
    "tensorrt": "mahtrt.targets.tensorrt.target:TENSORRT",
    "tensorrt-rtx": "mahtrt.targets.tensorrt.target:TENSORRT_RTX",
}
# Targets that run the FP32 export where PyTorch is not at hand, the best first.
REFERENCES = ("onnxruntime", "openvino")


def find_target(name: str) -> Target:
    """A target by name.

    Raises:
        UsageError: There is none of that name; the message lists them.
    """
    if name not in TARGETS:
        raise UsageError(
            f"target {name!r}", got="no such target", expected=f"one of {', '.join(TARGETS)}"
        )
    module, _, attribute = TARGETS[name].partition(":")
    target: Target = getattr(importlib.import_module(module), attribute)
    return target


def all_targets() -> list[Target]:
    """Every target, in the order of the table."""
    return [find_target(name) for name in TARGETS]


def reference_target() -> str:
    """Name of the target that runs the FP32 export as a reference: the best that is installed."""
    return next((name for name in REFERENCES if find_target(name).installed), REFERENCES[-1])
