from __future__ import annotations

import json
from collections.abc import Callable
from importlib import metadata
from typing import Any

import pytest
from cpus import Cpu
from packaging.specifiers import SpecifierSet
from programs import run_python
from rendering import text_of

from mahtrt.cuda.probe import CudaProbe
from mahtrt.machine import ISA_LIMIT, Machine
from mahtrt.targets.tensorrt.flavours import FLAVOURS
from mahtrt.verbs import diagnosis
from mahtrt.verbs.diagnosis import Check, DoctorResult, doctor
from mahtrt.verbs.doctor import tables_of

CORE = [need.name for need in diagnosis.requirements()[diagnosis.RUNTIME]]
EVERYTHING = {
    "numpy": "2.1.0",
    "opencv-python-headless": "4.11.0.86",
    "openvino": "2026.4.1",
    "packaging": "26.3",
    "pillow": "12.0.0",
    "rich": "15.0.0",
    "typer": "0.29.2",
    "onnxruntime": "1.31.1",
    "onnx": "1.23.2",
    "onnxscript": "0.7",
    "safetensors": "0.8.0",
    "ml-dtypes": "0.6.0",
    "timm": "1.0.31",
    "torch": "2.15.0+cpu",
    "torchvision": "0.29.2",
    "transformers": "5.23",
    "pydicom": "3.0.2",
    "tensorrt-rtx-cu13-libs": "1.3",
    "tensorrt-rtx-cu13-bindings": "1.3",
}
NO_CUDA = CudaProbe(problem="no NVIDIA driver (libcuda.so.1 cannot be loaded)")
H100 = CudaProbe(
    "13.0",
    ("NVIDIA H100 (SM 9.0)",),
    names=("NVIDIA H100",),
    capabilities=("SM90",),
    driver="580.65.06",
)
RTX_4090 = CudaProbe(
    "13.0",
    ("NVIDIA RTX 4090 (SM 8.9)",),
    names=("NVIDIA RTX 4090",),
    capabilities=("SM89",),
)


def machine(*isa: str) -> Machine:
    return Machine("a CPU", "x86_64", isa, 2, None, 16.0, "Linux 6.1", "3.11.9")


def look(
    packages: dict[str, str] | None = None,
    *,
    isa: tuple[str, ...] = ("avx2", "avx512", "vnni", "bf16", "amx", "amx-int8", "amx-bf16"),
    cuda: CudaProbe = NO_CUDA,
    modules: tuple[str, ...] = ("tensorrt", "tensorrt_rtx_bindings"),
    import_module: Any = lambda name: None,
) -> dict[str, Check]:
    result = doctor(
        machine=machine(*isa),
        version_of=(EVERYTHING if packages is None else packages).get,
        has_module=modules.__contains__,
        import_module=import_module,
        cuda=cuda,
    )
    return {check.name: check for check in result.checks}


def code(found: dict[str, Check]) -> int:
    return 0 if DoctorResult(tuple(found.values())).ok else 6


def without(*names: str) -> dict[str, str]:
    return {name: version for name, version in EVERYTHING.items() if name not in names}


def test_everything_a_cpu_machine_can_have() -> None:
    found = look()
    assert code(found) == 0
    for name in ("run openvino int8", "run onnxruntime", "export a checkpoint", "read dicom"):
        assert (found[name].status, found[name].fix) == ("ok", "")
    assert found["build tensorrt-rtx"].status == "ok"
    for name in ("cuda driver", "run tensorrt-rtx", "build and run tensorrt"):
        assert found[name].status == "missing"
        assert "driver" in found[name].detail


def test_a_deployment_host_is_healthy_and_told_what_export_needs() -> None:
    found = look({name: EVERYTHING[name] for name in CORE})
    assert code(found) == 0
    assert found["run openvino fp32"].status == "ok"
    export = found["export a checkpoint"]
    assert export.status == "missing"
    assert "torch" in export.detail
    assert export.fix == "pip install 'mahtrt[export]'"
    assert found["build int8 from onnx"].fix == "pip install 'mahtrt[cpu,export]'"


@pytest.mark.parametrize("name", CORE)
def test_a_missing_core_package_is_exit_6(name: str) -> None:
    found = look(without(name))
    assert found[name].status == "missing"
    assert found[name].fix == "pip install mahtrt"
    assert found["run openvino fp32"].status == "missing"
    assert code(found) == 6


def test_an_old_core_package_is_exit_6() -> None:
    found = look(EVERYTHING | {"openvino": "2025.3.0"})
    assert found["openvino"].status == "error"
    assert "older than 2025.4" in found["openvino"].detail
    assert code(found) == 6


def test_a_core_package_that_does_not_load_is_exit_6() -> None:
    def fail(name: str) -> None:
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file")

    found = look(import_module=fail)
    assert found["opencv-python-headless"].status == "error"
    assert "libGL.so.1" in found["opencv-python-headless"].detail
    assert code(found) == 6


