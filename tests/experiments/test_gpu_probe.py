from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from foreign_network import POINTS, ForeignNetwork

from mahtrt.cuda import CudaProbe, probe_cuda
from mahtrt.targets.target import has_module
from mahtrt.targets.tensorrt.flavours import FLAVOURS

SCRIPT = Path(__file__).parents[2] / "experiments/gpu_probe.py"
NO_GPU = pytest.mark.skipif(not probe_cuda().problem, reason="this machine has a GPU")
H100 = CudaProbe("13.0", ("NVIDIA H100 (SM 9.0)",), names=("NVIDIA H100",), capabilities=("SM90",))
RTX_4090 = CudaProbe(
    "13.0", ("NVIDIA RTX 4090 (SM 8.9)",), names=("NVIDIA RTX 4090",), capabilities=("SM89",)
)


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    return importlib.import_module("gpu_probe")


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        timeout=900,
        cwd=folder,
        check=False,
    )


@NO_GPU
def test_without_a_gpu_it_refuses_and_records_the_refusal(tmp_path: Path) -> None:
    ended = run("--out", "probe.json", folder=tmp_path)
    assert ended.returncode == 6, ended.stderr
    assert ended.stdout == ""
    record = json.loads((tmp_path / "probe.json").read_text(encoding="utf-8"))
    assert record["schema"] == "mahtrt.gpu-probe/2"
    assert record["exit_code"] == 6
    assert record["cuda"]["devices"] == record["runs"] == []
    assert record["cuda"]["problem"] in record["refusal"]
    assert "expected an NVIDIA GPU with its driver" in record["refusal"]
    assert record["refusal"] in ended.stderr
    assert set(record["flavours"]) == set(FLAVOURS)
    for name, found in record["flavours"].items():
        assert found["imports"] is has_module(FLAVOURS[name].module)
        assert FLAVOURS[name].title in record["refusal"]


@NO_GPU
def test_the_json_goes_to_standard_output_without_a_file(tmp_path: Path) -> None:
    ended = run(folder=tmp_path)
    assert ended.returncode == 6
    assert json.loads(ended.stdout)["exit_code"] == 6
    assert list(tmp_path.iterdir()) == []


