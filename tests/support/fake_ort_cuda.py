"""A machine with a GPU and ``onnxruntime-gpu``, which are not there.

The driver is that of :mod:`fake_driver`. The package is the one that is installed, with a CUDA
provider that computes on the CPU: a run is given to the stream, and reads and writes the memory of
the fake GPU when the stream gets there. What ONNX Runtime leaves to its caller is checked: options
that the provider does not have, a session used by two threads at once, addresses that a recorded
graph does not know.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from fake_driver import FakeDriver, FakeGpuModel
from kernels_on_fake_gpu import teach

from mahtrt.cuda import bindings
from mahtrt.cuda.probe import CudaProbe
from mahtrt.targets.onnxruntime_cuda import findings, libraries, profile, run
from mahtrt.targets.target import Host

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
H200 = CudaProbe(
    "13.0",
    ("NVIDIA H200 (SM 9.0)",),
    names=("NVIDIA H200",),
    capabilities=("SM90",),
    driver="580.65.06",
)
VERSIONS = {"onnxruntime-gpu": onnxruntime.__version__, "cuda-bindings": "13.0.3"}
# Of ONNX Runtime's CUDAProviderOptions.
OPTIONS = frozenset(
    {"device_id", "user_compute_stream", "gpu_mem_limit", "arena_extend_strategy", "use_tf32"}
    | {"cudnn_conv_algo_search", "do_copy_in_default_stream", "enable_cuda_graph", "prefer_nhwc"}
)
NO_FALLBACK = "fallback to CPU EP has been explicitly disabled by the user."


class FailError(Exception):
    """As those of ONNX Runtime: derived from Exception alone."""


class Options:
    """``SessionOptions`` that can be looked at."""

    def __init__(self) -> None:
        self.__dict__["real"] = onnxruntime.SessionOptions()
        self.__dict__["entries"] = {}

    def add_session_config_entry(self, key: str, value: str) -> None:
        self.entries[key] = value
        if key != "session.disable_cpu_ep_fallback":
            self.real.add_session_config_entry(key, value)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.real, name, value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["real"], name)


class FakeOrt:
    """The package; see above.

    Attributes:
        loads: Whether the provider's library can be loaded.
        not_taken: Nodes (operator, name) that the provider does not take.
        no_graph: Why a session refuses to record a graph, "" where it does not.
        fails: What the next run raises; "" for nothing.
        sessions: Every session on the GPU, in order.
        while_running: Called in the middle of each run.
    """

    __version__ = onnxruntime.__version__

    def __init__(self, driver: FakeDriver) -> None:
        self.driver = driver
        self.loads, self.not_taken = True, list[tuple[str, str]]()
        self.no_graph, self.fails = "", ""
        self.sessions: list[Session] = []
        self.while_running: Callable[[], None] = lambda: None
        self.SessionOptions, self.RunOptions = Options, RunOptions

    def InferenceSession(  # noqa: N802
        self, source: Any, given: Options, providers: Sequence[Any], enable_fallback: int = 1
    ) -> Any:
        if list(providers) == [CPU]:
            return onnxruntime.InferenceSession(source, given.real, providers=[CPU])
        assert enable_fallback == 0, "an error would be printed"
        ((name, options),) = providers
        assert name == CUDA
        assert set(options) <= OPTIONS, set(options) - OPTIONS
        strict = given.entries.get("session.disable_cpu_ep_fallback") == "1"
        if options["enable_cuda_graph"] == "1" and self.no_graph and self.loads:
            raise FailError(self.no_graph)
        if strict and (self.not_taken or not self.loads):
            raise FailError(f"This session contains graph nodes …, but {NO_FALLBACK}\nmore")
        real = onnxruntime.InferenceSession(source, given.real, providers=[CPU])
        self.sessions.append(Session(self, real, options))
        return self.sessions[-1]

    def __getattr__(self, name: str) -> Any:
        return getattr(onnxruntime, name)


class RunOptions:
    def __init__(self) -> None:
        self.entries: dict[str, str] = {}

    def add_run_config_entry(self, key: str, value: str) -> None:
        self.entries[key] = value


class Binding:
    def __init__(self) -> None:
        self.inputs: dict[str, tuple[int, tuple[int, ...]]] = {}
        self.outputs: dict[str, tuple[int, tuple[int, ...]]] = {}

    def bind_input(self, name: str, kind: str, device: int, dtype: Any, *place: Any) -> None:
        self.inputs[name] = _place(kind, device, dtype, place)

    def bind_output(self, name: str, kind: str, device: int, dtype: Any, *place: Any) -> None:
        self.outputs[name] = _place(kind, device, dtype, place)

    @property
    def addresses(self) -> list[int]:
        return [address for address, _ in (*self.inputs.values(), *self.outputs.values())]


def _place(kind: str, device: int, dtype: Any, place: Any) -> tuple[int, tuple[int, ...]]:
    assert (kind, device, dtype) == ("cuda", 0, np.float32)
    shape, address = place
    return address, tuple(shape)


class Session:
    """``InferenceSession`` on the GPU.

    Attributes:
        runs: How many runs there were.
        replays: How many of them played a recorded graph.
        threads: Those that used it.
    """

    def __init__(self, of: FakeOrt, real: Any, options: dict[str, str]) -> None:
        self.of, self.real, self.options = of, real, options
        self.graph = options["enable_cuda_graph"] == "1"
        self.runs = self.replays = 0
        self.threads: dict[int, list[int]] = {}
        self._busy = threading.Lock()

    def get_providers(self) -> list[str]:
        return [CUDA, CPU] if self.of.loads else [CPU]

    def get_provider_graph_assignment_info(self) -> list[Any]:
        nodes = [SimpleNamespace(op_type=kind, name=name) for kind, name in self.of.not_taken]
        conv = SimpleNamespace(op_type="Conv", name="stem")
        return [
            SimpleNamespace(ep_name=CUDA, get_nodes=lambda: [conv]),
            SimpleNamespace(ep_name=CPU, get_nodes=lambda: nodes),
        ]

    def io_binding(self) -> Binding:
        return Binding()

    def run_with_iobinding(self, binding: Binding, options: RunOptions) -> None:
        assert self._busy.acquire(blocking=False), "a session used by two threads at once"
        try:
            self.of.while_running()
            fails, self.of.fails = self.of.fails, ""
            if fails:
                raise FailError(fails)
            self._give(binding, options)
        finally:
            self._busy.release()

    def _give(self, binding: Binding, options: RunOptions) -> None:
        assert options.entries["disable_synchronize_execution_providers"] == "1"
        driver, thread = self.of.driver, threading.get_ident()
        self.runs += 1
        recorded = self.graph and options.entries.get("gpu_graph_id") != "-1"
        if recorded and thread in self.threads:
            assert self.threads[thread] == binding.addresses, "a graph of other addresses"
            self.replays += 1
        self.threads.setdefault(thread, binding.addresses)

        def work() -> None:
            memory = driver.memory
            feed = {
                name: memory.array(address, shape, np.float32).copy()
                for name, (address, shape) in binding.inputs.items()
            }
            found = self.real.run(list(binding.outputs), feed)
            for array, (address, shape) in zip(found, binding.outputs.values(), strict=True):
                memory.array(address, shape, np.float32)[...] = array

        driver.submit(int(self.options["user_compute_stream"]), work, binding.addresses)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["real"], name)


class OrtGpu:
    """Puts both in place of what is installed.

    Attributes:
        driver: The fake driver; :meth:`FakeDriver.check` says whether all was well.
        ort: The fake package.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.driver = FakeDriver(gpus=(FakeGpuModel(),))
        teach(self.driver, "preprocess")
        self.ort = FakeOrt(self.driver)

        def open_device(*, needed_for: str) -> Any:
            return bindings.open_device(needed_for=needed_for, driver=self.driver)

        host = Host(VERSIONS.get, lambda name: True, lambda: H200)
        monkeypatch.setitem(__import__("sys").modules, "onnxruntime", self.ort)
        monkeypatch.setattr(findings, "Host", lambda: host)
        monkeypatch.setattr(libraries, "cuda_major", lambda: 13)
        monkeypatch.setattr(libraries, "load_libraries", lambda major: ())
        monkeypatch.setattr(run, "open_device", open_device)
        monkeypatch.setattr(profile, "run_child", profile.main)
