"""What doctor and errors say of ONNX Runtime on a GPU: the first thing that is missing."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import tiny_network as tiny
from fake_ort_cuda import H200, OrtGpu
from programs import run_python

from mahtrt.bundle.bundle import read_bundle
from mahtrt.cuda.probe import CudaProbe
from mahtrt.errors import MissingComponentError
from mahtrt.runtime.engine_choice import choose_engine
from mahtrt.targets.graph_kinds import Int8, RoundedBf16
from mahtrt.targets.onnxruntime_cuda import findings, libraries
from mahtrt.targets.onnxruntime_cuda.findings import can_run
from mahtrt.targets.table import find_target
from mahtrt.targets.target import Host
from mahtrt.verbs.diagnosis import doctor

TARGET = find_target("onnxruntime-cuda")
NO_DRIVER = CudaProbe(problem="no NVIDIA driver (libcuda.so.1 cannot be loaded)")
NO_GPU = CudaProbe("13.0", problem="the driver sees no device")
GPU, CPU = {"onnxruntime-gpu": "1.31.1", "cuda-bindings": "13.0.3"}, {"onnxruntime": "1.31.1"}


@pytest.mark.parametrize(
    ("versions", "cuda", "detail", "fix"),
    [
        ({}, H200, "but onnxruntime-gpu is not installed", "pip install 'mahtrt[gpu]'"),
        (CPU, H200, "onnxruntime 1.31.1 has no CUDA provider", "pip uninstall -y onnxruntime && "),
        (GPU | CPU, H200, "overwrite each other's files",
         "pip uninstall -y onnxruntime-gpu onnxruntime && "),
        ({"onnxruntime-gpu": "1.31.1"}, H200,
         "neither cuda-bindings nor pycuda is installed", "mahtrt[gpu]"),
        (GPU, NO_DRIVER, "no NVIDIA driver (libcuda.so.1 cannot be loaded); onnxruntime-gpu 1.31.1",
         "Needs a machine with an NVIDIA GPU"),
        (GPU, NO_GPU, "the driver sees no device", "Needs a machine with an NVIDIA GPU"),
        (CPU, NO_DRIVER, "no NVIDIA driver (libcuda.so.1 cannot be loaded); onnxruntime 1.31.1 has",
         "Needs a machine with an NVIDIA GPU"),
    ],
)  # fmt: skip
def test_the_first_thing_that_is_missing_is_told(
    versions: dict[str, str], cuda: CudaProbe, detail: str, fix: str
) -> None:
    found = can_run(Host(versions.get, lambda name: True, lambda: cuda))
    assert not found.able
    assert detail in found.detail
    assert found.fix.startswith(fix) or fix in found.fix


HERE = Host(GPU.get, lambda name: True, lambda: H200)


@pytest.mark.parametrize(
    ("major", "missing", "detail"),
    [
        (13, (), ""),
        (13, ("libcublas.so.13", "libcudnn.so.9"), "needs libcublas.so.13, libcudnn.so.9, which"),
        (11, (), "is built with CUDA 11"),
        (None, (), "is built without CUDA"),
    ],
)
def test_libraries_are_looked_for_last(
    major: int | None, missing: tuple[str, ...], detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, "cuda_major", lambda: major)
    monkeypatch.setattr(libraries, "load_libraries", lambda major: missing)
    found = can_run(HERE)
    assert found.able is not bool(detail)
    assert detail in found.detail
    assert found.able or found.fix


def test_libraries_are_loaded_from_wheels_first_then_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NVRTC and cuFFT are not needed by every version, so that their absence is no finding."""
    in_wheel = tmp_path / "nvidia/cu13/lib/libcublas.so.13"
    in_wheel.parent.mkdir(parents=True)
    in_wheel.touch()
    monkeypatch.syspath_prepend(tmp_path)
    tried: list[str] = []

    def load(name: str) -> Any:
        tried.append(name)
        if Path(name).name.startswith(("libcudnn", "libcufft", "libnvrtc")):
            raise OSError("cannot open shared object file")

    importlib.invalidate_caches()
    assert libraries.load_libraries(13, load) == ("libcudnn.so.9",)
    assert any(name.endswith("nvidia/cu13/lib/libcublas.so.13") for name in tried)
    assert "libcublas.so.13" not in tried
    assert "libcufft.so.12" in tried


