"""What stands between this machine and TensorRT engines: driver, package, version or card.

Only package metadata and what the CUDA driver said are looked at. No TensorRT object is made, and
no TensorRT is imported.
"""

from __future__ import annotations

from mahtrt.cuda.probe import NEED_GPU
from mahtrt.targets.target import Finding, Host
from mahtrt.targets.tensorrt.flavours import Flavour


def can_build_without_gpu(flavour: Flavour, host: Host) -> Finding:
    """Whether a flavour that needs neither GPU nor driver to build is here."""
    package = _package(flavour, host)
    if not package.able:
        return Finding(False, f"{package.detail}; needs neither GPU nor driver", package.fix)
    return Finding(True, f"for RTX GPUs, without one ({package.detail})")


def can_run(flavour: Flavour, host: Host) -> Finding:
    """Whether engines of a flavour run here; the enterprise flavour then also builds here."""
    cuda, package = host.probe_cuda(), _package(flavour, host)
    if cuda.problem:
        installed = f"; {package.detail} is installed" if package.able else ""
        return Finding(False, f"{cuda.problem}{installed}", NEED_GPU)
    devices = ", ".join(cuda.devices)
    if not package.able:
        return Finding(False, f"the driver sees {devices}, but {package.detail}", package.fix)
    known = flavour.capabilities
    if known and not set(cuda.capabilities[:1]) & set(known):
        detail = f"{package.detail} has no kernels for {devices}"
        return Finding(False, detail, "Use target tensorrt on this card.")
    return Finding(True, f"on {devices} ({package.detail})")


def _package(flavour: Flavour, host: Host) -> Finding:
    """Whether the packages of a flavour are here, in versions that mahtrt knows."""
    install = f"pip install 'mahtrt[{flavour.extra}]'"
    versions = [
        next((version for name in names if (version := host.version_of(name))), None)
        for names in flavour.distributions
    ]
    found = [version for version in versions if version is not None]
    if len(found) < len(versions):
        return Finding(False, f"{flavour.title} is not installed", install)
    outside = [version for version in found if not flavour.supports(version)]
    if outside:
        detail = f"{flavour.title} {outside[0]} is not one of {flavour.versions}"
        return Finding(False, detail, install)
    if not host.has_module(flavour.module):
        detail = f"{flavour.title} {found[0]} is installed without its module {flavour.module}"
        return Finding(False, detail, install)
    return Finding(True, f"{flavour.title} {found[0]}")
