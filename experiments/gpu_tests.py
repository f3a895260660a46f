"""Runs the tests marked gpu so that a test that crashes or hangs is a finding and no end.

    python experiments/gpu_tests.py --out FILE [--seconds N] [--sanitizer memcheck] [PATH ...]

Every test is noted when it begins and when it ends. Where the process ends in one, that one failed,
and the others are run without it. With ``--sanitizer`` all runs under compute-sanitizer; a tool
that finds an error is a failure. PATHs are folders or files; without any, all of ``tests``.

Exit codes: 0 all passed or skipped; 1 some failed; 6 there is none to run.
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
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

from experiments.gpu_steps import EXIT_MISSING, Ended, interruptible, run_process  # noqa: E402
from experiments.gpu_test_log import DONE, PLACE  # noqa: E402
from mahtrt.atomic import write_text_atomic  # noqa: E402

MOST_TURNS = 4
SANITIZER_EXIT = 86
# One test that hangs must not take all of the time; one that has run so long has hung.
SHARE, HUNG_S = 0.6, 15.0
# A sanitizer slows kernels by far: tests of times fail there, and large ones take minutes.
SLOWED, NOT_SANITIZED = 4, "not takes_less and not batch_of_64"


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
    return 1 if record.get("problem") else 0


def marked_files(paths: Sequence[Path]) -> list[str]:
    """Test files in which something is marked gpu, by their text: only these are imported."""
    found = [
        each for path in paths for each in (path.rglob("test_*.py") if path.is_dir() else [path])
    ]
    # Those of experiments run a whole probe, which is a step of its own.
    found = [each for each in found if each.parent.name != "experiments"]
    marked = [each for each in found if "mark.gpu" in each.read_text(encoding="utf-8")]
    return sorted(os.path.relpath(each.resolve(), ROOT) for each in marked)


def _run_all(
    record: dict[str, Any],
    files: Sequence[str],
    options: argparse.Namespace,
    folder: Path,
    deadline: float,
) -> None:
    """Run, and run again without what ended the process."""
    known: dict[str, dict[str, Any]] = {}
    errors = 0
    for turn in range(MOST_TURNS):
        left = deadline - time.monotonic()
        if left < 2:
            break
        log = folder / f"{turn}.jsonl"
        limit = left if turn == MOST_TURNS - 1 else max(left * SHARE, min(left, HUNG_S))
        ended = _pytest(files, sorted(known), options, limit, log, folder)
        print(ended.output, flush=True)
        found = read_log(log)
        settle(found, ended, time.time(), HUNG_S * (SLOWED if options.sanitizer else 1))
        known |= found
        errors += sanitizer_errors(ended.output) if options.sanitizer else 0
        _conclude(record, known, errors, ended, options)
        _write(record, options.out)
        if ended.exit_code in (0, 1, 5, SANITIZER_EXIT) or not found:
            break


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
        before = known.get(noted["test"], {})
        if before.get("status") != "failed":
            known[noted["test"]] = {"status": "", "seconds": 0.0, "reason": ""} | noted
    return known


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    if not log.exists():
        return
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:  # the last one, half written
            return


def settle(found: dict[str, dict[str, Any]], ended: Ended, now: float, hung_s: float) -> None:
    """Judge the test that had begun and not ended: it failed, or is run again."""
    begun = [name for name, each in found.items() if each["status"] == "started"]
    for name in begun:
        seconds = round(now - found[name].pop("began", now), 1)
        if ended.exit_code is None and seconds < hung_s:
            del found[name]
        else:
            reason = how_it_ended(ended, seconds)
            found[name] |= {"status": "failed", "seconds": seconds, "reason": reason}


def how_it_ended(ended: Ended, seconds: float) -> str:
    """Why a process did not come back from a test."""
    if ended.exit_code is None:
        return f"did not end within {seconds:.0f} s"
    if ended.exit_code < 0:
        return f"crashed the process with signal {-ended.exit_code}"
    return f"ended the process with exit code {ended.exit_code}"


def sanitizer_errors(output: str) -> int:
    """What compute-sanitizer counted."""
    return sum(int(each) for each in re.findall(r"ERROR SUMMARY: (\d+) error", output))


def _conclude(
    record: dict[str, Any],
    known: dict[str, dict[str, Any]],
    errors: int,
    ended: Ended,
    options: argparse.Namespace,
) -> None:
    tests = list(known.values())
    counts = {name: sum(each["status"] == name for each in tests) for name in
              ("passed", "failed", "skipped")}  # fmt: skip
    record |= {"tests": tests, **counts, "exit_code": ended.exit_code, "problem": ""}
    failed = [each["test"] for each in tests if each["status"] == "failed"]
    if options.sanitizer:
        record |= {"sanitizer_errors": errors, "sanitizer_says": sanitizer_lines(ended.output)}
    if failed:
        record["problem"] = f"{len(failed)} of {len(tests)} failed, first {failed[0]}"
    elif errors or ended.exit_code == SANITIZER_EXIT:
        record["problem"] = f"{options.sanitizer} found {errors} errors"
    elif ended.exit_code is None:
        record["problem"] = "the time was over before all tests were run"
    elif ended.exit_code not in (0, 1, 5):  # 1: a file without its package, too
        record["problem"] = f"pytest {how_it_ended(ended, 0)}"


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
