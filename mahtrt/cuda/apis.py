"""The packages that can call the CUDA driver for us, and which of them does."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from mahtrt.cuda.device import CudaDevice
from mahtrt.cuda.probe import missing_gpu, probe_cuda
from mahtrt.errors import MissingComponentError, UsageError


@dataclass(frozen=True, slots=True)
class _Api:
    """One of them.

    Attributes:
        package: What has to be importable.
        extra: The extra of mahtrt that brings it.
        module: Where its ``open_device(needed_for=…, ordinal=…)`` is.
    """

    package: str
    extra: str
    module: str


# The first that is installed is taken.
APIS = {
    "cuda-bindings": _Api("cuda.bindings", "gpu", "mahtrt.cuda.bindings"),
    "pycuda": _Api("pycuda", "pycuda", "mahtrt.cuda.pycuda_device"),
}


def open_device(*, needed_for: str, ordinal: int = 0, api: str = "auto") -> CudaDevice:
    """Retain the primary context of a GPU, through the package that is there.

    Args:
        needed_for: What the GPU is wanted for, for the message.
        ordinal: Its number among those that the process sees.
        api: ``cuda-bindings``, ``pycuda``, or ``auto`` for the first of them that is installed.

    Raises:
        MissingComponentError: There is no driver, no such device, or no package.
        UsageError: An API that is not known.
        CudaError: The driver refuses the context.
    """
    if api != "auto" and api not in APIS:
        known = ", ".join(("auto", *APIS))
        raise UsageError("CUDA API", got=api, expected=known)
    problem = probe_cuda().problem
    if problem:
        raise missing_gpu(needed_for, problem)
    name = api if api != "auto" else _installed(needed_for)
    opener = importlib.import_module(APIS[name].module).open_device
    return cast(Callable[..., CudaDevice], opener)(needed_for=needed_for, ordinal=ordinal)


def _installed(needed_for: str) -> str:
    for name, each in APIS.items():
        if _is_installed(each.package):
            return name
    ways = " or ".join(f"pip install 'mahtrt[{each.extra}]'" for each in APIS.values())
    raise MissingComponentError(
        needed_for,
        got=f"no Python package {' or '.join(APIS)}",
        expected="one that calls the CUDA driver",
        fix=f"Install one: {ways}.",
    )


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # the parent is not there
        return False
