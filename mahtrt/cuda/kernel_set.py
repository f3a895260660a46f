"""The kernels of a device: each source is loaded once, and all are given back together."""

from __future__ import annotations

import contextlib
import threading

from mahtrt.cuda.compile import load_kernels
from mahtrt.cuda.device import CudaDevice, Function, Module


class KernelSet:
    """Kernels of ``mahtrt/cuda/kernels`` on a device. Its methods are called with it entered."""

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        self._modules: dict[str, Module] = {}
        self._functions: dict[tuple[str, str], Function] = {}
        self._lock = threading.Lock()

    def function(self, source: str, entry: str) -> Function:
        """A kernel by the name of its source, ``preprocess``, and its entry.

        The first of a source loads it, which must not happen while work is recorded.

        Raises:
            CudaError: The driver refuses the source, or it has no such entry.
        """
        with self._lock:
            if (source, entry) not in self._functions:
                if source not in self._modules:
                    self._modules[source], _ = load_kernels(self._device, source)
                self._functions[source, entry] = self._modules[source].function(entry)
            return self._functions[source, entry]

    def close(self) -> None:
        """Unload all; their work must be done. A second call does nothing.

        Raises:
            CudaError: The last of the errors, after everything was tried.
        """
        with self._lock, contextlib.ExitStack() as stack:
            for module in self._modules.values():
                stack.callback(module.unload)
            self._modules, self._functions = {}, {}
