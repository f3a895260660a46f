"""A bundle for what runs on this machine's GPU, benched beside PyTorch, or planned by measuring.

    python experiments/gpu_bench.py --out FILE [--seconds N] [--bundle FOLDER] [--plan]
        [--model maht-net/base]

Exports a network, builds every precision of every target that runs on the GPU here (FP32 for
the CPU where there is none), and benches the engines beside all peers on the GPU: first those that
are ready at once, then with those that compile. ``--plan`` searches a plan for the first of these
targets instead. FILE gets the reports; it is written after each stage.

Exit codes: 0 all stages ended well (an engine over its budget is in the report); 1 one did not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from experiments.gpu_steps import Ended, interruptible, last_line, run_process  # noqa: E402
from mahtrt.atomic import write_text_atomic  # noqa: E402
from mahtrt.benchmarks.peers import PEERS  # noqa: E402
from mahtrt.targets.table import all_targets  # noqa: E402

DEMO = "maht-net/nano"
IMAGES = ("--calib=phantom:32@11", "--eval=phantom:8@99")
FALL_BACK = "onnxruntime"
COMPILING = ("torch-compile", "torch-tensorrt")
# Seconds of timed rounds, and seconds that making the compiling peers ready takes at least.
ROUNDS_S, COMPILE_S = 20.0, 40.0
EXIT_DIFFERS, EXIT_SLOW = 3, 4


@dataclass(slots=True)
class Stages:
    """Commands of mahtrt one after the other, and what became of them."""

    out: Path
    deadline: float
    folder: Path
    record: dict[str, Any] = field(default_factory=lambda: {"stages": [], "problem": ""})

    def run(self, name: str, *arguments: str, kept: Sequence[int] = (0,)) -> bool:
        """Run a command; whether it ended with one of the codes ``kept``."""
        left = self.deadline - time.monotonic()
        command = [sys.executable, "-m", "mahtrt.cli", *arguments]
        environment = {**os.environ, "PYTHONPATH": _paths()}
        ended = run_process(command, max(left, 1.0), environment, self.folder)
        print(f"== {name}: {' '.join(arguments)}\n{ended.output}", flush=True)
        problem = "" if ended.exit_code in kept else f"{name}: {_how(ended)}"
        self.record["stages"].append(
            {
                "name": name,
                "arguments": list(arguments),
                "exit_code": ended.exit_code,
                "seconds": round(ended.seconds, 1),
                "problem": problem,
            }
        )
        self.record["problem"] = self.record["problem"] or problem
        self.keep()
        return not problem

    def keep(self, **facts: Any) -> None:
        """Write what is known."""
        self.record |= facts
        write_text_atomic(self.out, json.dumps(self.record, indent=1) + "\n")

    @property
    def left_s(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()


def _how(ended: Ended) -> str:
    if ended.exit_code is None:
        return f"did not end within {ended.seconds:.0f} s"
    return f"exit {ended.exit_code}: {last_line(ended.output)}"


def _paths() -> str:
    return os.pathsep.join([str(ROOT), *(each for each in sys.path if each)])


def gpu_targets() -> dict[str, tuple[str, ...]]:
    """Targets that run on a GPU here, with their precisions."""
    return {
        each.name: tuple(each.precisions)
        for each in all_targets()
        if each.device == "cuda" and each.runs_here
    }


def bench(stages: Stages, bundle: Path, model: str) -> None:
    """Export, build for each target in turn, bench."""
    onnx = stages.folder / "nano.onnx"
    if not _export(stages, onnx, model):
        return
    targets = gpu_targets() or {FALL_BACK: ("fp32",)}
    asked = [f"--target={name}" for name in targets]
    asked += [f"--{each}" for each in _common(targets)]
    built = ("build", str(onnx), f"--out={bundle}", "--keep-failed", *asked, *IMAGES)
    if not stages.run("build", *built, kept=(0, EXIT_DIFFERS)):
        return
    _measure(stages, "bench", bundle, [name for name in PEERS if name not in COMPILING])
    if stages.left_s > ROUNDS_S + COMPILE_S:
        _measure(stages, "bench_compiled", bundle, list(PEERS))


def _measure(stages: Stages, name: str, bundle: Path, peers: Sequence[str]) -> None:
    """Bench a bundle beside some peers; the report is kept under ``name``."""
    report = stages.folder / f"{name}.json"
    device = "cuda" if _torch_sees_gpu() else "auto"
    asked = [f"--peer={each}" for each in peers]
    arguments = ("bench", str(bundle), *asked, f"--peer-device={device}", f"--json={report}")
    limits = ("--rounds=300", f"--max-seconds={ROUNDS_S:g}", "--data=phantom:16@99")
    stages.run(name, *arguments, *limits, kept=(0, EXIT_DIFFERS, EXIT_SLOW))
    if report.exists():
        stages.keep(**{name: json.loads(report.read_text(encoding="utf-8"))})


def plan(stages: Stages, bundle: Path, model: str) -> None:
    """Search a plan for the first target that runs on the GPU."""
    target = next(iter(gpu_targets()))
    onnx = stages.folder / "nano.onnx"
    if not _export(stages, onnx, model):
        return
    minutes = max(0.1, stages.left_s * 0.3 / 60)
    out = bundle.with_name("planned.mahtrt")
    arguments = ("build", str(onnx), f"--out={out}", f"--target={target}", "--int8")
    more = ("--plan=auto", f"--plan-minutes={minutes:.2f}", "--keep-failed", *IMAGES)
    if stages.run("plan", *arguments, *more, kept=(0, EXIT_DIFFERS)):
        stages.keep(plan=json.loads((out / "plan.json").read_text(encoding="utf-8")))


def _export(stages: Stages, onnx: Path, model: str) -> bool:
    """Whether the network is there: the demo's, or another with seeded random weights."""
    weights = ("--checkpoint=demo",) if model == DEMO else ()
    return stages.run("export", "export", model, *weights, f"--out={onnx}")


def _common(targets: Mapping[str, Sequence[str]]) -> list[str]:
    """Precisions that all of the targets build."""
    first, *others = targets.values()
    return [each for each in first if all(each in other for other in others)]


def _torch_sees_gpu() -> bool:
    """Asked in a process of its own: this one stays without a context on the card."""
    program = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Bench, or plan."""
    options = _parse(arguments)
    with interruptible(), tempfile.TemporaryDirectory(prefix="mahtrt-gpu-bench-") as folder:
        stages = Stages(options.out, time.monotonic() + options.seconds, Path(folder))
        bundle = options.bundle or Path(folder) / "bench.mahtrt"
        (plan if options.plan else bench)(stages, bundle, options.model)
        stages.keep(targets={name: list(each) for name, each in gpu_targets().items()})
    return 1 if stages.record["problem"] else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Engines and PyTorch on this machine's GPU.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--bundle", type=Path, help="where to leave the bundle")
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--model", default=DEMO, help="other networks have seeded random weights")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
