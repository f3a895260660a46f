"""The suite's orchestration with small steps in place of the real ones: no GPU is needed."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from programs import run_python

from mahtrt.cuda.probe import CudaProbe, probe_cuda
from mahtrt.cuda.state import GpuState
from mahtrt.schema import dataclass_from

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "experiments/gpu_suite.py"
CARD = CudaProbe("13.0", ("NVIDIA H200 (SM 9.0)",), "", ("NVIDIA H200",), ("SM90",), driver="580.1")
SLOW = "import time; time.sleep(60)"


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT)
    module = importlib.import_module("experiments.gpu_suite")
    monkeypatch.setattr(module, "read_gpu", lambda: GpuState("nvidia-smi", "NVIDIA H200"))
    return module


@pytest.fixture
def step(suite: Any) -> Callable[..., Any]:
    def make(name: str, code: str, *, limit_s: float = 20.0, **more: Any) -> Any:
        command = (sys.executable, "-c", code, "{out}", "{seconds}")
        return suite.Step(name, f"step {name}", command, limit_s, more.pop("least_s", 1.0), **more)

    return make


def read(suite: Any, place: Path) -> Any:
    """The JSON, held against its schema."""
    document = json.loads(place.with_name(place.name + ".json").read_text(encoding="utf-8"))
    assert document["schema"] == "mahtrt.gpu-suite/1"
    return dataclass_from(suite.SuiteRecord, document, "the suite's JSON")


@pytest.mark.skipif(not probe_cuda().problem, reason="this machine has a GPU")
def test_without_a_gpu_it_says_in_a_line_what_is_missing(tmp_path: Path) -> None:
    ended = run_python(SCRIPT, "--out", tmp_path)
    assert (ended.returncode, ended.stdout, list(tmp_path.iterdir())) == (6, "", [])
    (line,) = ended.stderr.splitlines()
    assert probe_cuda().problem in line
    assert "expected an NVIDIA GPU" in line


def test_however_a_step_ends_the_others_run(suite: Any, step: Any, tmp_path: Path) -> None:
    says = "import json, sys; open(sys.argv[1], 'w').write(json.dumps({'answer': 42}))"
    steps = [
        step("good", says),
        step("fails", f"{says}; print('no such kernel'); sys.exit(3)"),
        step("crashes", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"),
        step("hangs", SLOW, limit_s=1.0),
        step("refuses", "import sys; print('no card of this kind', file=sys.stderr); sys.exit(6)"),
        step("lacks", "raise SystemExit(1)", packages=("no_such_package", "json")),
        step("lacks-too", "raise SystemExit(1)", programs=("no-such-program",)),
        step("cannot", "raise SystemExit(1)", absent=lambda: "no TensorRT here"),
        step("tells", "print('words'); print('{\"a\": [1,\\n 2]}')", says_json=True),
        step("late", f"{says.replace('answer', 'incomplete')}; sys.exit(7)"),
        step("absent", ""),
    ]
    steps[-1] = suite.Step("absent", "", ("/no/such/program",), 5.0, 1.0)
    code = suite.run_suite(steps, CARD, tmp_path / "gpu-x", 60.0, tmp_path, ["a note"])
    record = read(suite, tmp_path / "gpu-x")
    assert (code, record.exit_code, record.is_finished) == (1, 1, True)
    found = {each.name: (each.status, each.reason) for each in record.steps}
    assert found == {
        "good": ("passed", ""),
        "fails": ("failed", "exit 3: no such kernel"),
        "crashes": ("crashed", "SIGSEGV: "),
        "hangs": ("timeout", "did not end within 1 s"),
        "refuses": ("skipped", "no card of this kind"),
        "lacks": ("skipped", "no Python package no_such_package"),
        "lacks-too": ("skipped", "no program no-such-program"),
        "cannot": ("skipped", "no TensorRT here"),
        "tells": ("passed", ""),
        "late": ("incomplete", "42"),
        "absent": ("failed", "exit 127: /no/such/program: No such file or directory"),
    }
    results = {each.name: dict(each.result) for each in record.steps}
    assert results["good"] == results["fails"] == {"answer": 42}
    assert results["tells"] == {"a": [1, 2]}
    assert record.before.name == "NVIDIA H200"
    log = (tmp_path / "gpu-x.log").read_text(encoding="utf-8")
    assert "no such kernel" in log
    assert "a note" in log
    assert log.rstrip().endswith("exit 1")


def test_steps_that_passed_or_could_not_run_are_no_failure(
    suite: Any, step: Any, tmp_path: Path
) -> None:
    steps = [step("good", ""), step("lacks", "", packages=("no_such_package",))]
    assert suite.run_suite(steps, CARD, tmp_path / "x", 60.0, tmp_path) == 0


def test_each_step_leaves_the_later_ones_their_share(suite: Any, step: Any, tmp_path: Path) -> None:
    steps = [
        step("first", SLOW, limit_s=50.0),
        step("never", "", least_s=50.0, packages=("no_such_package",)),
        step("second", "", least_s=3.0),
        step("third", "", least_s=2.0),
        step("greedy", "", least_s=30.0),
    ]
    # What "greedy" is left is taken from "first"; "never" is left nothing.
    suite.run_suite(steps, CARD, tmp_path / "x", 36.5, tmp_path)
    record = read(suite, tmp_path / "x")
    first, _, second, third, greedy = record.steps
    assert (first.status, second.status, third.status) == ("timeout", "passed", "passed")
    assert first.limit_s == pytest.approx(1.5, abs=0.2)
    assert greedy.status == "passed"
    suite.run_suite(steps[-1:], CARD, tmp_path / "y", 10.0, tmp_path)
    (greedy,) = read(suite, tmp_path / "y").steps
    assert greedy.status == "skipped"
    assert "it needs 30 s" in greedy.reason


PROGRAM = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from experiments import gpu_suite as suite
from mahtrt.cuda.probe import CudaProbe
suite.read_gpu = lambda: None
card = CudaProbe("13.0", ("X (SM 9.0)",), "", ("X",), ("SM90",))
folder = Path(sys.argv[1])
code = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text('{{}}'); "
code += "(pathlib.Path(sys.argv[1]).parent / 'pid').write_text(str(os.getpid())); time.sleep(60)"
steps = [
    suite.Step("good", "", (sys.executable, "-c", ""), 20, 1),
    suite.Step("long", "", (sys.executable, "-c", code, "{{out}}"), 50, 1),
    suite.Step("later", "", (sys.executable, "-c", ""), 20, 1),
]
sys.exit(suite.run_suite(steps, card, folder / "x", 60.0, folder))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_kill_in_the_middle_leaves_what_was_known(
    suite: Any, tmp_path: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], stderr=subprocess.DEVNULL
    )
    pid = _wait_for(tmp_path / "pid")
    process.send_signal(number)
    code = process.wait(30)
    record = read(suite, tmp_path / "x")
    statuses = [(each.name, each.status) for each in record.steps]
    if number is signal.SIGKILL:
        assert statuses == [("good", "passed"), ("long", "running")]
        assert (record.is_finished, record.exit_code) == (False, None)
    else:
        assert code == 128 + number
        assert statuses == [("good", "passed"), ("long", "interrupted")]
        assert (record.is_finished, record.exit_code) == (False, code)
    assert _is_gone(pid)
    assert "good" in (tmp_path / "x.log").read_text(encoding="utf-8")


def _is_gone(pid: int) -> bool:
    for _ in range(500):
        try:
            # One whose parent was killed may wait for somebody to ask how it ended.
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


def _wait_for(place: Path) -> int:
    for _ in range(1000):
        if place.exists() and place.read_text():
            return int(place.read_text())
        time.sleep(0.02)
    raise AssertionError("the step did not begin")


def test_what_is_missing_is_told_with_what_it_prevents(
    suite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "has_package", lambda name: name in ("numpy", "no_version"))
    packages = {each.name: each for each in suite.packages_here()}
    assert packages["numpy"].version
    sentences = suite.missing_of(tuple(packages.values()))
    assert "openvino is missing: no OpenVINO engines beside those of the GPU" in sentences
    assert not any(text.startswith("numpy") for text in sentences)


def test_carried_wheels_are_used_where_a_package_is_missing(
    suite: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("carried_thing-1.2-py3-none-any.whl", "numpy-0.1-py3-none-any.whl"):
        package = name.partition("-")[0]
        with zipfile.ZipFile(tmp_path / name, "w") as wheel:
            wheel.writestr(f"{package}/__init__.py", "ANSWER = 42")
    notes = suite.use_wheels(tmp_path, tmp_path / "unpacked")
    assert notes[0] == "carried_thing-1.2-py3-none-any.whl: 1.2 unpacked"
    assert "is installed, left alone" in notes[1]
    assert str(tmp_path / "unpacked") in suite.step_environment()["PYTHONPATH"].split(os.pathsep)
    assert importlib.import_module("carried_thing").ANSWER == 42
    assert not (tmp_path / "unpacked/numpy").exists()


def test_each_bar_says_what_came_of_it(suite: Any) -> None:
    bars = importlib.import_module("experiments.gpu_bars")

    def record(name: str, result: dict[str, Any], status: str = "passed", reason: str = "") -> Any:
        return suite.StepRecord(name, "", status, reason, result=result)

    def row(name: str, p50_ms: float, device: str = "cuda:0 X", **more: Any) -> dict[str, Any]:
        kind = {"reference": False, "peer": False, "scope": "end_to_end", "runs": 9}
        return (
            {"name": name, "p50_ms": p50_ms, "p99_ms": p50_ms + 1, "device": device} | kind | more
        )

    shares = {"share_of_copy": {"least": 0.85, "got": 0.9}}
    shares["speedup_over_eager"] = {"least": 5.0, "got": 4.0}
    rows = [row("tensorrt-fp16", 1.0), row("torch-compile", 1.5, peer=True)]
    rows += [row("onnxruntime-fp32", 0.1, "cpu")]
    rows += [row("tensorrt-fp16", 0.8, scope="engine", timed_by="device")]
    counts = {"passed": 1, "failed": 0, "skipped": 9, "problem": ""}
    tests = [{"test": bars.THREADS[0], "status": "passed", "reason": ""}]
    tests += [{"test": f"{bars.DEFINITIONS[0]}[b]", "status": "skipped", "reason": "no card"}]
    steps = [
        record("bandwidth", {"bars": shares, "copy_gb_per_s": 4300.0, "rows": [{}]}),
        record("preprocess", {}, "skipped", "no Python package cuda.bindings"),
        record(
            "bench",
            {
                "bench": {"rows": rows, "model": {"family": "maht-net"}},
                "image_bytes": 3_000_000,
                "network": "maht-net/nano",
            },
        ),
        record("memcheck", {"tests": [1], "passed": 3, "sanitizer_errors": 0}),
        record("racecheck", {"tests": [1], "passed": 3, "sanitizer_errors": 0}),
        record("synccheck", {}, "timeout", "did not end within 30 s"),
        record("tests", counts | {"tests": tests, "not_run": [f"{bars.DEFINITIONS[1]}[a]"]}),
        record("soak", {"runs": 90_000, "what": "kernel", "problem": ""}),
    ]
    found = [(each.held, each.got or each.reason) for each in bars.bars_of(steps)]
    assert found == [
        (True, "90.0% of 4300.0 GB/s"),
        (False, "4.00 times"),
        (None, "no Python package cuda.bindings"),
        (True, "tensorrt-fp16 of maht-net: p99 2 ms, 1.50 times as fast as torch-compile"),
        (
            None,
            "the step preprocess did not say how fast this machine copies",
        ),
        (None, f"the suite benches maht-net/nano; try {bars.BASE_COMMAND}"),
        (True, "1 tests passed"),
        (None, f"no card; no time for 1 tests, first {bars.DEFINITIONS[1]}[a]"),
        (
            None,
            "memcheck 0 errors, racecheck 0 errors; synccheck: did not end within 30 s",
        ),
        (True, "1 passed, 0 failed, 9 skipped"),
        (False, "90000 runs of kernel: steady"),
    ]
    assert all(each.held is None for each in bars.bars_of([]))
    shares.clear()
    assert "lacks 'share_of_copy'" in bars.bars_of(steps)[0].reason
    assert bars.line_of(bars.bars_of(steps)[1]).startswith("not run")
    copied = {"kernel_ms": 0.1, "with_copy_ms": 0.3, "image": [1000, 3000], "bar": {"held": True}}
    steps[1] = record("preprocess", copied)
    bar = bars.bars_of(steps)[4]
    assert bar.held  # 1 ms beside 0.8 ms and 0.2 ms
    assert bar.got.endswith("1.00 times 0.8 ms of engine and 0.2 ms of copies")
    rows[-1]["p50_ms"] = 0.6
    assert bars.bars_of(steps)[4].held is False
    rows[-1]["timed_by"] = "wall"
    assert "did not time tensorrt-fp16" in bars.bars_of(steps)[4].reason
    tests[1]["test"], tests[1]["status"] = "tests/cuda/test_soft_argmax_fused.py", "failed"
    bar = bars.bars_of(steps)[7]
    assert (bar.held, "1 failed, first tests/cuda/test_soft" in bar.got) == (False, True)


@pytest.mark.usefixtures("suite")
def test_the_tests_that_decide_bars_are_there() -> None:
    bars = importlib.import_module("experiments.gpu_bars")
    for name in (*bars.THREADS, *bars.DEFINITIONS):
        file, _, test = name.partition("::")
        text = (ROOT / file).read_text(encoding="utf-8")
        assert f"def {test.partition('[')[0]}(" in text


@pytest.mark.parametrize(
    ("last", "held", "told"),
    [
        ("passed", True, "memcheck 0 errors"),
        ("incomplete", None, "initcheck: the time was over"),
        ("failed", False, "initcheck 1 errors"),
    ],
)
def test_a_sanitizer_without_enough_time_has_found_nothing(
    suite: Any, last: str, held: bool | None, told: str
) -> None:
    bars = importlib.import_module("experiments.gpu_bars")
    result = {"tests": [1], "passed": 3, "sanitizer_errors": 0}
    steps = [suite.StepRecord(name, "", "passed", result=result) for name in bars.SANITIZERS]
    result = result | {"sanitizer_errors": int(last == "failed")}
    steps[-1] = suite.StepRecord("initcheck", "", last, "the time was over", result=result)
    bar = next(each for each in bars.bars_of(steps) if "sanitizer" in each.bar)
    assert bar.held is held
    assert told in (bar.got or bar.reason)


def test_files_are_named_after_day_and_card(suite: Any, tmp_path: Path) -> None:
    place = suite.result_place(tmp_path, CARD)
    assert place.parent == tmp_path
    assert place.name.startswith("gpu-20")
    assert place.name.endswith("-h200")


def test_the_real_steps(suite: Any, tmp_path: Path) -> None:
    steps = suite.suite_steps(tmp_path)
    names = [each.name for each in steps]
    assert names[0] == "tests"
    assert len(set(names)) == len(names)
    assert sum(each.least_s for each in steps) < suite.SECONDS < 480
    for each in steps:
        script = Path(each.command[1])
        assert script.exists()
        assert "--out={out}" in each.command
