"""What the GPU suite does, in the order of what is most worth knowing, and what it needs."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

from experiments.gpu_steps import Step, has_package, python

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

# Import name -> distribution, and what is left out without it.
NEEDED = {
    "numpy": ("numpy", "anything at all"),
    "cv2": ("opencv-python-headless", "images, so no tests and no bench"),
    "PIL": ("pillow", "images, so no tests and no bench"),
    "packaging": ("packaging", "bundles, so no tests and no bench"),
    "typer": ("typer", "tests, and no command line, so no bench and no planning"),
    "rich": ("rich", "tests, and no command line, so no bench and no planning"),
    "pytest": ("pytest", "tests marked gpu and no sanitizer pass"),
    "hypothesis": ("hypothesis", "tests marked gpu and no sanitizer pass"),
    "cuda.bindings": ("cuda-bindings", "buffers, graphs and kernels of mahtrt"),
    "pycuda": ("pycuda", "tests of the second implementation of the buffers"),
    "cupy": ("cupy-cuda13x", "tests of input that lies in CuPy's memory"),
    "torch": ("torch", "export, PyTorch peers and comparisons with PyTorch"),
    "torch_tensorrt": ("torch-tensorrt", "peer Torch-TensorRT"),
    "timm": ("timm", "networks with a ConvNeXt or other backbone of timm"),
    "transformers": ("transformers", "networks with a backbone of transformers"),
    "safetensors": ("safetensors", "checkpoints"),
    "onnx": ("onnx", "tests, export and build"),
    "ml_dtypes": ("ml_dtypes", "tests, export and build"),
    "onnxscript": ("onnxscript", "export"),
    "onnxruntime": ("onnxruntime", "tests, calibration and parity through ONNX Runtime"),
    "openvino": ("openvino", "OpenVINO engines beside those of the GPU"),
    "tensorrt": ("tensorrt", "TensorRT engines"),
    "tensorrt_rtx_bindings": ("tensorrt-rtx-cu13-bindings", "TensorRT-RTX engines"),
    "pynvml": ("nvidia-ml-py", "clocks through NVML: nvidia-smi is asked instead"),
}


def _where(program: str) -> str:
    return "there" if shutil.which(program) else ""


PROGRAMS: dict[str, tuple[Callable[[], str], str]] = {
    name: (functools.partial(_where, name), why)
    for name, why in {
        "compute-sanitizer": "sanitizer pass",
        "nvidia-smi": "clocks where NVML's package is missing too",
        "nvcc": "compiling with nvcc: NVRTC is used instead",
    }.items()
}

# What the fixtures that all tests share are made with, and the tests of all of the package.
TESTED = (
    "pytest", "hypothesis", "typer", "rich", "cv2", "PIL", "numpy", "packaging", "onnx",
    "ml_dtypes", "onnxruntime",
)  # fmt: skip
BENCHED = ("torch", "onnx", "onnxscript", "onnxruntime", "typer", "rich", "cv2", "safetensors")
TENSORRTS = ("tensorrt", "tensorrt_rtx_bindings")
# Tool of compute-sanitizer -> seconds it may take, and seconds it is left.
SANITIZERS = {
    "memcheck": (60.0, 20.0),
    "racecheck": (50.0, 15.0),
    "synccheck": (30.0, 10.0),
    "initcheck": (30.0, 10.0),
}


def suite_steps(folder: Path) -> list[Step]:
    """All steps, the most telling first.

    Args:
        folder: Where steps leave files for later ones.
    """
    bundle = str(folder / "bench.mahtrt")
    return [
        Step(
            "tests",
            "the tests marked gpu",
            _child("gpu_tests.py", "--seconds={seconds}"),
            limit_s=110,
            least_s=40,
            packages=TESTED,
        ),
        Step(
            "bandwidth",
            "kernels beside the card's copy bandwidth and PyTorch",
            _child("kernel_bandwidth.py", "--seconds=0.25"),
            limit_s=75,
            least_s=25,
            packages=("cuda.bindings", "numpy"),
        ),
        Step(
            "preprocess",
            "the preprocessing kernel's time",
            _child("preprocess_time.py"),
            limit_s=20,
            least_s=8,
            packages=("cuda.bindings", "numpy"),
        ),
        Step(
            "tensorrt",
            "what TensorRT and TensorRT-RTX say of this card: builds, runs, times",
            _child("gpu_probe.py", "--seconds={seconds}"),
            limit_s=120,
            least_s=30,
            packages=BENCHED,
            absent=_no_tensorrt,
        ),
        *(
            Step(
                tool,
                f"the kernels' tests under compute-sanitizer's {tool}",
                _child(
                    "gpu_tests.py",
                    "--seconds={seconds}",
                    f"--sanitizer={tool}",
                    str(ROOT / "tests/cuda"),
                ),
                limit_s=limit_s,
                least_s=least_s,
                packages=TESTED,
                programs=("compute-sanitizer",),
            )
            for tool, (limit_s, least_s) in SANITIZERS.items()
        ),
        Step(
            "bench",
            "engines beside PyTorch peers",
            _child("gpu_bench.py", "--seconds={seconds}", f"--bundle={bundle}"),
            limit_s=190,
            least_s=110,
            packages=BENCHED,
        ),
        Step(
            "planning",
            "a plan that is searched by measuring on the card",
            _child("gpu_bench.py", "--seconds={seconds}", "--plan", f"--bundle={bundle}"),
            limit_s=90,
            least_s=30,
            packages=BENCHED,
            absent=_no_planning,
        ),
        Step(
            "soak",
            "many runs with the memory of host and card watched",
            _child("gpu_soak.py", "--seconds={seconds}", f"--bundle={bundle}"),
            limit_s=120,
            least_s=20,
            packages=("cuda.bindings", "numpy"),
        ),
    ]


def _child(script: str, *arguments: str) -> tuple[str, ...]:
    return python(str(HERE / script), "--out={out}", *arguments)


def _no_tensorrt() -> str:
    """Why neither TensorRT can be tried; one that is there is tried on any card."""
    if any(has_package(name) for name in TENSORRTS):
        return ""
    return f"no Python package {' and no '.join(TENSORRTS)}"


def _no_planning() -> str:
    """Why no target can time its engines on this card."""
    from mahtrt.targets.table import all_targets

    findings = [(each.name, each.finding()) for each in all_targets() if each.device == "cuda"]
    if any(finding.able for _, finding in findings):
        return ""
    return "; ".join(f"{name}: {finding.detail}" for name, finding in findings)
