"""TensorRT on a machine without a GPU, as the enterprise package or as TensorRT-RTX.

Real are the parser, the network, the builder's settings, the enumerations and the classes to derive
from: TensorRT-RTX's, which need neither GPU nor driver. Not real are what the builder makes, a JSON
text that says what was asked for, and what runs it (``fake_trt_runtime``), by ONNX Runtime.

Nothing passes :class:`Shared` that the official bindings 10.16.1.11 and 11.4.0.106 do not both have
(``tensorrt_api.json``), so a call that only one of them knows fails the test that comes by it.
"""

from __future__ import annotations

import hashlib
import json
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
from fake_driver import FakeDriver
from fake_trt_runtime import Runtime, compute

API = json.loads(Path(__file__).with_name("tensorrt_api.json").read_text(encoding="utf-8"))
# What only TensorRT-RTX has: its engines are built for capabilities that the caller chooses.
RTX_ONLY = {"num_compute_capabilities", "set_compute_capability"}
PLAN_MAGIC = b"FAKEPLAN"


@dataclass
class FakeState:
    """What was done with a fake, and what it is to do.

    Attributes:
        calls: Every call as (name, arguments), e.g. ``("IBuilderConfig.clear_flag", ("TF32",))``.
        driver: Whether a CUDA driver is there. Without one a Runtime may crash a real process.
        runtimes: How many Runtime objects were made.
        build_errors: The next build logs the first of these and returns None.
        models: SHA-256 of each ONNX that was parsed, in order, to it; plans name theirs by that.
        gpu: The driver on whose streams inferences are done; without one they are done at once.
        on_enqueue: Called with the context by ``execute_async_v3``; returns its bool.
        on_execute: Called with the context when the stream gets there, instead of ONNX Runtime.
        layer_ms: Takes a layer's record, gives the time that a profiler is told.
    """

    rtx: bool
    driver: bool = True
    calls: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    runtimes: int = 0
    build_errors: list[str] = field(default_factory=list)
    models: dict[str, bytes] = field(default_factory=dict)
    gpu: FakeDriver | None = None
    on_enqueue: Callable[[Any], bool] = lambda context: True
    on_execute: Callable[[Any], object] = compute
    layer_ms: Callable[[dict[str, Any]], float] = lambda layer: 0.125
    infer_shapes_missing: list[str] = field(default_factory=list)
    refuse_timing_cache: bool = False
    refuse_contexts: bool = False

    def called(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of each call of that name."""
        return [arguments for each, arguments in self.calls if each == name]


class Shared:
    """An object of TensorRT's, of which only the shared names can be used; calls are noted."""

    def __init__(self, inner: Any, state: FakeState) -> None:
        object.__setattr__(self, "inner", inner)
        object.__setattr__(self, "state", state)

    def __getattr__(self, name: str) -> Any:
        name, called = self._checked(name)
        value = getattr(self.inner, name)
        if not callable(value) or name.startswith("_"):
            return _wrapped(value, self.state)

        def call(*arguments: Any, **options: Any) -> Any:
            self.state.calls.append((called, tuple(map(_plain, (*arguments, *options.values())))))
            options = {key: _bare(each) for key, each in options.items()}
            return _wrapped(value(*map(_bare, arguments), **options), self.state)

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        name, called = self._checked(name)
        self.state.calls.append((called, (_plain(value),)))
        setattr(self.inner, name, _bare(value))

    def _checked(self, name: str) -> tuple[str, str]:
        kind = type(self.inner).__name__
        shared = name in API[kind]["members"] or (self.state.rtx and name in RTX_ONLY)
        if not shared and not name.startswith("_"):
            raise AttributeError(f"{kind} has no {name} in both 10.16 and 11.4")
        return name, f"{kind}.{name}"


def _wrapped(value: Any, state: FakeState) -> Any:
    ours = "members" in API.get(type(value).__name__, {}) and not isinstance(value, bytearray)
    return Shared(value, state) if ours else value


def _bare(value: Any) -> Any:
    return value.inner if isinstance(value, Shared) else value


def _plain(value: Any) -> Any:
    return getattr(value, "name", value)


def make_fake(version: str) -> Any:
    """A module-like object that stands in for ``import tensorrt``.

    Args:
        version: ``10.16.1`` or ``11.4.0``; a version that starts with 1. is TensorRT-RTX.
    """
    real = pytest.importorskip("tensorrt_rtx_bindings", reason="needs the extra tensorrt-rtx")
    major = int(version.partition(".")[0])
    module = "tensorrt_rtx_bindings" if major == 1 else "tensorrt"
    trt: Any = types.ModuleType(module)
    trt.__spec__ = ModuleSpec(module, None, origin="fake")  # importlib.util.find_spec wants one
    trt.__version__ = version
    trt.state = state = FakeState(rtx=major == 1)
    for name, entry in API.items():
        kind = getattr(real, name, None)
        if kind is not None and "enum" in entry:
            names = [each for each in entry["enum"] if hasattr(kind, each)]
            setattr(trt, name, types.SimpleNamespace(**{n: getattr(kind, n) for n in names}))
    # 10.x still counts EXPLICIT_BATCH, which has no name there.
    typed = 1 if major == 10 else 0
    trt.NetworkDefinitionCreationFlag = types.SimpleNamespace(STRONGLY_TYPED=typed)
    if major == 1:
        trt.ComputeCapability = real.ComputeCapability
    for name in ("ILogger", "Logger", "IProgressMonitor", "IProfiler"):
        setattr(trt, name, getattr(real, name))
    trt.Builder = lambda logger: Shared(Builder(real, trt, logger), state)
    trt.OnnxParser = lambda network, logger: Shared(
        OnnxParser(real.OnnxParser(_bare(network), logger), state), state
    )
    inputs_key = "I/O Tensors" if major == 11 else "Bindings"
    trt.Runtime = lambda logger: Shared(Runtime(trt, logger, inputs_key), state)
    return trt


class OnnxParser:
    """The real parser, and a note of what it read."""

    def __init__(self, parser: Any, state: FakeState) -> None:
        self._parser, self._state = parser, state

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def parse_from_file(self, path: str) -> bool:
        return self.parse(Path(path).read_bytes())

    def parse(self, model: bytes) -> bool:
        digest = hashlib.sha256(model).hexdigest()
        self._state.models.pop(digest, None)  # the last one is what is built
        self._state.models[digest] = model
        return bool(self._parser.parse(model))


class Builder:
    """Real but for its plans, which are JSON."""

    def __init__(self, real: Any, trt: Any, logger: Any) -> None:
        self._real, self._trt, self._logger = real, trt, logger
        self._builder = real.Builder(logger)
        self.max_threads = 1

    def create_network(self, flags: int = 0) -> Any:
        assert flags == 1 << int(self._trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        own = self._real.NetworkDefinitionCreationFlag.STRONGLY_TYPED
        return self._builder.create_network(1 << int(own))

    def create_builder_config(self) -> Any:
        return IBuilderConfig(self._builder.create_builder_config(), self._trt)

    def build_serialized_network(self, network: Any, config: Any) -> IHostMemory | None:
        if self._trt.state.build_errors:
            self._logger.log(self._trt.ILogger.ERROR, self._trt.state.build_errors.pop(0))
            return None
        if config._timings is not None:
            config._timings.entries["network"] = "tactic"
        record = {
            "onnx": list(self._trt.state.models)[-1],
            "inputs": [_tensor(network.get_input(i)) for i in range(network.num_inputs)],
            "outputs": [_tensor(network.get_output(i)) for i in range(network.num_outputs)],
            "layers": [_layer(network.get_layer(i)) for i in range(network.num_layers)],
            "profiling_verbosity": _plain(config._settings.get("profiling_verbosity")),
        }
        return IHostMemory(PLAN_MAGIC + json.dumps(record).encode())


def _tensor(tensor: Any) -> dict[str, Any]:
    return {"name": tensor.name, "shape": list(tensor.shape), "dtype": tensor.dtype.name}


def _layer(layer: Any) -> dict[str, Any]:
    return {
        "name": layer.name,
        "type": layer.type.name,
        "inputs": [layer.get_input(i).name for i in range(layer.num_inputs)],
        "outputs": [layer.get_output(i).name for i in range(layer.num_outputs)],
    }


class IHostMemory(bytearray):
    """A buffer with ``nbytes``, as the builder and the timing cache give it."""

    @property
    def nbytes(self) -> int:
        return len(self)


class IBuilderConfig:
    """Real settings, but for kernel timings, which TensorRT-RTX does not keep."""

    def __init__(self, real: Any, trt: Any) -> None:
        vars(self).update(_real=real, _trt=trt, _settings={}, _timings=None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._settings[name] = value
        if name != "hardware_compatibility_level":  # another flavour's
            setattr(self._real, name, value)

    def create_timing_cache(self, data: bytes) -> ITimingCache | None:
        try:
            record = json.loads(data) if data else {"version": self._trt.__version__, "entries": {}}
        except ValueError:
            return None
        same = record["version"] == self._trt.__version__
        return ITimingCache(record["version"], record["entries"]) if same else None

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        if self._trt.state.refuse_timing_cache:
            return False
        vars(self)["_timings"] = cache
        return True

    def get_timing_cache(self) -> Any:
        return self._timings


@dataclass
class ITimingCache:
    version: str
    entries: dict[str, str]

    def serialize(self) -> IHostMemory:
        return IHostMemory(json.dumps(vars(self)).encode())

    def combine(self, other: Any, ignore_mismatch: bool) -> bool:
        self.entries.update(other.entries)
        return True
