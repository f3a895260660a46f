from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from fake_trt_runtime import array_at
from tensorrt_stage import Stage
from tiny_network import SPEC, make_model

from mahtrt.cuda import CudaProbe, probe_cuda
from mahtrt.targets.artifact import EngineArtifact
from mahtrt.targets.target import has_module
from mahtrt.targets.tensorrt.flavours import FLAVOURS

SCRIPT = Path(__file__).parents[2] / "experiments/gpu_probe.py"
NO_GPU = pytest.mark.skipif(not probe_cuda().problem, reason="this machine has a GPU")
H100 = CudaProbe("13.0", ("NVIDIA H100 (SM 9.0)",), names=("NVIDIA H100",), capabilities=("SM90",))
RTX_4090 = CudaProbe(
    "13.0", ("NVIDIA RTX 4090 (SM 8.9)",), names=("NVIDIA RTX 4090",), capabilities=("SM89",)
)


@pytest.fixture(scope="module")
def folder_on_path() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPT.parent)
        yield


@pytest.fixture(scope="module")
def probe(folder_on_path: None) -> Any:
    return importlib.import_module("gpu_probe")


@pytest.fixture(scope="module")
def child(folder_on_path: None) -> Any:
    return importlib.import_module("gpu_probe_child")


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
        check=False,
    )


@NO_GPU
def test_without_a_gpu_it_refuses_and_records_the_refusal(tmp_path: Path) -> None:
    ended = run("--out", "probe.json", folder=tmp_path)
    assert ended.returncode == 6, ended.stderr
    assert ended.stdout == ""
    record = json.loads((tmp_path / "probe.json").read_text(encoding="utf-8"))
    assert record["schema"] == "mahtrt.gpu-probe/1"
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


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    model = make_model()
    entry = model.metadata_props.add()
    entry.key, entry.value = "mahtrt.spec", json.dumps(SPEC.to_dict())
    path = tmp_path / "tiny.onnx"
    onnx.save(model, path)
    return path


