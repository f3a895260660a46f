"""Everything worth knowing of mahtrt on a machine with an NVIDIA GPU, within eight minutes.

    python experiments/gpu_suite.py [--out DIR] [--wheels DIR] [--seconds 470] [--only STEP ...]

Runs from a checkout: mahtrt need not be installed, nor OpenVINO or TensorRT. What is missing is
listed with what it prevents, and the rest runs: the tests marked gpu, alone and under
compute-sanitizer, kernels beside the copy bandwidth of the card, TensorRT builds, a bench beside
PyTorch, planning, and many runs with memory watched. Every step is a process with a share of
the time; one that crashes or hangs is a finding.

Leaves one JSON (``mahtrt.gpu-suite/1``) and one log, written anew before and after each step.
``--wheels`` is a folder of wheels (experiments/gpu_carry.sh makes one): those of packages that are
not there are unpacked for the time of the run.

Exit codes: 0 nothing failed; 1 something failed, crashed or did not end (the JSON says what); 6 no
GPU; 143 and the like: ended by a signal.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import json
import os
import re
import signal
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

from experiments.gpu_bars import BarRecord, bars_of, line_of  # noqa: E402
from experiments.gpu_plan import NEEDED, PROGRAMS, suite_steps  # noqa: E402
from experiments.gpu_steps import (  # noqa: E402
    BAD,
    EXIT_MISSING,
    Interrupted,
    Runner,
    Step,
    StepRecord,
    has_package,
    interruptible,
)
from mahtrt.atomic import write_text_atomic  # noqa: E402
from mahtrt.cuda.probe import CudaProbe, probe_cuda  # noqa: E402
from mahtrt.cuda.state import GpuState, read_gpu  # noqa: E402
from mahtrt.machine import Machine, describe_machine  # noqa: E402
from mahtrt.schema import plain  # noqa: E402

SCHEMA = "mahtrt.gpu-suite/1"
RESULTS = ROOT / "benchmarks/results"
SECONDS = 470.0


@dataclass(frozen=True, slots=True)
class PackageRecord:
    """A package or program that some step uses.

    Attributes:
        version: "" where it is missing.
        needed_for: What is left out without it.
    """

    name: str
    version: str
    needed_for: str


@dataclass(slots=True)
class SuiteRecord:
    """All that a run of the suite found: the JSON.

    Attributes:
        seconds, limit_s: What it took so far, and what it may take.
        is_finished: False while it runs, and for ever where it was killed.
        before, after: The GPU at rest, and right after the last step.
        missing: What was not there, in sentences.
        bars: What the steps say of each bar.
    """

    created: str
    limit_s: float
    machine: Machine
    cuda: CudaProbe
    before: GpuState | None
    packages: tuple[PackageRecord, ...]
    schema: str = SCHEMA
    seconds: float = 0.0
    is_finished: bool = False
    exit_code: int | None = None
    after: GpuState | None = None
    missing: tuple[str, ...] = ()
    steps: tuple[StepRecord, ...] = ()
    bars: tuple[BarRecord, ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite."""
    options = _parse(arguments)
    probe = probe_cuda()
    if probe.problem:
        print(
            f"gpu_suite: got {probe.problem}; expected an NVIDIA GPU. Run it on a machine that "
            "has one.",
            file=sys.stderr,
        )
        return EXIT_MISSING
    with tempfile.TemporaryDirectory(prefix="mahtrt-gpu-suite-") as folder:
        notes = use_wheels(options.wheels, Path(folder) / "wheels") if options.wheels else ()
        steps = [each for each in suite_steps(Path(folder)) if wanted(each, options.only)]
        place = result_place(options.out, probe)
        return run_suite(steps, probe, place, options.seconds, Path(folder), notes)


def run_suite(
    steps: Sequence[Step],
    probe: CudaProbe,
    place: Path,
    limit_s: float,
    folder: Path,
    notes: Sequence[str] = (),
) -> int:
    """Run steps, and keep what they find at ``place`` with the endings .json and .log.

    Returns:
        The exit code.
    """
    started = time.monotonic()
    record = SuiteRecord(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        limit_s=limit_s,
        machine=describe_machine(),
        cuda=probe,
        before=read_gpu(),
        packages=packages_here(),
        notes=tuple(notes),
    )
    record.missing = missing_of(record.packages)
    log = [_head(record)]
    keep = functools.partial(_keep, record, log, place, started)
    runner = Runner(started + limit_s, folder, step_environment(), keep)
    try:
        with interruptible():
            runner.run(steps)
        record.exit_code = 1 if any(each.status in BAD for each in record.steps) else 0
        record.is_finished = True
    except Interrupted as error:
        record.exit_code = 128 + signal.Signals[str(error)].value
    record.after = read_gpu()
    log.append(f"\nafter: {record.after}\n" + "\n".join(summary(record)) + "\n")
    _write(record, log, place, started)
    _tell(*summary(record), f"written: {place}.json and {place.name}.log")
    return record.exit_code


