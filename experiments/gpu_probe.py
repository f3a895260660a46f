"""Records what mahtrt's TensorRT engines do on a machine with an NVIDIA GPU.

    python experiments/gpu_probe.py [--out FILE] [--onnx FILE] [--seconds N]

The JSON holds the machine, its driver and cards, what mahtrt finds of each TensorRT there, what
each TensorRT itself says of the card (experiments/gpu_try_tensorrt.py, also where mahtrt refuses
it), and for each that can run, what ``mahtrt build`` makes of the demo network in FP32, FP16, BF16
and INT8: built, run, judged and timed. Every build has a process of its own, so that a crash is a
finding.

The JSON goes to FILE, anew after each run, or to standard output, progress to standard error. Exit
codes: 0 everything ran and agreed; 1 something failed (the JSON says what); 3 landmarks differ; 6
nothing to run on.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TRY = Path(__file__).resolve().with_name("gpu_try_tensorrt.py")
# Whose kernels a newer card may take where the package has none of its own.
FALL_BACKS = ("SM89", "SM80")
if importlib.util.find_spec("mahtrt") is None:
    sys.path.insert(0, str(ROOT))

from mahtrt.atomic import write_text_atomic  # noqa: E402
from mahtrt.cuda.probe import probe_cuda  # noqa: E402
from mahtrt.machine import describe_machine, package_versions  # noqa: E402
from mahtrt.targets.table import find_target  # noqa: E402
from mahtrt.targets.target import Finding  # noqa: E402

SCHEMA = "mahtrt.gpu-probe/4"
EXIT_OK, EXIT_FAILED, EXIT_DIFFERS, EXIT_MISSING = 0, 1, 3, 6
RUN_S, TRY_S = 600, 60
TARGETS = ("tensorrt", "tensorrt-rtx")
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
IMAGES = ("--calib=phantom:32@11", "--eval=phantom:8@99", "--no-golden", "--no-cache")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the probe."""
    options = _parse(arguments)
    findings = {name: find_target(name).finding() for name in TARGETS}
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": describe_machine().to_dict(),
        "versions": package_versions(),
        "cuda": asdict(probe_cuda()),
        "targets": {name: asdict(finding) for name, finding in findings.items()},
        "refusal": refusal(findings),
        "attempts": [],
        "runs": [],
    }
    deadline = time.monotonic() + options.seconds
    with tempfile.TemporaryDirectory(prefix="mahtrt-gpu-probe-") as folder:
        for module, capability in attempts(record["cuda"]["capabilities"]):
            _tell(f"asking {module} for {capability} ...")
            record["attempts"].append(attempt(module, capability, Path(folder) / "try.json"))
            _keep(record, options.out)
        if not record["refusal"]:
            _run_targets(record, options, Path(folder), deadline)
    record["exit_code"] = exit_code(record)
    _write(record, options.out)
    if record["refusal"]:
        _tell(record["refusal"])
    return int(record["exit_code"])


def refusal(findings: Mapping[str, Finding]) -> str:
    """Why nothing can be run here, with what is missing; "" where something can."""
    if any(finding.able for finding in findings.values()):
        return ""
    found = "; ".join(f"{name}: {finding.detail}" for name, finding in findings.items())
    fixes = " Or: ".join(dict.fromkeys(finding.fix for finding in findings.values()))
    return f"gpu_probe: got {found}; expected a TensorRT that runs on an NVIDIA GPU here. {fixes}"


def attempts(capabilities: Sequence[str]) -> list[tuple[str, str]]:
    """Modules that are here, with what each is asked to build for; none without a card."""
    if not capabilities:
        return []
    tried = [("tensorrt", "-")]
    tried += [("tensorrt_rtx_bindings", each) for each in ("CURRENT", *FALL_BACKS)]
    return [each for each in tried if importlib.util.find_spec(each[0]) is not None]


