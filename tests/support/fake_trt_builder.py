"""The builder, its config, the timing cache and the plans of the fake TensorRT."""

from __future__ import annotations

import enum
import json
import time
from typing import Any

from fake_trt_base import (
    CACHE_MAGIC,
    PLAN_MAGIC,
    FakeState,
    IHostMemory,
    Strict,
    check_bound,
    check_enum,
)
from fake_trt_network import ITensor


def add_config(trt: Any, state: FakeState, *, rtx: bool) -> None:
    class ITimingCache:
        def __init__(self, entries: dict[str, str]) -> None:
            self.entries = entries

        def serialize(self) -> IHostMemory:
            text = json.dumps({"version": trt.__version__, "entries": self.entries})
            return IHostMemory(CACHE_MAGIC + text.encode())

        def combine(self, input_cache: Any, ignore_mismatch: bool) -> bool:
            state.calls.append(("ITimingCache.combine", (ignore_mismatch,)))
            self.entries.update(input_cache.entries)
            return True

        def reset(self) -> bool:
            self.entries.clear()
            return True

    class IBuilderConfig(Strict):
        ATTRIBUTES = (
            "builder_optimization_level",
            "profiling_verbosity",
            "hardware_compatibility_level",
            "progress_monitor",
            "max_aux_streams",
            "avg_timing_iterations",
            "engine_capability",
            "runtime_platform",
            "tiling_optimization_level",
            *(("num_compute_capabilities",) if rtx else ()),
        )

        def __init__(self) -> None:
            self.builder_optimization_level, self.max_aux_streams = 3, -1
            self.profiling_verbosity = trt.ProfilingVerbosity.LAYER_NAMES_ONLY
            self.hardware_compatibility_level = trt.HardwareCompatibilityLevel.NONE
            self.progress_monitor = None
            self.avg_timing_iterations = 1
            self._limits: dict[Any, int] = {}
            self._flags: set[Any] = set()
            self._cache: Any = None
            self._capabilities: dict[int, Any] = {}
            if rtx:
                self.num_compute_capabilities = 0

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if name == "progress_monitor" and value is not None:
                check_bound(value, trt.IProgressMonitor)
            if not name.startswith("_"):
                state.calls.append((f"IBuilderConfig.{name}", (_plain(value),)))

        def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
            check_enum(pool, trt.MemoryPoolType)
            state.calls.append(("IBuilderConfig.set_memory_pool_limit", (pool.name, pool_size)))
            self._limits[pool] = pool_size

        def get_memory_pool_limit(self, pool: Any) -> int:
            return self._limits.get(pool, 2**40)

        def set_flag(self, flag: Any) -> None:
            check_enum(flag, trt.BuilderFlag)
            state.calls.append(("IBuilderConfig.set_flag", (flag.name,)))
            self._flags.add(flag)

        def clear_flag(self, flag: Any) -> None:
            check_enum(flag, trt.BuilderFlag)
            state.calls.append(("IBuilderConfig.clear_flag", (flag.name,)))
            self._flags.discard(flag)

        def get_flag(self, flag: Any) -> bool:
            return flag in self._flags

        def set_preview_feature(self, feature: Any, enable: bool) -> None:
            check_enum(feature, trt.PreviewFeature)

        def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
            data = bytes(serialized_timing_cache)
            state.calls.append(("IBuilderConfig.create_timing_cache", (len(data),)))
            if not data:
                return ITimingCache({})
            try:
                record = json.loads(data.removeprefix(CACHE_MAGIC))
            except ValueError:
                record = {}
            if record.get("version") != trt.__version__:
                return None
            return ITimingCache(record["entries"])

        def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
            state.calls.append(("IBuilderConfig.set_timing_cache", (ignore_mismatch,)))
            if state.refuse_timing_cache:
                return False
            self._cache = cache
            return True

        def get_timing_cache(self) -> Any:
            return self._cache

    if rtx:

        def set_compute_capability(self: Any, capability: Any, index: int) -> bool:
            check_enum(capability, trt.ComputeCapability)
            state.calls.append(("IBuilderConfig.set_compute_capability", (capability.name, index)))
            self._capabilities[index] = capability
            return index < self.num_compute_capabilities

        IBuilderConfig.set_compute_capability = set_compute_capability  # type: ignore[attr-defined]

    trt.ITimingCache, trt.IBuilderConfig = ITimingCache, IBuilderConfig


