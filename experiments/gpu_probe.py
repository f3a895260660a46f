"""Asks a machine with an NVIDIA GPU what mahtrt's TensorRT engines do there.

    python experiments/gpu_probe.py [--out FILE] [--onnx FILE]

Records as JSON: driver, card, compute capability, CUDA; which TensorRT flavours import (each in a
process of its own, so that a crash is a finding); whether TensorRT-RTX builds for this card; and
for every flavour that can run here, what ``mahtrt build`` makes of the demo network in FP32, FP16,
BF16 and INT8, again each in a process of its own: built, run, judged and timed.

The JSON goes to FILE or to standard output, talk to standard error. Exit codes: 0 everything ran
and agreed; 1 something failed (the JSON says what); 3 landmarks differ; 6 nothing to run on. Needs
the standard library for what it can say without packages, and mahtrt's own for the rest.
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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if importlib.util.find_spec("mahtrt") is None:
    sys.path.insert(0, str(ROOT))

from mahtrt.cuda import CudaProbe, probe_cuda  # noqa: E402
from mahtrt.machine import describe_machine, package_versions  # noqa: E402
from mahtrt.targets.tensorrt.flavours import FLAVOURS, Flavour  # noqa: E402

SCHEMA = "mahtrt.gpu-probe/2"
MARK = "@@ "
EXIT_OK, EXIT_FAILED, EXIT_DIFFERS, EXIT_MISSING = 0, 1, 3, 6
IMPORT_S, RUN_S = 180, 600
IMPORT = Path(__file__).resolve().with_name("gpu_probe_import.py")
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
IMAGES = ("--calib=phantom:32@11", "--eval=phantom:8@99", "--no-golden", "--no-cache")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the probe."""
    options = _parse(arguments)
    probe = probe_cuda()
    record = describe(probe)
    _tell(f"driver: {probe.problem or ', '.join(probe.devices)}")
    for name, flavour in FLAVOURS.items():
        _tell(f"importing {flavour.title} ...")
        record["flavours"][name] = import_flavour(flavour, probe)
    record["refusal"] = refusal(probe, record["flavours"])
    if not record["refusal"]:
        with tempfile.TemporaryDirectory(prefix="mahtrt-gpu-probe-") as folder:
            _run_flavours(record, options.onnx, Path(folder))
    code = exit_code(record)
    record["exit_code"] = code
    _write(record, options.out)
    if record["refusal"]:
        _tell(record["refusal"])
    return code


def describe(probe: CudaProbe) -> dict[str, Any]:
    """The machine, its driver and its cards."""
    cards = zip(probe.names, probe.capabilities, strict=True)
    return {
        "schema": SCHEMA,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": describe_machine().to_dict(),
        "versions": package_versions(),
        "cuda": {
            "driver": probe.driver,
            "version": probe.version,
            "problem": probe.problem,
            "devices": [{"name": name, "compute_capability": which} for name, which in cards],
        },
        "flavours": {},
        "refusal": "",
        "runs": [],
    }


def import_flavour(flavour: Flavour, probe: CudaProbe) -> dict[str, Any]:
    """Import a flavour in a child and, for TensorRT-RTX with a GPU, build for the card.

    Returns:
        ``imports``, and where it does ``version``, ``compute_capabilities``,
        ``builds_for_this_card``; where it does not, or the child died, ``problem``.
    """
    if importlib.util.find_spec(flavour.module) is None:
        return {"imports": False, "problem": f"no package {flavour.module}"}
    build = flavour.chooses_capabilities and not probe.problem
    problem, output = run_child([str(IMPORT), flavour.name, *["--build"] * build], IMPORT_S)
    found: dict[str, Any] = {"imports": False}
    for line in output.splitlines():
        if line.startswith(MARK):  # native libraries print there too
            found |= json.loads(line.removeprefix(MARK))
    found |= {"problem": problem} if problem else {}
    if build:
        found["lists_this_card"] = probe.capabilities[0] in found.get("compute_capabilities", ())
        builds = found.get("builds_for_this_card", False)
        found["accepts_this_card"] = found["lists_this_card"] and builds
    return found