def attempt(module: str, capability: str, out: Path) -> dict[str, Any]:
    """What a TensorRT says, in a process that may crash."""
    out.unlink(missing_ok=True)
    command = [sys.executable, str(TRY), module, capability, f"--out={out}"]
    problem = run_process(command, TRY_S)
    found: dict[str, Any] = {"module": module, "capability": capability}
    if out.exists():
        found = json.loads(out.read_text(encoding="utf-8"))
    return found | {"ended": problem or "ran, and gave the right numbers"}


def _run_targets(
    record: dict[str, Any], options: argparse.Namespace, folder: Path, deadline: float
) -> None:
    onnx = options.onnx
    if onnx is None:
        onnx = folder / "nano.onnx"
        _tell("exporting the demo network ...")
        problem = run_mahtrt("export", "maht-net/nano", "--checkpoint=demo", f"--out={onnx}")
        if problem:
            record["refusal"] = f"gpu_probe: no network to try (or give --onnx FILE): {problem}"
            return
    for target in (name for name, finding in record["targets"].items() if finding["able"]):
        for precision in PRECISIONS:
            if time.monotonic() > deadline:
                record["runs"].append(
                    {"target": target, "precision": precision, "problem": "no time was left"}
                )
                continue
            _tell(f"building and running {precision} for {target} ...")
            ended = build_and_run(target, precision, onnx, folder / f"{target}-{precision}")
            record["runs"].append({"target": target, "precision": precision} | ended)
            _keep(record, options.out)


def build_and_run(target: str, precision: str, onnx: Path, bundle: Path) -> dict[str, Any]:
    """What a build says of one engine: its own record with accuracy and times, or the problem."""
    asked = (f"--{precision}", f"--target={target}", f"--out={bundle}", "--keep-failed", *IMAGES)
    problem = run_mahtrt("build", str(onnx), *asked)
    manifest = bundle / "manifest.json"
    if not manifest.exists():
        return {"problem": problem}
    (engine,) = json.loads(manifest.read_text(encoding="utf-8"))["engines"]
    return {"agrees": engine["verdict"]["passed"], "engine": engine}


def exit_code(record: Mapping[str, Any]) -> int:
    """What the whole record means for the caller."""
    if record["refusal"]:
        return EXIT_MISSING
    if any("problem" in run for run in record["runs"]):
        return EXIT_FAILED
    return EXIT_OK if all(run["agrees"] for run in record["runs"]) else EXIT_DIFFERS


def run_mahtrt(*arguments: str) -> str:
    """Run the command line in a process that may crash; what went wrong, "" where nothing did."""
    return run_process([sys.executable, "-m", "mahtrt.cli", *arguments], RUN_S)


def run_process(command: Sequence[str], limit_s: float) -> str:
    """Run a program; what went wrong, "" where nothing did."""
    try:
        ended = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=limit_s,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        )
    except subprocess.TimeoutExpired:
        return f"did not end within {limit_s:g} s"
    last = next((line.strip() for line in reversed(ended.stderr.splitlines()) if line.strip()), "")
    if ended.returncode < 0:
        return f"crashed with {signal.Signals(-ended.returncode).name} {last}".strip()
    return f"exit {ended.returncode}: {last}" if ended.returncode else ""


def _keep(record: Mapping[str, Any], out: Path | None) -> None:
    """Write what is known so far."""
    if out is not None:
        write_text_atomic(out, json.dumps({**record, "exit_code": None}, indent=2) + "\n")


def _write(record: Mapping[str, Any], out: Path | None) -> None:
    text = json.dumps(record, indent=2) + "\n"
    if out is None:
        sys.stdout.write(text)
    else:
        write_text_atomic(out, text)
        _tell(f"written: {out}")


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What TensorRT engines do on this machine.")
    parser.add_argument("--out", type=Path, help="file for the JSON, instead of standard output")
    parser.add_argument("--onnx", type=Path, help="an FP32 ONNX of mahtrt export to try")
    parser.add_argument("--seconds", type=float, default=7200.0, help="no build begins after it")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