@NO_GPU
def test_it_speaks_where_no_package_is_installed(tmp_path: Path) -> None:
    # -S: without site-packages.
    ended = subprocess.run(
        [sys.executable, "-S", str(SCRIPT)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        check=False,
    )
    assert ended.returncode == 6, ended.stderr
    flavours = json.loads(ended.stdout)["flavours"]
    assert [found["imports"] for found in flavours.values()] == [False, False]


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed with SIGSEGV"),
        ("raise ImportError('libnvinfer.so.10: no such file')", "libnvinfer.so.10"),
    ],
)
def test_an_import_that_crashes_is_a_finding(
    probe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, problem: str
) -> None:
    (tmp_path / "tensorrt.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = probe.import_flavour(FLAVOURS["tensorrt"], CudaProbe(problem="none"))
    assert found["imports"] is False
    assert problem in found["problem"]


def test_a_crash_after_the_import_keeps_what_was_known(
    probe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = FLAVOURS["tensorrt-rtx"].module
    (tmp_path / f"{module}.py").write_text(
        "import os, signal\n"
        "__version__ = '1.7.1'\n"
        "class ComputeCapability: __members__ = {'CURRENT': 1, 'SM90': 90}\n"
        "class Logger:\n"
        "    ERROR = 1\n"
        "    def __init__(self, severity): os.kill(os.getpid(), signal.SIGABRT)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delitem(sys.modules, module, raising=False)
    found = probe.import_flavour(FLAVOURS["tensorrt-rtx"], H100)
    assert (found["imports"], found["version"]) == (True, "1.7.1")
    assert found["problem"].startswith("crashed with SIGABRT")
    assert (found["lists_this_card"], found["accepts_this_card"]) == (True, False)


ABSENT = {"imports": False, "problem": "no package tensorrt"}
RTX = {"imports": True, "version": "1.7.1"}


def test_a_card_that_no_flavour_runs_on_is_refused_by_name(probe: Any) -> None:
    flavours = {"tensorrt": ABSENT, "tensorrt-rtx": RTX | {"accepts_this_card": False}}
    text = probe.refusal(H100, flavours)
    assert "NVIDIA H100 (SM 9.0)" in text
    assert "TensorRT-RTX 1.7.1, which has no kernels for the card" in text
    assert "pip install 'mahtrt[tensorrt]'" in text


def test_what_can_run_is_tried(probe: Any) -> None:
    accepted = RTX | {"accepts_this_card": True}
    enterprise = {"imports": True, "version": "10.16.1"}
    assert probe.refusal(RTX_4090, {"tensorrt": ABSENT, "tensorrt-rtx": accepted}) == ""
    both = {"tensorrt": enterprise, "tensorrt-rtx": accepted}
    assert probe.runnable(both) == ["tensorrt", "tensorrt-rtx"]
    assert probe.runnable({"tensorrt": {"imports": True, "version": "8.6.1"}}) == []


def test_exit_codes(probe: Any) -> None:
    def code(*runs: dict[str, Any], refusal: str = "") -> int:
        found: int = probe.exit_code({"refusal": refusal, "runs": list(runs)})
        return found

    assert code({"agrees": True}) == 0
    assert code({"agrees": True}, {"problem": "crashed with SIGSEGV"}) == 1
    assert code({"agrees": True}, {"agrees": False}) == 3
    assert code(refusal="no GPU") == 6


def test_a_whole_run_on_a_machine_with_a_card(
    probe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def answer(arguments: list[str], seconds: float) -> tuple[str, str]:
        asked.append(arguments)
        if "--fp16" in arguments:
            return "crashed with SIGSEGV", ""
        if "build" in arguments:
            folder = Path(next(a for a in arguments if a.startswith("--out=")).partition("=")[2])
            folder.mkdir()
            agrees = "--int8" not in arguments
            engine = {"name": "an engine", "verdict": {"passed": agrees}}
            document = {"engines": [engine]}
            (folder / "manifest.json").write_text(json.dumps(document))
            return "" if agrees else "exit 3: error: accuracy", ""
        found = RTX | {"compute_capabilities": ["SM89"], "builds_for_this_card": True}
        return "", f"a library speaks\n@@ {json.dumps(found)}\n"

    present = {"tensorrt": None, "tensorrt_rtx_bindings": object()}
    monkeypatch.setattr(probe.importlib.util, "find_spec", present.get)
    monkeypatch.setattr(probe, "probe_cuda", lambda: RTX_4090)
    monkeypatch.setattr(probe, "run_child", answer)
    out = tmp_path / "probe.json"
    assert probe.main(["--onnx", "net.onnx", "--out", str(out)]) == 1
    record = json.loads(out.read_text(encoding="utf-8"))
    assert record["refusal"] == ""
    assert record["cuda"]["devices"] == [{"name": "NVIDIA RTX 4090", "compute_capability": "SM89"}]
    assert record["flavours"]["tensorrt-rtx"]["accepts_this_card"] is True
    assert [
        (run["precision"], run.get("agrees"), run.get("problem")) for run in record["runs"]
    ] == [
        ("fp32", True, None),
        ("fp16", None, "crashed with SIGSEGV"),
        ("bf16", True, None),
        ("int8", False, None),
    ]
    assert asked[0][1:] == ["tensorrt-rtx", "--build"]
    assert asked[1][:4] == ["-m", "mahtrt.cli", "build", "net.onnx"]
    assert "--target=tensorrt-rtx" in asked[1]


def test_no_network_to_try_is_a_refusal(
    probe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "probe_cuda", lambda: RTX_4090)
    accepted = RTX | {"accepts_this_card": True}
    monkeypatch.setattr(probe, "import_flavour", lambda flavour, cuda: accepted)
    monkeypatch.setattr(probe, "run_child", lambda *_: ("exit 6: no torch", ""))
    monkeypatch.setattr(FLAVOURS["tensorrt"].__class__, "supports", lambda self, version: True)
    out = tmp_path / "probe.json"
    assert probe.main(["--out", str(out)]) == 6
    refusal = json.loads(out.read_text(encoding="utf-8"))["refusal"]
    assert refusal == "gpu_probe: no network to try (or give --onnx FILE): exit 6: no torch"


@NO_GPU
def test_the_build_of_a_probe_is_one_that_mahtrt_knows(
    probe: Any, foreign_network: ForeignNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = (*probe.IMAGES, f"--points={POINTS}", "--check-images=1")
    monkeypatch.setattr(probe, "IMAGES", asked)
    pytest.importorskip("tensorrt_rtx_bindings", reason="needs the extra tensorrt-rtx")
    found = probe.build_and_run("tensorrt-rtx", "fp32", foreign_network.onnx, tmp_path / "bundle")
    assert found["agrees"] is True
    assert found["engine"]["name"] == "tensorrt-rtx-fp32"
    assert found["engine"]["verdict"]["measured_on"] != "engine"
    broken = probe.build_and_run("tensorrt-rtx", "fp32", tmp_path / "no.onnx", tmp_path / "b")
    assert broken["problem"].startswith("exit 1: error: ")


@pytest.mark.gpu
@pytest.mark.skipif(bool(probe_cuda().problem), reason=probe_cuda().problem or "a GPU is here")
def test_the_probe_on_a_real_gpu(tmp_path: Path) -> None:
    ended = run("--out", "probe.json", folder=tmp_path)
    record = json.loads((tmp_path / "probe.json").read_text(encoding="utf-8"))
    assert ended.returncode == record["exit_code"]
    assert record["refusal"] or record["runs"]