def refusal(probe: CudaProbe, flavours: Mapping[str, Mapping[str, Any]]) -> str:
    """Why nothing can be run here, with what is missing; "" where something can."""
    if probe.problem:
        return (
            f"gpu_probe: got {probe.problem}; expected an NVIDIA GPU with its driver. "
            f"Found without one: {_said(flavours)}. Run this command on a machine with a GPU; "
            "mahtrt doctor says what works here."
        )
    if runnable(flavours):
        return ""
    return (
        f"gpu_probe: got {', '.join(probe.devices)} and {_said(flavours)}; expected a TensorRT "
        "that runs on this card. Install one: pip install 'mahtrt[tensorrt]' (any card) or "
        "'mahtrt[tensorrt-rtx]' (RTX cards)."
    )


def runnable(flavours: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Flavours whose engines can be tried here."""
    return [
        name
        for name, found in flavours.items()
        if found["imports"]
        and FLAVOURS[name].supports(str(found.get("version", "")))
        and found.get("accepts_this_card", True)
    ]


def _said(flavours: Mapping[str, Mapping[str, Any]]) -> str:
    def one(name: str, found: Mapping[str, Any]) -> str:
        title = FLAVOURS[name].title
        if not found["imports"]:
            return f"{title} does not import ({found.get('problem', 'unknown')})"
        if found.get("accepts_this_card") is False:
            return f"{title} {found['version']}, which has no kernels for the card"
        return f"{title} {found['version']}"

    return ", ".join(one(name, found) for name, found in flavours.items())


def _run_flavours(record: dict[str, Any], onnx: Path | None, folder: Path) -> None:
    if onnx is None:
        onnx = folder / "nano.onnx"
        _tell("exporting the demo network ...")
        export = ("export", "maht-net/nano", "--checkpoint=demo", f"--out={onnx}")
        problem, _ = run_child(["-m", "mahtrt.cli", *export], RUN_S)
        if problem:
            record["refusal"] = f"gpu_probe: no network to try (or give --onnx FILE): {problem}"
            return
    for name in runnable(record["flavours"]):
        for precision in PRECISIONS:
            _tell(f"building and running {precision} with {FLAVOURS[name].title} ...")
            ended = build_and_run(name, precision, onnx, folder / f"{name}-{precision}")
            record["runs"].append({"flavour": name, "precision": precision} | ended)


def build_and_run(flavour: str, precision: str, onnx: Path, bundle: Path) -> dict[str, Any]:
    """What a build says of one engine: its own record with accuracy and times, or the problem."""
    asked = (f"--{precision}", f"--target={flavour}", f"--out={bundle}", "--keep-failed", *IMAGES)
    problem, _ = run_child(["-m", "mahtrt.cli", "build", str(onnx), *asked], RUN_S)
    manifest = bundle / "manifest.json"
    if not manifest.exists():
        return {"problem": problem}
    document = json.loads(manifest.read_text(encoding="utf-8"))
    (engine,) = document["engines"]
    return {"agrees": engine["verdict"]["passed"], "engine": engine}


def exit_code(record: Mapping[str, Any]) -> int:
    """What the whole record means for the caller."""
    if record["refusal"]:
        return EXIT_MISSING
    if any("problem" in run for run in record["runs"]):
        return EXIT_FAILED
    return EXIT_OK if all(run["agrees"] for run in record["runs"]) else EXIT_DIFFERS


def run_child(arguments: Sequence[str], seconds: float) -> tuple[str, str]:
    """Run a Python program that may crash.

    Returns:
        What went wrong, "" where nothing did, and its standard output.
    """
    try:
        ended = subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        )
    except subprocess.TimeoutExpired:
        return f"did not end within {seconds:g} s", ""
    last = next((line for line in reversed(ended.stderr.splitlines()) if line.strip()), "")
    if ended.returncode < 0:
        problem = f"crashed with {signal.Signals(-ended.returncode).name} {last}".strip()
        return problem, ended.stdout
    return f"exit {ended.returncode}: {last.strip()}" if ended.returncode else "", ended.stdout


def _write(record: Mapping[str, Any], out: Path | None) -> None:
    text = json.dumps(record, indent=2) + "\n"
    if out is None:
        sys.stdout.write(text)
        return
    from mahtrt.atomic import write_text_atomic

    write_text_atomic(out, text)
    _tell(f"written: {out}")


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What TensorRT engines do on this machine.")
    parser.add_argument("--out", type=Path, help="file for the JSON, instead of standard output")
    parser.add_argument("--onnx", type=Path, help="an FP32 ONNX of mahtrt export to try")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