def test_torch_is_never_imported() -> None:
    imported: list[str] = []
    look(import_module=imported.append)
    assert set(imported) == {"numpy", "cv2", "openvino"}
    program = "import sys, mahtrt; mahtrt.doctor(); print({'torch', 'onnx'} & {*sys.modules})"
    assert run_python("-c", program).stdout.strip() == "set()"


def test_both_builds_of_onnxruntime_are_an_error_with_a_fix() -> None:
    found = look(EVERYTHING | {"onnxruntime-gpu": "1.31.1"})
    conflict = found["onnxruntime twice"]
    assert conflict.status == "error"
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in conflict.fix
    assert found["run onnxruntime"].status == "warn"
    assert code(found) == 0  # the core runtime is not touched


def test_the_gpu_build_of_onnxruntime_serves_alone() -> None:
    packages = without("onnxruntime") | {"onnxruntime-gpu": "1.31.1"}
    found = look(packages)
    assert "onnxruntime twice" not in found
    assert found["run onnxruntime"].status == "ok"


def test_the_gpu_build_is_not_advised_on_top_of_the_other() -> None:
    fix = look()["onnxruntime-gpu"].fix
    assert fix == "pip uninstall -y onnxruntime && pip install 'mahtrt[gpu]'"


@pytest.mark.parametrize(
    ("kind", "int8", "bf16"),
    [
        ("avx2", "no VNNI or AMX: INT8 runs, but gains less", "none: BF16 engines are rounded"),
        ("avx512", "no VNNI or AMX: INT8 runs, but gains less", "none: BF16 engines are rounded"),
        ("avx-vnni", "VNNI: INT8 several times", "none: BF16 engines are rounded"),
        ("vnni", "VNNI: INT8 several times", "none: BF16 engines are rounded"),
        ("bf16", "VNNI: INT8 several times", "native; OpenVINO's BF16 engines use it"),
        ("amx", "AMX: tile products", "AMX: about four times"),
        ("arm", "ARM dot product", "none: BF16 engines are rounded"),
        ("arm-bf16", "ARM dot product", "native; whether OpenVINO uses it"),
        ("mac", "this system does not tell", "none: BF16 engines are rounded"),
        ("windows", "this system does not tell", "none: BF16 engines are rounded"),
    ],
)
def test_which_path_the_cpu_takes(
    kind: str, int8: str, bf16: str, cpu: Callable[[str], Cpu]
) -> None:
    bits = cpu(kind).weight_bits
    found = {check.name: check for check in doctor(cuda=NO_CUDA).checks}
    products, floats = found["int8 instructions"], found["bf16 instructions"]
    assert products.detail.startswith(int8)
    assert f"weights of {bits} bits" in products.detail
    assert ("saturate" in products.detail) is (bits == 7)
    assert floats.detail.startswith(bf16)
    for check, works_best in ((products, ("VNNI", "AMX", "ARM")), (floats, ("native", "AMX"))):
        assert check.status == ("ok" if check.detail.startswith(works_best) else "warn")
    assert found["run openvino int8"].status == products.status


def test_a_limit_of_the_libraries_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ISA_LIMIT, "avx2")
    check = look()["cpu limit"]
    assert "limited to AVX2" in check.detail
    assert check.fix.startswith("Unset ONEDNN_MAX_CPU_ISA")


@pytest.mark.parametrize(
    ("version", "status"),
    [("10.11.0", "warn"), ("10.12.0.36", "ok"), ("11.4.1", "ok"), ("12.0", "warn")],
)
def test_range_of_tensorrt(version: str, status: str) -> None:
    found = look(EVERYTHING | {"tensorrt": version}, cuda=H100)
    assert found["tensorrt"].status == status
    assert found["build and run tensorrt"].status == ("ok" if status == "ok" else "missing")


def test_tensorrt_under_its_cuda_name() -> None:
    found = look(EVERYTHING | {"tensorrt-cu13": "11.4"}, cuda=H100)
    detail = found["build and run tensorrt"].detail
    assert detail == "yes, on NVIDIA H100 (SM 9.0) (TensorRT 11.4)"


ENTERPRISE = {"tensorrt": "10.16.1.11"}
NO_RTX = without("tensorrt-rtx-cu13-libs", "tensorrt-rtx-cu13-bindings")


