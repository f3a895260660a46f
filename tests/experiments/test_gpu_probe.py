from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from foreign_network import POINTS, ForeignNetwork
from programs import run_python

from mahtrt.cuda.probe import probe_cuda
from mahtrt.targets.target import Finding

SCRIPT = Path(__file__).parents[2] / "experiments/gpu_probe.py"
NO_GPU = pytest.mark.skipif(not probe_cuda().problem, reason="this machine has a GPU")
ABSENT = Finding(False, "TensorRT is not installed", "pip install 'mahtrt[tensorrt]'")
RUNS = Finding(True, "on NVIDIA RTX 4090 (TensorRT-RTX 1.7.1)")


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    return importlib.import_module("gpu_probe")


@pytest.fixture
def _rtx_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """A card that only TensorRT-RTX runs on, by what mahtrt finds."""

    def finding(target: Any) -> Finding:
        return RUNS if target.name == "tensorrt-rtx" else ABSENT

    monkeypatch.setattr("mahtrt.targets.tensorrt.target.TensorRt.finding", finding)


@NO_GPU
def test_without_a_gpu_it_refuses_and_records_the_refusal(tmp_path: Path) -> None:
    ended = run_python(SCRIPT, "--out", tmp_path / "probe.json")
    assert ended.returncode == 6, ended.stderr
    assert ended.stdout == ""
    record = json.loads((tmp_path / "probe.json").read_text(encoding="utf-8"))
    assert (record["schema"], record["exit_code"]) == ("mahtrt.gpu-probe/4", 6)
    assert (record["cuda"]["devices"], record["runs"]) == ([], [])
    assert record["cuda"]["problem"] in record["refusal"]
    assert record["refusal"] in ended.stderr
    ended = run_python(SCRIPT)
    assert json.loads(ended.stdout)["targets"] == record["targets"]


def test_a_refusal_names_what_is_there_and_what_to_install(probe: Any) -> None:
    no_kernels = Finding(False, "TensorRT-RTX 1.7.1 has no kernels for NVIDIA H100", "Use another.")
    text = probe.refusal({"tensorrt": ABSENT, "tensorrt-rtx": no_kernels})
    assert no_kernels.detail in text
    assert text.endswith("pip install 'mahtrt[tensorrt]' Or: Use another.")
    assert probe.refusal({"tensorrt": ABSENT, "tensorrt-rtx": RUNS}) == ""


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed with SIGSEGV"),
        ("raise ImportError('libnvinfer.so.10')", "exit 1: ImportError: libnvinfer.so.10"),
        ("import time; time.sleep(60)", "did not end within 0.5 s"),
        ("", ""),
    ],
)
def test_a_process_that_crashes_is_a_finding(
    probe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, problem: str
) -> None:
    (tmp_path / "mahtrt").mkdir()
    (tmp_path / "mahtrt/__init__.py").touch()
    (tmp_path / "mahtrt/cli.py").write_text(code)
    monkeypatch.setattr(probe, "ROOT", tmp_path)
    monkeypatch.setattr(probe, "RUN_S", 0.5 if "sleep" in code else 60)
    monkeypatch.chdir(tmp_path)
    assert probe.run_mahtrt() == problem


def test_a_tensorrt_is_asked_itself_on_any_card(probe: Any, tmp_path: Path) -> None:
    assert probe.attempts(()) == []
    asked = probe.attempts(("SM90",))
    installed = importlib.util.find_spec("tensorrt_rtx_bindings") is not None
    assert (("tensorrt_rtx_bindings", "CURRENT") in asked) == installed
    found = probe.attempt("no_such_tensorrt", "CURRENT", tmp_path / "try.json")
    assert found["stages"] == [
        {"name": "import", "ended": False, "problem": found["problem"]},
    ]
    assert "No module named 'no_such_tensorrt'" in found["problem"]
    assert found["ended"].startswith("exit 6")


