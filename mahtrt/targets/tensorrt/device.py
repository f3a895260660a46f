"""What a TensorRT build is for: the GPU in this machine, or compute capabilities that are named."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from typing import Any

from mahtrt.cuda.probe import CudaProbe
from mahtrt.errors import MissingComponentError
from mahtrt.targets.tensorrt.flavours import Flavour
from mahtrt.targets.tensorrt.options import (
    DEFAULT_CAPABILITIES,
    TensorRtOptions,
    check_capabilities,
    known_capabilities,
)


@dataclass(frozen=True, slots=True)
class BuildDevice:
    """What the engine is for.

    Attributes:
        gpu: The card here that can run the engine; None where there is none.
        capabilities: Such as ``("SM86",)``.
        driver: CUDA version of the driver, "" where the build does not use it.
        notes: What the user should know about the choice.
    """

    gpu: str | None
    capabilities: tuple[str, ...]
    driver: str
    notes: tuple[str, ...] = ()


def build_platform() -> str:
    """Operating system and architecture: ``linux_x86_64``."""
    return f"{sys.platform}_{platform.machine().lower()}"


def choose_device(
    flavour: Flavour, options: TensorRtOptions, trt: Any, probe: CudaProbe
) -> BuildDevice:
    """Decide what to build for.

    Args:
        trt: The flavour's package.
        probe: What the CUDA driver says.

    Raises:
        MissingComponentError: A GPU is needed to build, and there is none.
        UsageError: A compute capability is named that the package does not know.
    """
    if flavour.chooses_capabilities:
        return _named(options, known_capabilities(trt), probe)
    if not probe.devices:
        raise MissingComponentError(
            f"target {flavour.name}",
            got=probe.problem or "no CUDA device",
            expected="an NVIDIA GPU: TensorRT builds by timing kernels on it",
            fix="Build on a machine with the GPU that will run it, or for --target tensorrt-rtx.",
        )
    name, capability = probe.names[0], probe.capabilities[0]  # TensorRT takes CUDA's first
    return BuildDevice(name, (capability,), probe.version)


def _named(options: TensorRtOptions, known: tuple[str, ...], probe: CudaProbe) -> BuildDevice:
    name, here = (probe.names[0], probe.capabilities[0]) if probe.devices else (None, "")
    if options.compute_capabilities:
        chosen = check_capabilities(options.compute_capabilities, known)
    else:
        chosen = (here,) if here in known else DEFAULT_CAPABILITIES
    if not here or here in chosen:
        return BuildDevice(name, chosen, "")
    note = f"Built for {', '.join(chosen)}, which {name} here ({here}) cannot run."
    return BuildDevice(None, chosen, "", (note,))
