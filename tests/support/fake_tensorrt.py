"""A stand-in for the enterprise TensorRT package: the API that 10.16 and 11.4 share, and no more.

``make_fake("10.16.1")`` and ``make_fake("11.4.0")`` differ as the real ones do for code that uses
the shared API: the integers behind the enums, and the key under which the engine inspector lists
the inputs and outputs. Nothing is computed: a plan is a JSON text that says what was asked for.

What the tests look at and turn, all on ``fake.state``:

    calls            every call as (name, arguments), e.g. ("Builder.create_network", (2,))
    runtimes         how many Runtime objects were made
    driver           False: making a Runtime fails the test, as it may crash a real process
    fail_parse(...)  the next parse fails with this error (once per call, in order)
    fail_build(...)  the next build logs this and returns None
    on_execute       called with the context by execute_async_v3; returns its bool
    layer_ms         takes a layer's record, gives the time that a profiler is told
    build_seconds    how long a build takes
"""

from __future__ import annotations

import types
from importlib.machinery import ModuleSpec
from typing import Any

from fake_trt_base import (
    API,
    REAL_INTEGERS,
    RTX_CAPABILITIES,
    FakeError,
    FakeState,
    IHostMemory,
    Overridable,
    PybindEnum,
    integers,
)
from fake_trt_builder import add_builder, add_config
from fake_trt_network import add_network
from fake_trt_runtime import add_runtime

__all__ = ["API", "FakeError", "FakeState", "make_fake"]


def make_fake(version: str = "10.16.1", *, driver: bool = True, plugin: Any = None) -> Any:
    """A module-like object that stands in for ``import tensorrt``.

    Args:
        version: ``10.16.1`` or ``11.4.0``; a version that starts with 1. is TensorRT-RTX.
        driver: Whether a CUDA driver is there.
        plugin: What ``tensorrt.plugin`` is to be; None leaves the attribute out.
    """
    module = "tensorrt_rtx_bindings" if version.startswith("1.") else "tensorrt"
    trt: Any = types.ModuleType(module)
    trt.__spec__ = ModuleSpec(module, None)  # importlib.util.find_spec wants one
    trt.__version__ = version
    trt.state = state = FakeState(driver=driver)
    major = int(version.split(".")[0])
    for name, entry in API.items():
        if "enum" in entry and name != "Severity":
            numbers = integers(name, entry["enum"], major)
            numbers = {k: v for k, v in numbers.items() if k in entry["enum"]}
            setattr(trt, name, PybindEnum(name, numbers))
    if major == 1:
        trt.ComputeCapability = PybindEnum("ComputeCapability", RTX_CAPABILITIES)
    if plugin is not None:
        trt.plugin = plugin
    severity = PybindEnum("Severity", REAL_INTEGERS["Severity"][major])
    add_logging(trt, severity)
    add_monitoring(trt)
    add_network(trt, state)
    add_config(trt, state, rtx=major == 1)
    add_builder(trt, state)
    add_runtime(trt, state, inputs_key="I/O Tensors" if major == 11 else "Bindings")
    trt.IHostMemory = IHostMemory
    trt.init_libnvinfer_plugins = lambda logger, namespace: True
    trt.get_nv_onnx_parser_version = lambda: int(version.replace(".", "")[:4])
    return trt


def add_logging(trt: Any, severity: Any) -> None:
    class ILogger(Overridable):
        Severity = severity
        INTERNAL_ERROR, ERROR = severity.INTERNAL_ERROR, severity.ERROR
        WARNING, INFO, VERBOSE = severity.WARNING, severity.INFO, severity.VERBOSE

        def log(self, severity: Any, msg: str) -> None:
            raise NotImplementedError

    class Logger(ILogger):
        def __init__(self, min_severity: Any = severity.WARNING) -> None:
            super().__init__()
            self.min_severity = min_severity
            self.messages: list[tuple[Any, str]] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity <= self.min_severity:
                self.messages.append((severity, msg))

    trt.ILogger, trt.Logger = ILogger, Logger


def add_monitoring(trt: Any) -> None:
    class IProgressMonitor(Overridable):
        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            raise NotImplementedError

        def step_complete(self, phase_name: str, step: int) -> bool:
            raise NotImplementedError

        def phase_finish(self, phase_name: str) -> None:
            raise NotImplementedError

    class IStreamWriter(Overridable):
        def write(self, data: bytes) -> int:
            raise NotImplementedError

    trt.IProgressMonitor, trt.IStreamWriter = IProgressMonitor, IStreamWriter
