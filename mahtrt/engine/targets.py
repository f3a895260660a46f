"""The table of targets: which builder makes an engine and which backend runs it.

The entries are strings, resolved on use, so that looking at the table imports no runtime.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

from mahtrt.benchmarks.machine import probe_cuda
from mahtrt.errors import UsageError, require


@dataclass(frozen=True, slots=True)
class Target:
    """One way to run a network.

    Attributes:
        builder: ``module:function`` with the signature of
            :func:`mahtrt.engine.openvino.build_engine`.
        backend: ``module:class`` with the classmethod ``open`` of
            :class:`mahtrt.runtime.openvino.OpenVinoBackend`.
        package: Import name of what it needs.
        extra: The extra of mahtrt that brings the package, "" for a core dependency.
        precisions: What it builds.
        typed: Computes in the types that the graph declares, so a half-precision engine needs a
            half-precision graph.
        needs_gpu: Its engines run on an NVIDIA GPU alone.
    """

    name: str
    builder: str
    backend: str
    package: str
    precisions: tuple[str, ...]
    extra: str = ""
    typed: bool = False
    needs_gpu: bool = False

    @property
    def installed(self) -> bool:
        """Whether the package is there (it is not imported)."""
        return importlib.util.find_spec(self.package) is not None

    @property
    def runs_here(self) -> bool:
        """Whether its engines can be expected to run on this machine."""
        return self.installed and (not self.needs_gpu or bool(probe_cuda().devices))

    def require(self) -> None:
        """Raises MissingComponentError where the package is missing."""
        require(self.package, extra=self.extra, needed_for=f"target {self.name}")

    def load_builder(self) -> Any:
        """The function that builds an engine."""
        return self._load(self.builder)

    def load_backend(self) -> Any:
        """The class that runs an engine."""
        return self._load(self.backend)

    def _load(self, reference: str) -> Any:
        self.require()
        module, _, attribute = reference.partition(":")
        return getattr(importlib.import_module(module), attribute)


TARGETS = {
    target.name: target
    for target in (
        Target(
            name="openvino",
            builder="mahtrt.engine.openvino:build_engine",
            backend="mahtrt.runtime.openvino:OpenVinoBackend",
            package="openvino",
            precisions=("fp32", "bf16", "int8"),
        ),
        Target(
            name="onnxruntime",
            builder="mahtrt.engine.onnxruntime:build_engine",
            backend="mahtrt.runtime.onnxruntime:OnnxRuntimeBackend",
            package="onnxruntime",
            precisions=("fp32", "fp16", "bf16", "int8"),
            extra="cpu",
        ),
        Target(
            name="tensorrt",
            builder="mahtrt.engine.tensorrt:build_enterprise",
            backend="mahtrt.runtime.tensorrt:TensorRtBackend",
            package="tensorrt",
            precisions=("fp32", "fp16", "bf16", "int8"),
            extra="tensorrt",
            typed=True,
            needs_gpu=True,
        ),
        Target(
            name="tensorrt-rtx",
            builder="mahtrt.engine.tensorrt:build_rtx",
            backend="mahtrt.runtime.tensorrt:TensorRtBackend",
            package="tensorrt_rtx_bindings",
            precisions=("fp32", "fp16", "bf16", "int8"),
            extra="tensorrt-rtx",
            typed=True,
            needs_gpu=True,
        ),
    )
}


def find_target(name: str) -> Target:
    """A target by name.

    Raises:
        UsageError: There is none of that name; the message lists them.
    """
    if name not in TARGETS:
        raise UsageError(
            f"target {name!r}", got="no such target", expected=f"one of {', '.join(TARGETS)}"
        )
    return TARGETS[name]
