"""The verb ``doctor``: what this machine can do with mahtrt, and what to install for the rest.

Cheap on purpose: package metadata, ``/proc`` and the CUDA driver's C interface. PyTorch is never
imported, and no TensorRT object is made: on a machine without a driver its runtime can crash
the process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement
from packaging.version import Version

from mahtrt.cuda.probe import NEED_GPU, CudaProbe, probe_cuda
from mahtrt.errors import require
from mahtrt.machine import ISA_LIMIT, Machine, describe_machine, isa_limit, package_version
from mahtrt.parsing import read_toml
from mahtrt.targets.cpu import weight_bits_here
from mahtrt.targets.table import all_targets
from mahtrt.targets.target import Host, has_module

SCHEMA = "mahtrt.doctor/1"

Status = Literal["ok", "warn", "missing", "error"]
Group = Literal["machine", "package", "capability"]
Lookup = Callable[[str], str | None]

RUNTIME = "runtime"  # what mahtrt cannot do without, as opposed to its extras
_NOT_FOR_USERS = ("all", "dev")
_PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
# The core packages whose import proves that their shared libraries load.
_CORE_MODULES = {"numpy": "numpy", "opencv-python-headless": "cv2", "openvino": "openvino"}
# Other distributions that bring the same import package.
_STANDS_FOR = {
    "opencv-python-headless": (
        "opencv-python",
        "opencv-contrib-python-headless",
        "opencv-contrib-python",
    ),
    "onnxruntime": ("onnxruntime-gpu",),
    "tensorrt": ("tensorrt-cu13", "tensorrt-cu12"),
}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What, in a few words.
        status: ``ok``; ``warn`` works, but worse than it could; ``missing`` is not there;
            ``error`` is there and broken.
        detail: What was found.
        fix: What the user can do: a command or a sentence; "" where nothing is to do.
        core: Without it mahtrt cannot run at all.
    """

    name: str
    status: Status
    detail: str
    fix: str = ""
    group: Group = "capability"
    core: bool = False


