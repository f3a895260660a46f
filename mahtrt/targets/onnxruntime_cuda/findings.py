"""What stands between this machine and ONNX Runtime on its GPU: package, driver, card, libraries.

Nothing of ONNX Runtime is imported. Libraries are tried only where package and card are there.
"""

from __future__ import annotations

from typing import Any

from mahtrt.cuda.apis import APIS
from mahtrt.cuda.probe import NEED_GPU, CudaProbe
from mahtrt.errors import MissingComponentError, require
from mahtrt.targets.onnxruntime_cuda import libraries
from mahtrt.targets.target import Finding, Host

PACKAGE, CPU_PACKAGE = "onnxruntime-gpu", "onnxruntime"
INSTALL = "pip install 'mahtrt[gpu]'"


def can_run(host: Host | None = None) -> Finding:
    """Whether engines run here; else the first thing that is missing."""
    host = host or Host()
    package, cuda = find_package(host), host.probe_cuda()
    if cuda.problem:
        installed = f"; {package.detail} is installed" if package.able else f"; {package.detail}"
        return Finding(False, f"{cuda.problem}{installed}", NEED_GPU)
    devices = ", ".join(cuda.devices)
    if not package.able:
        return Finding(False, f"the driver sees {devices}, but {package.detail}", package.fix)
    problem = _libraries(package.detail)
    return problem or Finding(True, f"on {devices} ({package.detail})")


def find_package(host: Host | None = None) -> Finding:
    """Whether the packages are here that have the CUDA provider and call the driver."""
    host = host or Host()
    version, other = host.version_of(PACKAGE), host.version_of(CPU_PACKAGE)
    if version and other:
        detail = f"{PACKAGE} and {CPU_PACKAGE} are both installed and overwrite each other's files"
        return Finding(False, detail, f"pip uninstall -y {PACKAGE} {CPU_PACKAGE} && {INSTALL}")
    if other:
        detail = f"{CPU_PACKAGE} {other} has no CUDA provider: that is in {PACKAGE}"
        return Finding(False, detail, f"pip uninstall -y {CPU_PACKAGE} && {INSTALL}")
    if not version or not host.has_module("onnxruntime"):
        return Finding(False, f"{PACKAGE} is not installed", INSTALL)
    if not any(host.version_of(name) for name in APIS):
        return Finding(False, f"neither {' nor '.join(APIS)} is installed", INSTALL)
    return Finding(True, f"{PACKAGE} {version}")


def gpu_here() -> CudaProbe | None:
    """What the driver says, where engines run here."""
    return Host().probe_cuda() if can_run().able else None


def load_runtime(needed_for: str) -> Any:
    """ONNX Runtime, where its engines run here; CUDA's libraries are loaded then.

    Raises:
        MissingComponentError: They do not; the message names the first thing that is missing.
    """
    finding = can_run()
    if not finding.able:
        raise MissingComponentError(
            needed_for, got=finding.detail, expected="ONNX Runtime on a GPU", fix=finding.fix
        )
    return require("onnxruntime", extra="gpu", needed_for=needed_for)


def _libraries(package: str) -> Finding | None:
    """What is missing of CUDA's libraries, None where nothing is."""
    major = libraries.cuda_major()
    if major is None or major < libraries.OLDEST_CUDA:
        built = "without CUDA" if major is None else f"with CUDA {major}"
        expected = f"Install one that is built with CUDA {libraries.OLDEST_CUDA} or newer."
        return Finding(False, f"{package} is built {built}", expected)
    missing = libraries.load_libraries(major)
    if not missing:
        return None
    extra = f"pip install 'onnxruntime-gpu[cuda,cudnn]', or CUDA {major} and cuDNN 9 for the system"
    detail = f"{package} needs {', '.join(missing)}, which cannot be loaded"
    return Finding(False, detail, extra)