@pytest.mark.parametrize(
    ("packages", "cuda", "name", "detail", "fix"),
    [
        (NO_RTX, NO_CUDA, "build and run tensorrt", "no: no NVIDIA driver", "no package can"),
        (NO_RTX | ENTERPRISE, NO_CUDA, "build and run tensorrt",
         "TensorRT 10.16.1.11 is installed", "no package can"),
        (EVERYTHING, NO_CUDA, "run tensorrt-rtx", "TensorRT-RTX 1.3 is installed",
         "no package can"),
        (NO_RTX, RTX_4090, "build and run tensorrt",
         "the driver sees NVIDIA RTX 4090 (SM 8.9), but TensorRT is not installed",
         "pip install 'mahtrt[tensorrt]'"),
        (NO_RTX, RTX_4090, "run tensorrt-rtx", "but TensorRT-RTX is not installed",
         "pip install 'mahtrt[tensorrt-rtx]'"),
        (EVERYTHING, H100, "run tensorrt-rtx",
         "TensorRT-RTX 1.3 has no kernels for NVIDIA H100 (SM 9.0)", "target tensorrt"),
        (NO_RTX | {"tensorrt": "12.0"}, RTX_4090, "build and run tensorrt",
         "TensorRT 12.0 is not one of 10.12 to 11.x", "pip install 'mahtrt[tensorrt]'"),
        (NO_RTX | {"tensorrt": "8.6.1"}, RTX_4090, "build and run tensorrt",
         "TensorRT 8.6.1 is not one of 10.12 to 11.x", "pip install 'mahtrt[tensorrt]'"),
        (EVERYTHING | {"tensorrt-rtx-cu13-libs": "1.1"}, RTX_4090, "build tensorrt-rtx",
         "TensorRT-RTX 1.1 is not one of 1.2 or newer", "pip install 'mahtrt[tensorrt-rtx]'"),
    ],
)  # fmt: skip
def test_why_there_are_no_tensorrt_engines_here(
    packages: dict[str, str], cuda: CudaProbe, name: str, detail: str, fix: str
) -> None:
    check = look(packages, cuda=cuda)[name]
    assert check.status == "missing"
    assert detail in check.detail
    assert fix in check.fix


def test_both_flavours_on_a_card_that_both_know() -> None:
    found = look(EVERYTHING | ENTERPRISE, cuda=RTX_4090)
    on = "yes, on NVIDIA RTX 4090 (SM 8.9)"
    assert found["build and run tensorrt"].detail == f"{on} (TensorRT 10.16.1.11)"
    assert found["run tensorrt-rtx"].detail == f"{on} (TensorRT-RTX 1.3)"
    assert found["build tensorrt-rtx"].status == "ok"
    assert look(cuda=H100)["cuda driver"].detail.startswith("driver 580.65.06, CUDA 13.0: NVIDIA")


def test_ranges_of_tensorrt_agree_with_the_builders() -> None:
    for name, flavour in FLAVOURS.items():
        needs = diagnosis.requirements()[name]
        specifiers = {need.specifier for need in needs if need.name.startswith("tensorrt")}
        assert specifiers == {SpecifierSet(flavour.supported)}


def test_cards_of_tensorrt_rtx_agree_with_its_own_list() -> None:
    trt = pytest.importorskip("tensorrt_rtx_bindings", reason="needs the extra tensorrt-rtx")
    known = set(trt.ComputeCapability.__members__) - {"NONE", "CURRENT"}
    assert known == set(FLAVOURS["tensorrt-rtx"].capabilities)


def test_no_tensorrt_is_imported() -> None:
    program = (
        "import sys, mahtrt; mahtrt.doctor(); "
        "print([name for name in sys.modules if name.startswith('tensorrt')])"
    )
    assert run_python("-c", program).stdout.strip() == "[]"


def test_packages_whose_module_is_missing_do_not_count() -> None:
    found = look(EVERYTHING | {"tensorrt": "11.4"}, cuda=H100, modules=())
    assert found["build and run tensorrt"].fix == "pip install 'mahtrt[tensorrt]'"
    assert found["build tensorrt-rtx"].fix == "pip install 'mahtrt[tensorrt-rtx]'"


def test_a_folder_that_is_not_installed_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    installed = diagnosis.requirements()
    monkeypatch.setattr(metadata, "distribution", absent)
    in_folder = diagnosis.requirements()
    assert set(in_folder) == set(installed)
    assert [need.name for need in in_folder["export"]] == [n.name for n in installed["export"]]
    assert {"numpy", "packaging"} <= {need.name for need in in_folder[diagnosis.RUNTIME]}


def test_every_check_that_is_not_ok_says_what_to_do() -> None:
    for check in look({}, isa=()).values():
        assert check.detail
        assert (check.status == "ok") == (check.fix == ""), check


def test_text_and_json_hold_every_check() -> None:
    checks = list(look(EVERYTHING | {"onnxruntime-gpu": "1.31.1"}).values())
    text = text_of(tables_of(checks), width=160)
    document = json.loads(json.dumps(DoctorResult(tuple(checks)).to_dict()))
    assert document["schema"] == "mahtrt.doctor/1"
    assert document["ok"] is True
    assert len(document["checks"]) == len(checks)
    for check in checks:
        assert check.name in text
    assert "pip install 'mahtrt[tensorrt]'" in text  # brackets are not markup