def test_what_a_tensorrt_says_is_kept_word_for_word(probe: Any, tmp_path: Path) -> None:
    (tmp_path / "sulking.py").write_text(
        "class ILogger:\n    pass\n"
        "class Severity:\n    name = 'ERROR'\n"
        "class NetworkDefinitionCreationFlag:\n    pass\n"
        "class Builder:\n"
        "    def __init__(self, log):\n"
        "        log.log(Severity, 'no kernels for SM90')\n"
        "        import os, signal; os.kill(os.getpid(), signal.SIGSEGV)\n"
        "__version__ = '1.2'\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.path", [*__import__("sys").path, str(tmp_path)])
        found = probe.attempt("sulking", "-", tmp_path / "try.json")
    assert found["ended"].startswith("crashed with SIGSEGV")
    assert (found["version"], found["log"]) == ("1.2", ["ERROR: no kernels for SM90"])
    assert [each["name"] for each in found["stages"]] == ["import", "builder"]
    assert [each["ended"] for each in found["stages"]] == [True, False]


@pytest.mark.skipif(not probe_cuda().problem, reason="this machine has a GPU")
def test_the_real_tensorrt_rtx_builds_for_a_named_card_without_one(
    probe: Any, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx_bindings", reason="needs the extra tensorrt-rtx")
    found = probe.attempt("tensorrt_rtx_bindings", "SM89", tmp_path / "try.json")
    ended = {each["name"]: each["ended"] for each in found["stages"]}
    assert ended == {"import": True, "builder": True, "build": True, "load": False}
    assert any("CUDA driver" in line for line in found["log"])


def test_exit_codes(probe: Any) -> None:
    def code(*runs: dict[str, Any], refusal: str = "") -> int:
        found: int = probe.exit_code({"refusal": refusal, "runs": list(runs)})
        return found

    assert code({"agrees": True}) == 0
    assert code({"agrees": True}, {"problem": "crashed with SIGSEGV"}) == 1
    assert code({"agrees": True}, {"agrees": False}) == 3
    assert code(refusal="no GPU") == 6


@pytest.mark.usefixtures("_rtx_card")
def test_a_whole_run_on_a_machine_with_a_card(
    probe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def answer(*arguments: str) -> str:
        asked.append(arguments)
        if "--fp16" in arguments:
            return "crashed with SIGSEGV"
        folder = Path(next(a for a in arguments if a.startswith("--out=")).partition("=")[2])
        folder.mkdir()
        agrees = "--int8" not in arguments
        document = {"engines": [{"name": "an engine", "verdict": {"passed": agrees}}]}
        (folder / "manifest.json").write_text(json.dumps(document))
        return "" if agrees else "exit 3: error: accuracy"

    monkeypatch.setattr(probe, "run_mahtrt", answer)
    out = tmp_path / "probe.json"
    assert probe.main(["--onnx", "net.onnx", "--out", str(out)]) == 1
    record = json.loads(out.read_text(encoding="utf-8"))
    assert record["refusal"] == ""
    assert record["targets"]["tensorrt-rtx"]["able"] is True
    runs = [(run["precision"], run.get("agrees"), run.get("problem")) for run in record["runs"]]
    assert runs == [
        ("fp32", True, None),
        ("fp16", None, "crashed with SIGSEGV"),
        ("bf16", True, None),
        ("int8", False, None),
    ]
    assert asked[0][:2] == ("build", "net.onnx")
    assert all("--target=tensorrt-rtx" in each for each in asked)


@pytest.mark.usefixtures("_rtx_card")
def test_no_network_to_try_is_a_refusal(
    probe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "run_mahtrt", lambda *_: "exit 6: no torch")
    out = tmp_path / "probe.json"
    assert probe.main(["--out", str(out)]) == 6
    refusal = json.loads(out.read_text(encoding="utf-8"))["refusal"]
    assert refusal == "gpu_probe: no network to try (or give --onnx FILE): exit 6: no torch"


@pytest.mark.slow
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
    ended = run_python(SCRIPT, "--out", tmp_path / "probe.json")
    record = json.loads((tmp_path / "probe.json").read_text(encoding="utf-8"))
    assert ended.returncode == record["exit_code"]
    assert record["refusal"] or record["runs"]
