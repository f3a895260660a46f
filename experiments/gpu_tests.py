"""Runs the tests marked gpu so that a test that crashes or hangs is a finding and no end.

    python experiments/gpu_tests.py --out FILE [--seconds N] [--sanitizer memcheck] [PATH ...]

Every test is noted when it begins and when it ends. Where the process ends in one, that one failed,
and the others are run without it. One that was under way when its turn's time was over is run once
more behind all others, with all of the time that is left. With ``--sanitizer`` all runs under
compute-sanitizer; a tool that finds an error is a failure. PATHs are folders or files; without any,
all of ``tests``.

Exit codes: 0 all passed or skipped; 1 some failed; 6 there is none to run; 7 nothing failed, and
the time was over before all were run.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

from experiments.gpu_steps import (  # noqa: E402
    EXIT_INCOMPLETE,
    EXIT_MISSING,
    Ended,
    interruptible,
    run_process,
)
from experiments.gpu_test_log import DONE, PLACE  # noqa: E402
from mahtrt.atomic import write_text_atomic  # noqa: E402

MOST_TURNS = 4
SANITIZER_EXIT = 86
# One test that hangs must not take all of the time; one that has run so long has hung.
SHARE, HUNG_S = 0.6, 15.0
# A sanitizer slows kernels by far: tests of times fail there, and large ones take minutes.
SLOWED, NOT_SANITIZED = 4, "not takes_less and not batch_of_64"
# Of one tool: memcheck counts calls that the driver refuses, and tests have some refused on purpose
# (https://docs.nvidia.com/compute-sanitizer, command line options: all, explicit or no).
TOOL_OPTIONS = {"memcheck": ("--report-api-errors", "no")}
# How its tools end, racecheck in words of its own, and how what they report begins.
SUMMARY = r"(?:ERROR SUMMARY: |RACECHECK SUMMARY: \d+ hazards? displayed \()(\d+) error"
REPORT = r"^========= (?:Invalid __|Uninitialized __|Barrier error|Error: Race|Error: Potential)"
# Files that compile for minutes come behind the others.
LONG = ("test_torch_peers",)
ORDERLY = (0, 1, 5)  # pytest came to its end; 1: also where a file lacks its package


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tests."""
    options = _parse(arguments)
    files = marked_files(options.paths or [ROOT / "tests"])
    record: dict[str, Any] = {"files": files, "sanitizer": options.sanitizer, "tests": []}
    if not files:
        record["problem"] = "no tests marked gpu"
        _write(record, options.out)
        print(record["problem"], file=sys.stderr)
        return EXIT_MISSING
    deadline = time.monotonic() + options.seconds
    with interruptible(), tempfile.TemporaryDirectory(prefix="mahtrt-gpu-tests-") as folder:
        _run_all(record, files, options, Path(folder), deadline)
    _write(record, options.out)
    if record.get("problem"):
        return 1
    return EXIT_INCOMPLETE if record.get("incomplete") else 0


def marked_files(paths: Sequence[Path]) -> list[str]:
    """Test files in which something is marked gpu, by their text: only these are imported.

    Those that take longest come last.
    """
    found = [
        each for path in paths for each in (path.rglob("test_*.py") if path.is_dir() else [path])
    ]
    # Those of experiments run a whole probe, which is a step of its own.
    found = [each for each in found if each.parent.name != "experiments"]
    marked = [each for each in found if "mark.gpu" in each.read_text(encoding="utf-8")]
    marked.sort(key=lambda each: (each.stem in LONG, each.resolve()))
    return [os.path.relpath(each.resolve(), ROOT) for each in marked]


@dataclass(slots=True)
class Found:
    """What all turns found.

    Attributes:
        tests: Those that ended, by name, with what was noted of them.
        cut: Those that were under way when a turn's time was over: run again, behind the others.
        collected: All that there are, as far as a turn came to list them.
        errors: What the sanitizer counted.
    """

    tests: dict[str, dict[str, Any]] = field(default_factory=dict)
    cut: dict[str, None] = field(default_factory=dict)
    collected: set[str] = field(default_factory=set)
    errors: int = 0

    def not_run(self) -> list[str]:
        """Tests that did not come to their end, though nothing is wrong with them."""
        return sorted((self.collected | set(self.cut)) - set(self.tests))


def _run_all(
    record: dict[str, Any],
    files: Sequence[str],
    options: argparse.Namespace,
    folder: Path,
    deadline: float,
) -> None:
    """Run, and run again without what ended the process; what was cut off comes last."""
    found = Found()
    record |= {"problem": "", "incomplete": "the time was over before the first test"}
    for turn in range(MOST_TURNS):
        left = deadline - time.monotonic()
        if left < 2:
            break
        limit = left if turn == MOST_TURNS - 1 else max(left * SHARE, min(left, HUNG_S))
        ended, more = _turn(found, files, options, limit, folder)
        _conclude(record, found, ended, options)
        _write(record, options.out)
        if ended.exit_code in (*ORDERLY, SANITIZER_EXIT) or not more:
            break
    left = deadline - time.monotonic()
    if found.cut and left > 2:
        ended, _ = _turn(found, (), options, left, folder)
        _conclude(record, found, ended, options)


