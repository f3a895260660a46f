"""The command line: small verbs, and the exit codes of the gates."""

from __future__ import annotations

import errno
import importlib
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from foreign_network import POINTS, ForeignNetwork, run
from typer.testing import Result

from mahtrt.build import judge as judge_module
from mahtrt.targets.target import has_module

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge_module, "TIMED_ROUNDS", 1)
        yield


def check_error(result: Result, exit_code: int, *mentions: str) -> None:
    assert result.exit_code == exit_code, result.output
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.stderr
    assert all(mention in errors[0] for mention in mentions), errors[0]


def test_doctor_json() -> None:
    result = run("doctor", "--json=-")
    document = json.loads(result.stdout)
    assert document["schema"] == "mahtrt.doctor/1"
    assert result.exit_code == (0 if document["ok"] else 6)
    assert {check["status"] for check in document["checks"]} <= {"ok", "warn", "missing", "error"}


def test_doctor_table() -> None:
    assert "Packages" in run("doctor").stdout


def test_models_json(tmp_path: Path) -> None:
    result = run("models", f"--json={tmp_path / 'models.json'}")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    row = json.loads((tmp_path / "models.json").read_text())["models"][0]
    assert row["name"] == "maht-net/nano"
    assert 0 < row["parameters"] < 7_500_000
    assert row["gflops"] > 0
    assert "maht-net/nano" in run("models").stdout


def build(network: ForeignNetwork, out: Path, *options: str) -> Result:
    return run(
        "build",
        network.onnx,
        "--calib=phantom:4@1",
        f"--points={POINTS}",
        "--target=onnxruntime",
        "--threads=1",
        f"--out={out / 'net.mahtrt'}",
        *options,
    )


