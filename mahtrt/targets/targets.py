"""The table of targets: which builder makes an engine and which backend runs it.

The entries are strings, resolved on use, so that looking at the table imports no runtime.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

from mahtrt.errors import UsageError, require
from mahtrt.machine import package_version, probe_cuda
from mahtrt.targets.tensorrt.flavours import find_flavour, load_flavour
from mahtrt.targets.tensorrt.presence import can_run


@dataclass(frozen=True, slots=True)
class Target:
    """One way to run a network.

    Attributes:
        builder: ``module:function`` with the signature of
            :func:`mahtrt.targets.openvino.build.build_engine`.
        backend: ``module:class`` with the classmethod ``open`` of
            :class:`mahtrt.targets.openvino.run.OpenVinoBackend`.
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
        return _has_module(self.package)

    @property
    def runs_here(self) -> bool:
        """Whether its engines can be expected to run on this machine."""
        if not self.needs_gpu:
            return self.installed
        return can_run(self.name, probe_cuda(), package_version, _has_module).able

    def require(self) -> None:
        """Raises MissingComponentError where the package is missing or cannot be used."""
        if self.typed:
            load_flavour(find_flavour(self.name))
            return
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


def _has_module(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


TARGETS = {
    target.name: target
    for target in (
        Target(
            name="openvino",
            builder="mahtrt.targets.openvino.build:build_engine",
            backend="mahtrt.targets.openvino.run:OpenVinoBackend",
            package="openvino",
            precisions=("fp32", "bf16", "int8"),
        ),
        Target(
            name="onnxruntime",
            builder="mahtrt.targets.onnxruntime.build:build_engine",
            backend="mahtrt.targets.onnxruntime.run:OnnxRuntimeBackend",
            package="onnxruntime",
            precisions=("fp32", "fp16", "bf16", "int8"),
            extra="cpu",
        ),
        Target(
            name="tensorrt",
            builder="mahtrt.targets.tensorrt.build:build_enterprise",
            backend="mahtrt.targets.tensorrt.run:TensorRtBackend",
            package="tensorrt",
            precisions=("fp32", "fp16", "bf16", "int8"),
            extra="tensorrt",
            typed=True,
            needs_gpu=True,
        ),
        Target(
            name="tensorrt-rtx",
            builder="mahtrt.targets.tensorrt.build:build_rtx",
            backend="mahtrt.targets.tensorrt.run:TensorRtBackend",
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