def _keep(
    record: SuiteRecord,
    log: list[str],
    place: Path,
    started: float,
    steps: Sequence[StepRecord],
    output: str,
) -> None:
    """Note the state of all steps; the last but one may have changed its state."""
    record.steps, record.bars = tuple(steps), bars_of(steps)
    latest = steps[-1]
    if latest.status != "running":
        command = " ".join(latest.command)
        log.append(f"\n{_line(latest)}\n{command}\n{output}".rstrip() + "\n")
    _tell(_line(latest))
    _write(record, log, place, started)


def _write(record: SuiteRecord, log: Sequence[str], place: Path, started: float) -> None:
    record.seconds = round(time.monotonic() - started, 1)
    text = json.dumps(plain(record), indent=1, ensure_ascii=False) + "\n"
    write_text_atomic(place.with_name(place.name + ".json"), text)
    write_text_atomic(place.with_name(place.name + ".log"), "".join(log))


def _head(record: SuiteRecord) -> str:
    lines = [
        f"{SCHEMA} {record.created}",
        f"cards: {', '.join(record.cuda.devices)}; driver {record.cuda.driver}, "
        f"CUDA {record.cuda.version}",
        f"before: {record.before}",
        f"{record.machine.cpu}, {record.machine.cores_usable} cores, {record.machine.system}, "
        f"Python {record.machine.python}",
        *(f"{each.name} {each.version}" for each in record.packages if each.version),
        *record.missing,
        *record.notes,
    ]
    return "\n".join(lines) + "\n"


def summary(record: SuiteRecord) -> list[str]:
    """What came out, a line a step, and what was missing."""
    lines = [_line(step) for step in record.steps]
    lines += [line_of(bar) for bar in record.bars]
    return [*lines, f"{record.seconds:.0f} s of {record.limit_s:.0f} s, exit {record.exit_code}"]


def _line(step: StepRecord) -> str:
    if step.status == "running":
        return f"{step.name:<12} {step.what}, at most {step.limit_s:.0f} s ..."
    reason = f"  {step.reason}" if step.reason else ""
    return f"{step.name:<12} {step.status:<11} {step.seconds:6.1f} s{reason}"


def packages_here() -> tuple[PackageRecord, ...]:
    """The packages and programs that steps use, with their versions."""
    found = [
        PackageRecord(name, _version(name, distribution), needed_for)
        for name, (distribution, needed_for) in NEEDED.items()
    ]
    programs = [PackageRecord(name, where(), why) for name, (where, why) in PROGRAMS.items()]
    return (*found, *programs)


def missing_of(packages: Sequence[PackageRecord]) -> tuple[str, ...]:
    """A sentence for each that is not there."""
    return tuple(
        f"{each.name} is missing: no {each.needed_for}" for each in packages if not each.version
    )


def _version(name: str, distribution: str) -> str:
    """A package's version; "" where it is missing, "unknown" where it has none."""
    if not has_package(name):
        return ""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"


def use_wheels(wheels: Path, folder: Path) -> tuple[str, ...]:
    """Unpack the wheels of packages that are not there, for this process and those of the steps.

    Returns:
        What was done with each.
    """
    notes = []
    folder.mkdir(parents=True)
    for wheel in sorted(wheels.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        try:
            notes.append(f"{wheel.name}: {metadata.version(name)} is installed, left alone")
        except metadata.PackageNotFoundError:
            with zipfile.ZipFile(wheel) as packed:
                packed.extractall(folder)
            notes.append(f"{wheel.name}: {version} unpacked")
    sys.path.insert(1, str(folder))
    return tuple(notes) or (f"no wheels in {wheels.name}",)


def step_environment() -> Mapping[str, str]:
    """The steps see this checkout, and what was carried; their texts are not cut or coloured."""
    places = [str(ROOT), str(HERE), *(each for each in sys.path[1:] if each)]
    fixed = {"PYTHONUNBUFFERED": "1", "COLUMNS": "160", "NO_COLOR": "1"}
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(places)), **fixed}


def result_place(out: Path | None, probe: CudaProbe) -> Path:
    """Where JSON and log go, without their endings: named after the day and the card."""
    card = re.sub(r"[^a-z0-9]+", "-", probe.names[0].lower().removeprefix("nvidia ")).strip("-")
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    return (out or RESULTS) / f"gpu-{day}-{card or 'card'}"


def wanted(step: Step, only: Sequence[str] | None) -> bool:
    """Whether a step was asked for."""
    return not only or step.name in only


def _tell(*lines: str) -> None:
    print(*lines, sep="\n", file=sys.stderr, flush=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What mahtrt does on this machine's GPU.")
    parser.add_argument("--out", type=Path, help="folder; benchmarks/results without it")
    parser.add_argument("--wheels", type=Path, help="folder of wheels to use where missing")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all of it")
    parser.add_argument("--only", action="append", help="a step to run; may be repeated")
    options = parser.parse_args(arguments)
    known = [step.name for step in suite_steps(Path("."))]
    unknown: list[Any] = [name for name in options.only or () if name not in known]
    if unknown:
        parser.error(f"--only {unknown[0]}: no such step; expected one of {', '.join(known)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