@pytest.fixture(scope="module")
def bundle(foreign_network: ForeignNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FP32 and INT8 for ONNX Runtime."""
    out = tmp_path_factory.mktemp("cli")
    result = build(foreign_network, out, "--fp32", "--int8")
    assert result.exit_code == 0, result.output
    assert "default engine onnxruntime-" in result.stdout
    return out / "net.mahtrt"


def test_build_exits_3_and_writes_nothing_when_over_budget(
    foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    result = build(foreign_network, tmp_path, "--int8", "--budget-px=0")
    check_error(result, 3, "accuracy gate", "onnxruntime-int8", "--keep-failed")
    assert "FAIL" in result.stderr, "the table says how far"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--budget-p99-px", "--budget-max-px"])
def test_single_landmarks_have_budgets_too(
    foreign_network: ForeignNetwork, tmp_path: Path, option: str
) -> None:
    result = build(foreign_network, tmp_path, "--int8", f"{option}=0")
    check_error(result, 3, "accuracy gate", "onnxruntime-int8")
    assert not list(tmp_path.iterdir())


def test_keep_failed_exits_3_too_but_writes(
    foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    result = build(foreign_network, tmp_path, "--int8", "--budget-px=0", "--keep-failed")
    assert result.exit_code == 3
    assert "warning: kept although over budget: onnxruntime-int8" in result.stderr
    manifest = json.loads((tmp_path / "net.mahtrt" / "manifest.json").read_text())
    passed = {engine["name"]: engine["verdict"]["passed"] for engine in manifest["engines"]}
    assert passed["onnxruntime-int8"] is False


def bench(bundle: Path, *options: str) -> Result:
    return run(
        "bench",
        bundle,
        "--rounds=1",
        "--threads=1",
        "--data=phantom:2@5",
        f"--points={POINTS}",
        *options,
    )


def test_bench_exits_0(bundle: Path) -> None:
    result = bench(bundle, "--latency-budget-ms=1e9")
    assert result.exit_code == 0, result.output
    assert "no PyTorch reference at hand" in " ".join(result.stdout.split())
    assert "PASS" in result.stdout


def test_bench_exits_3_when_the_accuracy_fails(bundle: Path, tmp_path: Path) -> None:
    place = tmp_path / "report.json"
    result = bench(bundle, "--budget-px=0", "--latency-budget-ms=1e9", f"--json={place}")
    assert result.exit_code == 3, result.output
    assert "error: onnxruntime-int8: mean displacement" in result.stderr
    verdict = json.loads(place.read_text())["verdict"]
    assert (verdict["accuracy_pass"], verdict["latency_pass"]) == (False, True)
    assert verdict["pass"] is False


def test_bench_exits_4_when_the_latency_fails(bundle: Path) -> None:
    result = bench(bundle, "--latency-budget-ms=0.001", "--json=-")
    check_error(result, 4, "end_to_end p99", "0.001 ms")
    verdict = json.loads(result.stdout)["verdict"]
    assert (verdict["accuracy_pass"], verdict["latency_pass"]) == (True, False)


def test_bench_exits_3_when_both_fail(bundle: Path) -> None:
    assert bench(bundle, "--budget-px=0", "--latency-budget-ms=0.001").exit_code == 3


@pytest.mark.parametrize("verb", ["predict", "bench"])
def test_an_unknown_engine_is_a_usage_error(bundle: Path, verb: str, tmp_path: Path) -> None:
    more = [tmp_path / "x.png"] if verb == "predict" else []
    result = run(verb, bundle, *more, "--engine=tpu-int4")
    check_error(result, 2, "tpu-int4", "onnxruntime-int8")


def test_an_unknown_target_is_a_usage_error(
    foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    result = build(foreign_network, tmp_path, "--fp32", "--target=abacus")
    check_error(result, 2, "abacus", "openvino")


def test_two_results_for_stdout_are_a_usage_error(bundle: Path) -> None:
    check_error(run("predict", bundle, "x.png", "--json=-", "--csv=-"), 2, "stdout")


def test_fp16_for_a_target_without_it_is_a_missing_component(
    foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    out = f"--out={tmp_path / 'net.mahtrt'}"
    result = run("build", foreign_network.onnx, "--fp16", "--target=openvino", out)
    check_error(result, 6, "FP16", "tensorrt-rtx")


def test_tensorrt_that_is_not_installed_is_exit_6(
    foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    assert not has_module("tensorrt")
    result = build(foreign_network, tmp_path, "--fp16", "--target=tensorrt")
    check_error(result, 6, "target tensorrt", "pip install 'mahtrt[tensorrt]'")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def no_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it were not installed: importing it fails as Python fails then."""
    real = importlib.import_module

    def imported(name: str, package: str | None = None) -> object:
        if name.partition(".")[0] == "onnxruntime":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", imported)
    for name in [name for name in sys.modules if name.partition(".")[0] == "onnxruntime"]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.usefixtures("no_onnxruntime")
def test_a_target_without_its_package_is_a_missing_component(
    foreign_network: ForeignNetwork, bundle: Path, tmp_path: Path
) -> None:
    result = build(foreign_network, tmp_path, "--fp32")
    check_error(result, 6, "onnxruntime", "pip install 'mahtrt[cpu]'")
    assert not list(tmp_path.iterdir())
    check_error(run("predict", bundle, "x.png"), 6, "onnxruntime")


def test_export_without_torch_is_a_missing_component(
    foreign_network: ForeignNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # import torch: ModuleNotFoundError
    for verb in ("export", "train"):
        arguments = {"export": ["maht-net/nano"], "train": ["--data=phantom:2"]}[verb]
        result = run(verb, *arguments, f"--out={tmp_path / 'x'}")
        check_error(result, 6, "torch", "pip install 'mahtrt[export]'")
    result = build(foreign_network, tmp_path, "--fp32", *foreign_network.reference)
    check_error(result, 6, "torch", "pip install 'mahtrt[export]'")
    assert not list(tmp_path.iterdir())


def test_a_closed_pipe_is_no_error_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(*_: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("mahtrt.verbs.doctor.write_json", write)
    result = run("doctor", "--json=-")
    assert result.exit_code == 1
    assert result.stderr == ""