@dataclass(frozen=True, slots=True)
class DoctorResult:
    """What was looked at, in the order of the table."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether the core runtime works: what is merely absent is not a failure."""
        return not any(check.core and check.status in ("missing", "error") for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """The JSON document of ``mahtrt doctor --json``."""
        checks = [asdict(check) for check in self.checks]
        return {"schema": SCHEMA, "ok": self.ok, "checks": checks}


def _import(module: str) -> object:
    return require(module, extra="", needed_for="mahtrt doctor")


def doctor(
    *,
    machine: Machine | None = None,
    version_of: Lookup = package_version,
    has_module: Callable[[str], bool] = has_module,
    import_module: Callable[[str], object] = _import,
    cuda: CudaProbe | None = None,
) -> DoctorResult:
    """Look at CPU, packages, CUDA and TensorRT. The arguments replace the real machine in tests."""
    machine = machine or describe_machine()
    cuda = cuda or probe_cuda()
    needs = requirements()
    packages = [
        _package_check(role, need, version_of, import_module)
        for role, group in needs.items()
        for need in group
    ]
    usable = {check.name for check in packages if check.status == "ok"}
    checks = (
        *_cpu_checks(machine),
        _cuda_check(cuda),
        *packages,
        *_onnxruntime_conflict(version_of),
        *_capabilities(machine, needs, usable, version_of),
        *_abilities(Host(version_of, has_module, lambda: cuda)),
    )
    return DoctorResult(checks)


def _cpu_checks(machine: Machine) -> list[Check]:
    quota = f", limited to {machine.cpu_quota:g} CPUs' time" if machine.cpu_quota else ""
    memory = f", {machine.memory_gib:g} GiB" if machine.memory_gib else ""
    what = f"{machine.cpu}, {machine.cores_usable} usable cores{quota}{memory}"
    return [
        Check("cpu", "ok", what, group="machine"),
        *_limit_check(),
        Check("python", "ok", f"{machine.python} on {machine.system}", group="machine"),
        _int8_check(machine),
        _bf16_check(machine),
    ]


def _limit_check() -> list[Check]:
    level = isa_limit()
    if not level:
        return []
    what = f"the libraries are limited to {level} by the environment variable {ISA_LIMIT}"
    fix = f"Unset {ISA_LIMIT} to use all that the CPU has."
    return [Check("cpu limit", "warn", what, fix, group="machine")]


def _int8_check(machine: Machine) -> Check:
    """Which products INT8 takes, and how many bits of weights they multiply exactly."""
    name, isa, bits = "int8 instructions", set(machine.isa), weight_bits_here(machine)
    weights = f"weights of {bits} bits"
    for has, why in (
        ({"amx-int8"}, "AMX: tile products, the fastest INT8 on a CPU"),
        ({"vnni"}, "VNNI: INT8 several times faster than FP32"),
        ({"i8mm", "dotprod"}, "ARM dot product: INT8 faster than FP32"),
    ):
        if has & isa:
            return Check(name, "ok", f"{why}; {weights}", group="machine")
    why = "no VNNI or AMX: INT8 runs, but gains less over FP32"
    fix = "Let `mahtrt bench` decide between int8 and fp32 on this machine."
    if not isa:
        why = "this system does not tell what the CPU has"
        if bits < 8:
            fix = "If the CPU has VNNI, build with --weight-bits 8."
    if bits < 8:
        weights += ", since 16-bit sums would saturate with 8"
    return Check(name, "warn", f"{why}; {weights}", fix, group="machine")


def _bf16_check(machine: Machine) -> Check:
    """What a BF16 engine, and the rest of an INT8 engine, computes in."""
    name = "bf16 instructions"
    if machine.multiplies_bf16:
        speed = "AMX: about four times as fast as FP32" if "amx-bf16" in machine.isa else "native"
        what = f"{speed}; OpenVINO's BF16 engines use it, and its INT8 engines beside INT8"
        if "avx512" not in machine.isa:
            what = "native; whether OpenVINO uses it on this architecture was never tried"
        return Check(name, "ok", what, group="machine")
    why = "none: BF16 engines are rounded as BF16 and computed in FP32, no faster than FP32"
    fix = "Prefer int8 or fp32 engines on this machine."
    return Check(name, "warn", why, fix, group="machine")


def _cuda_check(cuda: CudaProbe) -> Check:
    if cuda.problem:
        known = f" (CUDA {cuda.version})" if cuda.version else ""
        return Check("cuda driver", "missing", cuda.problem + known, NEED_GPU, group="machine")
    driver = f"driver {cuda.driver}, " if cuda.driver else ""
    what = f"{driver}CUDA {cuda.version}: {', '.join(cuda.devices)}"
    return Check("cuda driver", "ok", what, group="machine")


def requirements() -> dict[str, list[Requirement]]:
    """What the installed mahtrt declares that it needs, by extra."""
    try:
        distribution = metadata.distribution("mahtrt")
        texts, extras = distribution.requires or [], distribution.metadata.get_all("Provides-Extra")
    except metadata.PackageNotFoundError:  # run from its folder
        project = read_toml(_PYPROJECT.read_bytes(), str(_PYPROJECT), "a project")["project"]
        extras = list(project["optional-dependencies"])
        texts = [*project["dependencies"]]
        for extra in extras:
            texts += [f"{t}; extra == '{extra}'" for t in project["optional-dependencies"][extra]]
    found: dict[str, list[Requirement]] = {RUNTIME: []}
    for need in map(Requirement, texts):
        roles = [e for e in extras or () if need.marker and need.marker.evaluate({"extra": e})]
        role = roles[0] if roles else RUNTIME
        if role not in _NOT_FOR_USERS:
            found.setdefault(role, []).append(need)
    return found


def _package_check(
    role: str, need: Requirement, version_of: Lookup, import_module: Callable[[str], object]
) -> Check:
    name, core = need.name, role == RUNTIME
    install = "pip install mahtrt" if core else f"pip install 'mahtrt[{role}]'"
    version = _version(name, version_of)

    def check(status: Status, detail: str, fix: str = "") -> Check:
        return Check(name, status, detail, fix, group="package", core=core)

    if version is None:
        if name == "onnxruntime-gpu" and version_of("onnxruntime"):
            install = f"pip uninstall -y onnxruntime && {install}"  # they share their files
        return check("missing", f"not installed ({role})", install)
    if not need.specifier.contains(version, prereleases=True):
        lowest = next(each.version for each in need.specifier if each.operator == ">=")
        if Version(version) > Version(lowest):
            detail = f"{version} ({role}), newer than mahtrt knows ({need.specifier})"
            return check("warn", detail, f"pip install '{name}{need.specifier}'")
        detail = f"{version} ({role}), older than {lowest}"
        return check("error" if core else "warn", detail, f"{install} --upgrade")
    if core and name in _CORE_MODULES:
        try:
            import_module(_CORE_MODULES[name])
        except Exception as error:  # whatever a broken binary package raises
            detail = f"{version} ({role}) is installed, but its import fails: {error}"
            return check("error", detail, f"Reinstall it: pip install --force-reinstall {name}")
    return check("ok", f"{version} ({role})")


def _onnxruntime_conflict(version_of: Lookup) -> list[Check]:
    if not (version_of("onnxruntime") and version_of("onnxruntime-gpu")):
        return []
    return [
        Check(
            "onnxruntime twice",
            "error",
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files",
            "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'mahtrt[cpu]' "
            "(or 'mahtrt[gpu]')",
            group="package",
        )
    ]


def _capabilities(
    machine: Machine, needs: dict[str, list[Requirement]], usable: set[str], version_of: Lookup
) -> list[Check]:
    int8_status = _int8_check(machine).status
    runtime, export = ({need.name for need in needs.get(role, ())} for role in (RUNTIME, "export"))
    ort = {"onnxruntime"}
    able = [
        _able("run openvino fp32", runtime, usable, ""),
        _able("run openvino int8", runtime, usable, "", status=int8_status),
        _able("run onnxruntime", runtime | ort, usable, "cpu"),
        _able("export a checkpoint", runtime | export, usable, "export"),
        _able("build int8 from onnx", runtime | ort | {"onnx"}, usable, "cpu,export"),
        _able("bench against pytorch", runtime | export, usable, "export"),
        _able("read dicom", {"pydicom"}, usable, "dicom"),
    ]
    if version_of("onnxruntime") and version_of("onnxruntime-gpu"):
        able = [_doubtful(check) if "onnx" in check.name else check for check in able]
    return able


def _doubtful(check: Check) -> Check:
    if check.status not in ("ok", "warn"):
        return check
    return Check(check.name, "warn", "unreliable: onnxruntime is installed twice", "See above.")


def _able(
    name: str, needs: set[str], usable: set[str], extra: str, *, status: Status = "ok"
) -> Check:
    missing = sorted(needs - usable)
    if not missing:
        detail = "yes" if status == "ok" else "yes, gains less on this CPU"
        return Check(name, status, detail)
    install = f"pip install 'mahtrt[{extra}]'" if extra else "pip install mahtrt"
    return Check(name, "missing", f"no: {', '.join(missing)} cannot be used", install)


def _abilities(host: Host) -> list[Check]:
    """What each target says of itself."""
    return [
        Check(
            name,
            "ok" if finding.able else "missing",
            f"yes, {finding.detail}" if finding.able else f"no: {finding.detail}",
            finding.fix,
        )
        for target in all_targets()
        for name, finding in target.abilities(host).items()
    ]


def _version(name: str, version_of: Lookup) -> str | None:
    names = (name, *_STANDS_FOR.get(name, ()))
    return next((version for each in names if (version := version_of(each))), None)
