"""Tests that crash or hang are findings of the runner of the tests marked gpu."""

from __future__ import annotations

import importlib
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MIXED = """
import os, signal, time, pytest

pytestmark = pytest.mark.gpu

def test_passes():
    pass

def test_is_skipped():
    pytest.skip("no such card")

def test_crashes():
    os.kill(os.getpid(), signal.SIGSEGV)

@pytest.mark.skipif(True, reason="needs cupy")
def test_is_skipped_by_a_mark():
    pass

def test_fails():
    assert 1 == 2, "wrong sum"

def test_hangs():
    time.sleep(float(os.environ.get("HANG_S", "0")))

def test_is_last():
    pass
"""


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.syspath_prepend(ROOT)
    module = importlib.import_module("experiments.gpu_tests")
    project = tmp_path / "project"
    project.mkdir()
    (project / "pytest.ini").write_text("[pytest]\nmarkers =\n    gpu: needs a GPU\n")
    monkeypatch.setattr(module, "ROOT", project)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)  # it goes to the project, and the test comes back
    return module


def run(runner: Any, tests: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the JSON of tests that are one file."""
    place = runner.ROOT / "test_some.py"
    place.write_text(tests)
    out = runner.ROOT / "out.json"
    code: int = runner.main(["--out", str(out), *arguments, str(place)])
    return code, json.loads(out.read_text(encoding="utf-8"))


def outcomes(record: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {
        each["test"].partition("::")[2]: (each["status"], each["reason"])
        for each in record["tests"]
    }


def test_a_crash_ends_one_test_and_not_the_others(runner: Any) -> None:
    code, record = run(runner, MIXED)
    assert code == 1
    assert outcomes(record) == {
        "test_passes": ("passed", ""),
        "test_is_skipped": ("skipped", "no such card"),
        "test_crashes": ("failed", "crashed the process with signal 11"),
        "test_is_skipped_by_a_mark": ("skipped", "needs cupy"),
        "test_fails": ("failed", "AssertionError: wrong sum"),
        "test_hangs": ("passed", ""),
        "test_is_last": ("passed", ""),
    }
    assert (record["passed"], record["failed"], record["skipped"]) == (3, 2, 2)
    assert record["problem"] == "2 of 7 failed, first test_some.py::test_crashes"


@pytest.mark.slow
def test_a_test_that_hangs_leaves_time_for_the_others(
    runner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HANG_S", "60")
    monkeypatch.setattr(runner, "HUNG_S", 0.2)
    monkeypatch.setattr(runner, "SHARE", 0.4)
    _, record = run(runner, MIXED.replace("os.kill", "str"), "--seconds", "12")
    found = outcomes(record)
    assert found["test_hangs"][0] == "failed"
    assert found["test_hangs"][1].startswith("did not end within")
    assert found["test_is_last"] == ("passed", "")


SLOW_FIRST = """
import time, warnings, pytest

pytestmark = pytest.mark.gpu

def test_is_slow():
    time.sleep(NUMBER)

def test_is_last():
    warnings.warn("of a package of that machine", DeprecationWarning)
"""


@pytest.mark.slow
def test_a_test_that_was_cut_off_is_run_again_with_all_of_the_rest(
    runner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "HUNG_S", 1.0)
    monkeypatch.setattr(runner, "SHARE", 0.2)
    code, record = run(runner, SLOW_FIRST.replace("NUMBER", "6"), "--seconds", "25")
    assert (code, record["problem"], record["incomplete"]) == (0, "", "")
    assert list(outcomes(record)) == ["test_is_last", "test_is_slow"]
    assert record["passed"] == 2


@pytest.mark.slow
def test_too_little_time_is_no_failure(runner: Any) -> None:
    code, record = run(runner, SLOW_FIRST.replace("NUMBER", "30"), "--seconds", "6")
    assert (code, record["problem"], record["failed"]) == (7, "", 0)
    assert (
        record["incomplete"] == f"the time was over before {len(record['not_run'])} tests were run"
    )
    assert "test_some.py::test_is_slow" in record["not_run"]


def test_a_file_that_cannot_be_imported_is_a_failure(runner: Any) -> None:
    code, record = run(runner, "import mahtrt.no_such_module\n# mark.gpu\n")
    assert code == 1
    (only,) = record["tests"]
    assert (only["test"], only["status"]) == ("test_some.py", "failed")
    assert "no_such_module" in only["reason"]


def test_a_file_whose_package_is_missing_is_skipped(runner: Any) -> None:
    code, record = run(runner, "import no_such_package.part\n# mark.gpu\n")
    assert (code, record["problem"], record["skipped"]) == (0, "", 1)
    (only,) = record["tests"]
    assert (only["status"], only["reason"]) == ("skipped", "no Python package no_such_package")


def test_no_tests_is_nothing_to_do(runner: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code, record = run(runner, "def test_without_the_word(): pass\n")
    assert (code, record["problem"]) == (6, "no tests marked gpu")
    assert capsys.readouterr().err == "no tests marked gpu\n"


@pytest.mark.parametrize(
    ("name", "errors", "code"), [("racecheck", 0, 0), ("racecheck", 2, 1), ("memcheck", 0, 0)]
)
def test_under_a_sanitizer(
    runner: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    errors: int,
    code: int,
) -> None:
    tool = tmp_path / "compute-sanitizer"
    tool.write_text(
        '#!/bin/sh\necho "tool $*"\nwhile [ "$1" != -m ]; do p=$1; shift; done\n'
        f'"$p" "$@"\necho "========= ERROR SUMMARY: {errors} errors"\nexit {86 if errors else 0}\n'
    )
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    tests = "import pytest\n@pytest.mark.gpu\ndef test_it(): pass\n"
    found, record = run(runner, tests, "--sanitizer", name)
    assert (found, record["passed"], record["sanitizer_errors"]) == (code, 1, errors)
    assert record["sanitizer_says"] == [f"ERROR SUMMARY: {errors} errors"]
    assert record["problem"] == ("racecheck found 2 errors" if errors else "")
    # Calls that tests have refused on purpose are no findings of memcheck.
    asked = capsys.readouterr().out.partition("tool --tool ")[2].partition("--error-exitcode")[0]
    options = "--report-api-errors no " if name == "memcheck" else ""
    assert asked == f"{name} --target-processes all {options}"


@pytest.mark.parametrize(
    ("output", "count"),
    [
        ("========= ERROR SUMMARY: 1 error\n========= ERROR SUMMARY: 2 errors\n", 3),
        ("========= RACECHECK SUMMARY: 3 hazards displayed (2 errors, 1 warning)\n", 2),
        ("========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n", 0),
        # Ended before its summary.
        ("words\n========= Invalid __global__ read of size 4 bytes\n=========     at 0x10\n", 1),
        ("========= COMPUTE-SANITIZER\n", 0),
    ],
)
def test_what_a_sanitizer_counts(runner: Any, output: str, count: int) -> None:
    assert runner.sanitizer_errors(output) == count


def test_the_marked_files_of_the_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(ROOT)
    module = importlib.import_module("experiments.gpu_tests")
    found = module.marked_files([ROOT / "tests"])
    assert "tests/targets/tensorrt/test_tensorrt.py" in found
    assert "tests/measure/test_timing.py" not in found
    assert found[-1] == "tests/models/test_torch_peers.py"  # torch.compile takes long


HIDING = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if any(name == each or name.startswith(each + ".") for each in {names!r}):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
"""


@pytest.mark.slow
def test_without_what_the_step_does_not_need_no_test_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(ROOT)
    module = importlib.import_module("experiments.gpu_tests")
    plan = importlib.import_module("experiments.gpu_plan")
    hidden = sorted(set(plan.NEEDED) - set(plan.TESTED))
    (tmp_path / "sitecustomize.py").write_text(HIDING.format(names=hidden))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    monkeypatch.chdir(ROOT)
    out = tmp_path / "out.json"
    code = module.main(["--out", str(out), "--seconds=100"])
    record = json.loads(out.read_text(encoding="utf-8"))
    assert (code, record["problem"], record["failed"]) == (0, "", 0)
    reasons = {each["reason"] for each in record["tests"]}
    assert "no Python package torch" in reasons