def _turn(
    found: Found,
    files: Sequence[str],
    options: argparse.Namespace,
    limit_s: float,
    folder: Path,
) -> tuple[Ended, bool]:
    """Run pytest once, without files on what was cut off before.

    Returns:
        How it ended, and whether it began any test.
    """
    asked = files or tuple(found.cut)
    done = [*found.tests, *found.cut] if files else []
    log = folder / "turn.jsonl"
    log.unlink(missing_ok=True)
    ended = _pytest(asked, done, options, limit_s, log, folder)
    print(ended.output, flush=True)
    now = read_log(log)
    found.collected |= collected(log)
    hung_s = HUNG_S * (SLOWED if options.sanitizer else 1)
    cut = settle(now, ended, time.time(), float("inf") if files else hung_s)
    for name in now:
        found.cut.pop(name, None)
    found.cut |= dict.fromkeys(cut)
    found.tests |= now
    found.errors += sanitizer_errors(ended.output) if options.sanitizer else 0
    return ended, bool(now or cut)


def _pytest(
    files: Sequence[str],
    done: Sequence[str],
    options: argparse.Namespace,
    limit_s: float,
    log: Path,
    folder: Path,
) -> Ended:
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-p", "gpu_test_log"]
    command += ["-p", "no:cacheprovider", "--continue-on-collection-errors", "-o", "addopts=-ra"]
    # Packages of that machine may warn of what is none of ours.
    command += ["-o", "filterwarnings=default", "--tb=short", f"--rootdir={ROOT}", *files]
    listed = folder / "done.txt"
    listed.write_text("\n".join(done), encoding="utf-8")
    if options.sanitizer:
        command += ["-k", NOT_SANITIZED]
        tool = ["compute-sanitizer", "--tool", options.sanitizer, "--target-processes", "all"]
        tool += TOOL_OPTIONS.get(options.sanitizer, ())
        command = [*tool, "--error-exitcode", str(SANITIZER_EXIT), "--print-limit", "20", *command]
    paths = [str(HERE), str(ROOT), os.environ.get("PYTHONPATH", "")]
    seen = os.pathsep.join(filter(None, paths))
    environment = {**os.environ, "PYTHONPATH": seen, PLACE: str(log), DONE: str(listed)}
    os.chdir(ROOT)
    return run_process(command, limit_s, environment, folder)


def read_log(log: Path) -> dict[str, dict[str, Any]]:
    """Every test with the last that was noted of it; a failure stays one."""
    known: dict[str, dict[str, Any]] = {}
    for noted in _lines(log):
        if "test" not in noted:
            continue
        before = known.get(noted["test"], {})
        if before.get("status") != "failed":
            known[noted["test"]] = {"status": "", "seconds": 0.0, "reason": ""} | noted
    return known


def collected(log: Path) -> set[str]:
    """The tests that a turn was to run."""
    return {name for noted in _lines(log) for name in noted.get("collected", ())}


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    if not log.exists():
        return
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:  # the last one, half written
            return


def settle(found: dict[str, dict[str, Any]], ended: Ended, now: float, hung_s: float) -> list[str]:
    """Judge the test that had begun and not ended: it failed, or the time cut it off.

    Returns:
        What was cut off, and is not among ``found`` any more.
    """
    cut = []
    for name in [name for name, each in found.items() if each["status"] == "started"]:
        seconds = round(now - found[name].pop("began", now), 1)
        if ended.exit_code is None and seconds < hung_s:
            del found[name]
            cut.append(name)
        else:
            reason = how_it_ended(ended, seconds)
            found[name] |= {"status": "failed", "seconds": seconds, "reason": reason}
    return cut


def how_it_ended(ended: Ended, seconds: float) -> str:
    """Why a process did not come back from a test."""
    if ended.exit_code is None:
        return f"did not end within {seconds:.0f} s"
    if ended.exit_code < 0:
        return f"crashed the process with signal {-ended.exit_code}"
    return f"ended the process with exit code {ended.exit_code}"


def sanitizer_errors(output: str) -> int:
    """What compute-sanitizer counted; where it was ended before it could tell, what it reported."""
    told = [int(each) for each in re.findall(SUMMARY, output)]
    return sum(told) if told else len(re.findall(REPORT, output, re.MULTILINE))


def _conclude(
    record: dict[str, Any], found: Found, ended: Ended, options: argparse.Namespace
) -> None:
    """Say what failed (``problem``), and else what there was no time for (``incomplete``)."""
    tests = list(found.tests.values())
    counts = {name: sum(each["status"] == name for each in tests) for name in
              ("passed", "failed", "skipped")}  # fmt: skip
    record |= {"tests": tests, **counts, "exit_code": ended.exit_code, "not_run": found.not_run()}
    failed = [each["test"] for each in tests if each["status"] == "failed"]
    if options.sanitizer:
        record |= {
            "sanitizer_errors": found.errors,
            "sanitizer_says": sanitizer_lines(ended.output),
        }
    record |= {"problem": "", "incomplete": ""}
    if failed:
        record["problem"] = f"{len(failed)} of {len(tests)} failed, first {failed[0]}"
    elif found.errors or ended.exit_code == SANITIZER_EXIT:
        record["problem"] = f"{options.sanitizer} found {found.errors} errors"
    elif ended.exit_code is not None and ended.exit_code not in ORDERLY:
        record["problem"] = f"pytest {how_it_ended(ended, 0)}"
    elif record["not_run"]:
        record["incomplete"] = f"the time was over before {len(record['not_run'])} tests were run"
    elif ended.exit_code is None:
        record["incomplete"] = "the time was over before all tests were run"


def sanitizer_lines(output: str) -> list[str]:
    """The first of what the sanitizer says; its lines begin with nine ``=`` and a blank."""
    says = "========= "
    lines = [line[10:].strip() for line in output.splitlines() if line.startswith(says)]
    return [line for line in lines if line][:60]


def _write(record: dict[str, Any], out: Path) -> None:
    write_text_atomic(out, json.dumps(record, indent=1) + "\n")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the tests marked gpu, crash or no crash.")
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--sanitizer", default="", help="a tool of compute-sanitizer")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