def test_the_version_of_cuda_is_read_from_the_package(tmp_path: Path) -> None:
    (tmp_path / "capi").mkdir()
    about = tmp_path / "capi/build_and_package_info.py"
    about.write_text("package_name = 'onnxruntime-gpu'\n__version__ = '1.31.1'\n")
    assert libraries.cuda_major(tmp_path) is None
    about.write_text(about.read_text() + "cuda_version = '13.0'\n")
    assert libraries.cuda_major(tmp_path) == 13
    assert libraries.cuda_major(tmp_path / "none") is None


def test_a_machine_without_a_gpu_opens_no_cpu_session(tiny_bundle: Path) -> None:
    """Here, or on any machine: without its GPU the engine is an error with exit code 6."""
    if can_run().able:
        pytest.skip("a GPU that can run it")
    with pytest.raises(MissingComponentError) as caught:
        findings.load_runtime("engine x")
    assert caught.value.exit_code == 6
    assert caught.value.got == can_run().detail


def test_doctor_tells_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    OrtGpu(monkeypatch)
    (check,) = (c for c in doctor(cuda=NO_DRIVER).checks if c.name == "run onnxruntime-cuda")
    assert check.status == "missing"
    assert check.detail.startswith("no: no NVIDIA driver")
    versions = {**GPU, "numpy": "2.1.0"}
    found = doctor(version_of=versions.get, has_module=lambda name: True, cuda=H200)
    (check,) = (c for c in found.checks if c.name == "run onnxruntime-cuda")
    assert (check.status, check.detail) == (
        "ok",
        "yes, on NVIDIA H200 (SM 9.0) (onnxruntime-gpu 1.31.1)",
    )


def test_graphs_are_shared_with_other_targets() -> None:
    tensorrt, cpu = find_target("tensorrt"), find_target("onnxruntime")
    for precision in ("fp32", "fp16"):
        assert TARGET.graph_kind(precision) == cpu.graph_kind(precision)
    assert TARGET.graph_kind("bf16") == cpu.graph_kind("bf16") == RoundedBf16()
    assert TARGET.graph_kind("int8") == tensorrt.graph_kind("int8") == Int8("fp16", 8)
    assert TARGET.graph_kind("int8", "bf16", 7) == Int8("fp32", 7)  # no QuantizeLinear of BF16


def test_an_engine_built_without_a_gpu_is_for_elsewhere(tmp_path: Path) -> None:
    if can_run().able:
        pytest.skip("a GPU that can run it")
    onnx = tiny.save(tiny.make_model(), tmp_path)
    artifact = TARGET.build(onnx, "int8", tmp_path / "out")
    record = artifact.record(TARGET.name, "int8")
    assert not TARGET.can_run(record)
    assert artifact.files == {"onnx": onnx}  # nothing is stored twice
    assert any("Opened on a CPU" in note for note in artifact.notes)
    assert any("the speed is not INT8's" in note for note in artifact.notes)


def test_no_cpu_engine_stands_in_for_it(tiny_bundle: Path) -> None:
    bundle = read_bundle(tiny_bundle)
    with pytest.raises(MissingComponentError, match="target onnxruntime-cuda or tensorrt"):
        choose_engine(bundle, require="gpu")


def test_looking_imports_nothing_of_it() -> None:
    code = (
        "import sys\n"
        "from mahtrt.targets.table import find_target\n"
        "assert find_target('onnxruntime-cuda').finding().detail\n"
        "assert not {'onnxruntime', 'cuda', 'numpy.ctypeslib'} & set(sys.modules)\n"
    )
    done = run_python("-W", "error", "-c", code)
    assert (done.returncode, done.stderr) == (0, "")
