"""A bundle for what runs on this machine's GPU, benched beside PyTorch, or planned by measuring.

    python experiments/gpu_bench.py --out FILE [--seconds N] [--bundle FOLDER] [--plan]
        [--model maht-net/base]

Exports a network, builds every precision of every target that runs on the GPU here (FP32 for
the CPU where there is none), and benches the engines beside all peers on the GPU: first those that
are ready at once, then those that compile. Where ``torch.compile`` with max-autotune does not end
in its time, its mode reduce-overhead stands in for it, and ``compile_note`` says so. ``--plan``
searches a plan for the first of these targets instead. FILE gets the reports; it is written after
each stage.

Exit codes: 0 all stages ended well (an engine over its budget is in the report); 1 one did not.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
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
from mahtrt.benchmarks.options import TIMED_IMAGES  # noqa: E402
from mahtrt.benchmarks.peers import PEERS  # noqa: E402
from mahtrt.data.datasets import open_dataset  # noqa: E402
from mahtrt.targets.table import all_targets  # noqa: E402

DEMO = "maht-net/nano"
EVALUATED = "phantom:16@99"
IMAGES = ("--calib=phantom:32@11", "--eval=phantom:8@99")
FALL_BACK = "onnxruntime"
COMPILING, QUICK = ("torch-compile", "torch-tensorrt"), "torch-compile-quick"
# Seconds of timed rounds, and seconds that making the compiling peers ready takes at least.
ROUNDS_S, COMPILE_S = 20.0, 40.0
# Seconds that are kept for the mode that stands in, all in all, and of its timed rounds.
QUICK_S, QUICK_ROUNDS_S = 50.0, 8.0
EXIT_DIFFERS, EXIT_SLOW = 3, 4


@dataclass(slots=True)
class Stages:
    """Commands of mahtrt one after the other, and what became of them."""

    out: Path
    deadline: float
    folder: Path
    record: dict[str, Any] = field(default_factory=lambda: {"stages": [], "problem": ""})

    def run(
        self,
        name: str,
        *arguments: str,
        kept: Sequence[int] = (0,),
        limit_s: float | None = None,
    ) -> bool:
        """Run a command; whether it ended with one of the codes ``kept``.

        Args:
            limit_s: Where not to end within it is told, and no problem; None: all that is left.
        """
        left = self.left_s if limit_s is None else limit_s
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
        if limit_s is None or ended.exit_code is not None:
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
    eager = [name for name in PEERS if name not in (*COMPILING, QUICK)]
    _measure(stages, "bench", bundle, eager)
    stages.keep(image_bytes=image_bytes(EVALUATED))
    _measure_compiling(stages, bundle)


def image_bytes(source: str) -> int:
    """Mean bytes of the images that inferences are timed on: what crosses the bus, but for some."""
    samples = itertools.islice(open_dataset(source), TIMED_IMAGES)
    sizes = [sum(image.nbytes for image in sample.images) for sample in samples]
    return round(statistics.mean(sizes))


def _measure_compiling(stages: Stages, bundle: Path) -> None:
    """Bench beside the peers that compile; where there is no time for the best, the next best."""
    limit = stages.left_s - QUICK_S
    if limit >= ROUNDS_S + COMPILE_S:
        if _measure(stages, "bench_compiled", bundle, COMPILING, limit_s=limit):
            return
        last = stages.record["stages"][-1]
        why = last["problem"].partition(": ")[2]
    else:
        why = f"had {max(stages.left_s, 0):.0f} s, and needs {ROUNDS_S + COMPILE_S + QUICK_S:.0f} s"
    note = f"{' and '.join(COMPILING)} with max-autotune {why}"
    if stages.left_s < QUICK_S / 2:
        stages.keep(compile_note=f"{note}; nothing stands in for them")
        return
    stages.keep(compile_note=f"{note}; torch.compile's reduce-overhead stands in")
    _measure(stages, "bench_compiled", bundle, [QUICK], rounds_s=QUICK_ROUNDS_S)


def _measure(
    stages: Stages,
    name: str,
    bundle: Path,
    peers: Sequence[str],
    *,
    limit_s: float | None = None,
    rounds_s: float = ROUNDS_S,
) -> bool:
    """Bench a bundle beside some peers; whether there is a report, which is kept as ``name``."""
    report = stages.folder / f"{name}.json"
    device = "cuda" if _torch_sees_gpu() else "auto"
    asked = [f"--peer={each}" for each in peers]
    arguments = ("bench", str(bundle), *asked, f"--peer-device={device}", f"--json={report}")
    limits = ("--rounds=300", f"--max-seconds={rounds_s:g}", f"--data={EVALUATED}")
    kept = (0, EXIT_DIFFERS, EXIT_SLOW)
    stages.run(name, *arguments, *limits, kept=kept, limit_s=limit_s)
    if not report.exists():
        return False
    stages.keep(**{name: json.loads(report.read_text(encoding="utf-8"))})
    return True


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
        stages.keep(network=options.model)
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