def _plain(value: Any) -> Any:
    return value.name if isinstance(value, enum.Enum) else value


def add_builder(trt: Any, state: FakeState) -> None:
    class Builder(Strict):
        ATTRIBUTES = ("max_threads", "logger")

        def __init__(self, logger: Any) -> None:
            check_bound(logger, trt.ILogger)
            state.calls.append(("Builder", ()))
            self.logger, self.max_threads = logger, 1

        def create_network(self, flags: int = 0) -> Any:
            state.calls.append(("Builder.create_network", (flags,)))
            return trt.INetworkDefinition(flags)

        def create_builder_config(self) -> Any:
            return trt.IBuilderConfig()

        def build_serialized_network(self, network: Any, config: Any) -> IHostMemory | None:
            state.calls.append(("Builder.build_serialized_network", ()))
            return self._build(network, config)

        def build_serialized_network_to_stream(
            self, network: Any, config: Any, writer: Any
        ) -> bool:
            state.calls.append(("Builder.build_serialized_network_to_stream", ()))
            check_bound(writer, trt.IStreamWriter)
            plan = self._build(network, config)
            if plan is None:
                return False
            middle = len(plan) // 2
            parts = (bytes(plan[:middle]), bytes(plan[middle:]))
            return all(writer.write(part) == len(part) for part in parts)

        def _build(self, network: Any, config: Any) -> IHostMemory | None:
            dynamic = [each.name for each in network._inputs if -1 in each.shape]
            if dynamic:
                state.build_errors.append(
                    ("ERROR", f"Network has dynamic input {dynamic[0]} but no optimization profile")
                )
            if state.build_errors:
                severity, text = state.build_errors.pop(0)
                self.logger.log(getattr(trt.ILogger, severity), text)
                return None
            if not _report(config.progress_monitor, network.num_layers, state.build_seconds):
                self.logger.log(trt.ILogger.ERROR, "Engine build was cancelled")
                return None
            if config._cache is not None:
                config._cache.entries[network._digest] = "tactic"
            return IHostMemory(PLAN_MAGIC + json.dumps(_plan(trt, network, config)).encode())

    trt.Builder = Builder


def _report(monitor: Any, layers: int, seconds: float) -> bool:
    """Drive a progress monitor through two nested phases; False when it cancels."""
    if monitor is None:
        time.sleep(seconds)
        return True
    inner = {"Preparing graph for optimization": layers, "Timing tactics": 2}
    monitor.phase_start("Building engine", None, len(inner))
    for index, (phase, steps) in enumerate(inner.items()):
        monitor.phase_start(phase, "Building engine", steps)
        for step in range(steps):
            time.sleep(seconds / (layers + 2))
            if not monitor.step_complete(phase, step):
                monitor.phase_finish(phase)
                monitor.phase_finish("Building engine")
                return False
        monitor.phase_finish(phase)
        if not monitor.step_complete("Building engine", index):
            monitor.phase_finish("Building engine")
            return False
    monitor.phase_finish("Building engine")
    return True


def _plan(trt: Any, network: Any, config: Any) -> dict[str, Any]:
    def port(tensor: ITensor) -> dict[str, Any]:
        return {"name": tensor.name, "shape": list(tensor.shape), "dtype": tensor.dtype.name}

    return {
        "version": trt.__version__,
        "strongly_typed": network.get_flag(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED),
        "inputs": [port(each) for each in network._inputs],
        "outputs": [port(each) for each in network._outputs],
        "layers": [
            {
                "name": each.name,
                "type": each.type.name,
                "inputs": each._inputs,
                "outputs": each._outputs,
            }
            for each in network._layers
        ],
        "verbosity": config.profiling_verbosity.name,
        "optimization_level": config.builder_optimization_level,
        "hardware_compatibility": config.hardware_compatibility_level.name,
        "capabilities": [each.name for _, each in sorted(config._capabilities.items())],
    }
