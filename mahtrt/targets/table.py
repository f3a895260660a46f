"""The table of targets.

The entries are strings, resolved on use, so that looking at the table imports no runtime.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mahtrt.errors import UsageError

if TYPE_CHECKING:
    from mahtrt.targets.target import EngineOptions, Target

# Name to ``module:object``, in the order in which they are listed and built.
TARGETS = {
    "openvino": "mahtrt.targets.openvino.target:TARGET",
    "onnxruntime": "mahtrt.targets.onnxruntime.target:TARGET",
    "onnxruntime-cuda": "mahtrt.targets.onnxruntime_cuda.target:TARGET",
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


def check_options(names: Sequence[str], options: EngineOptions) -> None:
    """Refuse options that none of the targets to build for has, and what each target refuses.

    Raises:
        UsageError: Options that contradict each other, or that no target takes.
        MissingComponentError: Something that building needs is not on this machine.
    """
    targets = [find_target(name) for name in names]
    for target in targets:
        target.check(options)
    for given in options.target_options:
        kind = type(given)
        if given == kind() or any(target.options_type is kind for target in targets):
            continue
        takers = [target.name for target in all_targets() if target.options_type is kind]
        raise UsageError(
            f"options for {given.title}",
            got=f"target {', '.join(names)}",
            expected=" or ".join(f"--target {name}" for name in takers),
        )


def reference_target() -> str:
    """Name of the target that runs the FP32 export as a reference: the best that is installed."""
    return next((name for name in REFERENCES if find_target(name).installed), REFERENCES[-1])
