"""What stands between this machine and TensorRT engines: driver, package, version or card.

Only package metadata and what the CUDA driver said are looked at. No TensorRT object is made, and
no TensorRT is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mahtrt.machine import CudaProbe
from mahtrt.targets.tensorrt.flavours import FLAVOURS, Flavour

# The compute capabilities that TensorRT-RTX has kernels for. Its own list would cost an import of
# some hundred megabytes; a test compares them.
RTX_CAPABILITIES = ("SM75", "SM80", "SM86", "SM89", "SM120", "SM121")
# The distributions of a flavour, each under its names.
_DISTRIBUTIONS = {
    "tensorrt": (("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),),
    "tensorrt-rtx": (("tensorrt-rtx-cu13-libs",), ("tensorrt-rtx-cu13-bindings",)),
}
NO_DRIVER = "Needs a machine with an NVIDIA GPU and its driver; no package can bring it."

Lookup = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether something can be done here: what was found, and what to do where it cannot."""

    able: bool
    detail: str
    fix: str = ""


def can_build_without_gpu(version_of: Lookup, has_module: Callable[[str], bool]) -> Verdict:
    """Whether TensorRT-RTX, which needs neither GPU nor driver to build, is here."""
    flavour = FLAVOURS["tensorrt-rtx"]
    package = _package(flavour, version_of, has_module)
    if not package.able:
        detail = f"no: {package.detail}; needs neither GPU nor driver"
        return Verdict(False, detail, package.fix)
    return Verdict(True, f"yes, for RTX GPUs, without one ({package.detail})")


def can_run(
    name: str, cuda: CudaProbe, version_of: Lookup, has_module: Callable[[str], bool]
) -> Verdict:
    """Whether engines of a flavour run here; the enterprise flavour then also builds here.

    Args:
        name: Of the flavour.
        cuda: What the driver said.
        version_of: Version of an installed distribution, or None.
        has_module: Whether an import would find a module.
    """
    flavour = FLAVOURS[name]
    package = _package(flavour, version_of, has_module)
    if cuda.problem:
        installed = f"; {package.detail} is installed" if package.able else ""
        return Verdict(False, f"no: {cuda.problem}{installed}", NO_DRIVER)
    devices = ", ".join(cuda.devices)
    if not package.able:
        return Verdict(False, f"no: the driver sees {devices}, but {package.detail}", package.fix)
    if name == "tensorrt-rtx" and not set(cuda.capabilities[:1]) & set(RTX_CAPABILITIES):
        detail = f"no: {package.detail} has no kernels for {devices}"
        return Verdict(False, detail, "Use target tensorrt on this card.")
    return Verdict(True, f"yes, on {devices} ({package.detail})")


def _package(flavour: Flavour, version_of: Lookup, has_module: Callable[[str], bool]) -> Verdict:
    """Whether the packages of a flavour are here, in versions that mahtrt knows."""
    install = f"pip install 'mahtrt[{flavour.extra}]'"
    versions = [
        next((version for name in names if (version := version_of(name))), None)
        for names in _DISTRIBUTIONS[flavour.name]
    ]
    found = [version for version in versions if version is not None]
    if len(found) < len(versions):
        return Verdict(False, f"{flavour.title} is not installed", install)
    outside = [version for version in found if not flavour.supports(version)]
    if outside:
        detail = f"{flavour.title} {outside[0]} is not one of {flavour.versions}"
        return Verdict(False, detail, install)
    if not has_module(flavour.module):
        detail = f"{flavour.title} {found[0]} is installed without its module {flavour.module}"
        return Verdict(False, detail, install)
    return Verdict(True, f"{flavour.title} {found[0]}")