def test_a_whole_run_on_a_machine_with_a_card(
    probe: Any, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def answer(arguments: list[str], seconds: float) -> dict[str, Any]:
        asked.append(arguments)
        if arguments[0] == "import":
            return RTX | {"compute_capabilities": ["SM89"], "builds_for_this_card": True}
        if "fp16" in arguments:
            return {"plan_bytes": 7, "problem": "crashed with SIGSEGV"}
        return {"plan_bytes": 9, "agrees": True}

    present = {"tensorrt": None, "tensorrt_rtx_bindings": object()}
    monkeypatch.setattr(probe.importlib.util, "find_spec", present.get)
    monkeypatch.setattr(probe, "probe_cuda", lambda: RTX_4090)
    monkeypatch.setattr(probe, "_child", answer)
    out = tmp_path / "probe.json"
    assert probe.main(["--onnx", str(exported), "--out", str(out)]) == 1
    record = json.loads(out.read_text(encoding="utf-8"))
    assert record["refusal"] == ""
    assert record["cuda"]["devices"] == [{"name": "NVIDIA RTX 4090", "compute_capability": "SM89"}]
    assert record["flavours"]["tensorrt-rtx"]["accepts_this_card"] is True
    assert record["runs"] == [
        {"flavour": "tensorrt-rtx", "precision": "fp32", "plan_bytes": 9, "agrees": True},
        {
            "flavour": "tensorrt-rtx",
            "precision": "fp16",
            "plan_bytes": 7,
            "problem": "crashed with SIGSEGV",
        },
    ]
    assert asked[0] == ["import", "tensorrt-rtx", "--build"]
    assert asked[1] == ["run", "tensorrt-rtx", "--precision", "fp32", "--onnx", str(exported)]


def test_no_network_to_try_is_a_refusal(
    probe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "probe_cuda", lambda: RTX_4090)
    accepted = RTX | {"accepts_this_card": True}
    monkeypatch.setattr(probe, "import_flavour", lambda flavour, cuda: accepted)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(FLAVOURS["tensorrt"].__class__, "supports", lambda self, version: True)
    out = tmp_path / "probe.json"
    assert probe.main(["--out", str(out)]) == 6
    assert "or give --onnx FILE" in json.loads(out.read_text(encoding="utf-8"))["refusal"]


def whole(parts: Iterator[dict[str, Any]]) -> dict[str, Any]:
    return {key: value for part in parts for key, value in part.items()}


def test_the_int8_graph_of_a_tensorrt_bundle_is_tried(probe: Any, tmp_path: Path) -> None:
    models = {"fp32": "model.onnx", "int8": "cpu.onnx", "int8-fp16": "gpu.onnx"}
    for place in models.values():
        (tmp_path / place).write_text("onnx")
    manifest = SimpleNamespace(models=models)
    bundle = SimpleNamespace(manifest=manifest, file=lambda place: tmp_path / place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mahtrt.bundle.bundle.read_bundle", lambda path: bundle)
        asked = SimpleNamespace(bundle=tmp_path, onnx=None)
        assert probe.find_graphs(asked, tmp_path) == (
            tmp_path / "model.onnx",
            tmp_path / "gpu.onnx",
        )
        del models["int8-fp16"]
        assert probe.find_graphs(asked, tmp_path)[1] == tmp_path / "cpu.onnx"
        del models["int8"]
        assert probe.find_graphs(asked, tmp_path)[1] is None


def test_an_engine_is_built_run_and_compared(
    child: Any, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage("10.16.1", tmp_path, monkeypatch)
    built = EngineArtifact(
        files={"plan": stage.plan},
        batch=1,
        device=stage.engine.device,
        versions=stage.engine.versions,
    )
    monkeypatch.setattr("mahtrt.targets.tensorrt.build.build_engine", lambda *args, **kwargs: built)
    monkeypatch.setattr(child, "IMAGES", "phantom:1@99")
    monkeypatch.setattr(child, "TIMED_RUNS", 3)
    record = whole(child.measure("tensorrt", "fp32", exported))
    assert "problem" not in record
    assert (record["images"], record["agrees"]) == (1, True)
    assert record["max_px"] < 0.01
    assert record["plan_bytes"] == stage.plan.stat().st_size
    assert record["end_to_end_p50_ms"] > 0
    assert stage.cuda.retained == 0

    compute = stage.trt.state.on_execute
    stage.trt.state.on_execute = lambda context: compute(context) and spoil(stage, context)
    record = whole(child.measure("tensorrt", "fp32", exported))
    assert record["agrees"] is False
    assert record["max_px"] > 0.1


def spoil(stage: Stage, context: Any) -> bool:
    array_at(context, "landmarks")[...] += 3
    return True


@NO_GPU
def test_a_real_build_that_cannot_run_here_is_a_finding(child: Any, exported: Path) -> None:
    pytest.importorskip("tensorrt_rtx_bindings", reason="needs the extra tensorrt-rtx")
    record = whole(child.measure("tensorrt-rtx", "fp32", exported))
    assert record["plan_bytes"] > 1000
    assert record["device"]["flavour"] == "tensorrt-rtx"
    assert record["problem"].startswith("MissingComponentError: engine tensorrt-rtx-fp32: got no")


@pytest.mark.gpu
@pytest.mark.skipif(bool(probe_cuda().problem), reason=probe_cuda().problem or "a GPU is here")
def test_the_probe_on_a_real_gpu(exported: Path, tmp_path: Path) -> None:
    ended = run("--onnx", str(exported), "--out", "probe.json", folder=tmp_path)
    record = json.loads((tmp_path / "probe.json").read_text(encoding="utf-8"))
    assert ended.returncode == record["exit_code"]
    assert record["refusal"] or record["runs"]
