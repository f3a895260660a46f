"""The planner against its baselines, all from one interleaved run, as a Markdown table.

    python experiments/planner_baselines.py model.onnx --calib DATA --eval DATA --target openvino

Calibrates, measures the sensitivity of every block (kept in mahtrt's cache, so that a second run
is short), plans, and prints the last race: no INT8 at all (named by what it then runs in, BF16
where the CPU multiplies it natively), all that may be INT8, the rules' plan, only the blocks of
big convolutions, and the planner's own. The last line of stdout is one JSON document, which holds
the arguments that give the table again.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path

from mahtrt.bundle.plan import save_plan
from mahtrt.cache import cache_folder
from mahtrt.data.datasets import open_dataset
from mahtrt.data.subset import NetworkTensors, Subset
from mahtrt.graph.graph_file import read_graph
from mahtrt.machine import describe_machine, load_average, package_versions
from mahtrt.measure.limits import Limits
from mahtrt.planning.blocks import find_candidates
from mahtrt.planning.matrix import save_sensitivity
from mahtrt.planning.picture import write_picture
from mahtrt.planning.planner import PlanOptions, PlanResult, make_plan
from mahtrt.planning.proposals import ALL_FLOAT
from mahtrt.planning.recipe import NetworkToPlan, RecipeOptions, make_recipe
from mahtrt.planning.search import REDUCED
from mahtrt.planning.sensitivity import SensitivityOptions, measure_sensitivity
from mahtrt.planning.workbench import BenchSettings
from mahtrt.targets.table import find_target
from mahtrt.targets.target import EngineOptions


def main() -> None:
    given = _arguments()
    begun = time.monotonic()
    target = find_target(given.target)
    target.check_timing(EngineOptions())
    points = [int(p) for p in given.points.split(",")] if given.points else None
    calib = open_dataset(given.calib, points=points, limit=given.calib_images)
    evaluation = open_dataset(given.eval, points=points)
    graph = read_graph(given.onnx)
    candidates = find_candidates(graph.proto, graph.spec)
    _say(begun, f"calibrating on {len(calib)} images")
    recipe = make_recipe(
        graph,
        candidates,
        NetworkTensors(calib, graph.spec.input),
        RecipeOptions(given.method, weight_bits=target.weight_bits(None), threads=given.threads),
    )
    network = NetworkToPlan(graph, candidates, recipe)
    few = Subset(calib, range(min(given.sensitivity_images, len(calib))))
    _say(begun, f"measuring sensitivity on {len(few)} images")
    sensitivity = measure_sensitivity(
        network,
        list(NetworkTensors(few, graph.spec.input)),
        SensitivityOptions(cache=cache_folder(None), threads=given.threads),
        progress=lambda done, of: _say(begun, f"block {done} of {of}"),
    )
    result = make_plan(
        PlanOptions(
            Limits(given.budget_px, given.worst_landmark_px),
            minutes=given.plan_minutes,
            seed=given.seed,
            consider_excluded=given.consider_excluded,
            bench=BenchSettings(EngineOptions(given.threads), given.eval_images, given.rounds),
        ),
        network,
        sensitivity,
        given.target,
        evaluation,
        tell=lambda text: _say(begun, text),
    )
    if given.out:
        save_sensitivity(sensitivity, given.out / "sensitivity.json")
        write_picture(given.out / "sensitivity.png", sensitivity)
        save_plan(result.plan, given.out / "plan.json")
    print(_table(result))
    print(f"\n{result.conclusion}\n")
    conditions = {
        "machine": describe_machine().to_dict(),
        "versions": package_versions(),
        "load": load_average(),
        "threads": given.threads,
        "arguments": {name: _without_folder(value) for name, value in vars(given).items()},
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "seconds": round(time.monotonic() - begun, 1),
    }
    print(json.dumps({**result.to_dict(), "conditions": conditions}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("onnx", type=Path, help="an export of mahtrt")
    parser.add_argument("--calib", default="phantom:64@11", help="DATA to calibrate on")
    parser.add_argument("--eval", default="phantom:48@13", help="DATA to hold plans against")
    parser.add_argument("--points", help="indices of the annotated points, with commas")
    parser.add_argument("--target", default="openvino")
    parser.add_argument("--method", default="minmax")
    parser.add_argument("--budget-px", type=float, default=0.10)
    parser.add_argument("--worst-landmark-px", type=float, default=1.0)
    parser.add_argument("--plan-minutes", type=float, default=10.0)
    parser.add_argument("--calib-images", type=int, default=64)
    parser.add_argument("--eval-images", type=int, default=16)
    parser.add_argument("--sensitivity-images", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--threads", type=int)
    parser.add_argument(
        "--consider-excluded", action="store_true", help="what the spec excludes too"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder for plan.json and the sensitivity")
    return parser.parse_args()


def _table(result: PlanResult) -> str:
    head = ("plan", "INT8 blocks", "p50, ms", "of float", "mean px", "worst landmark px", "budget")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in result.rows:
        moved = row.accuracy
        held = "over" if result.limits.over(moved, REDUCED) else "within"
        name = f"all-{result.float_precision.upper()}" if row.name == ALL_FLOAT else row.name
        lines.append(
            f"| {name} | {len(row.blocks)} | {row.p50_ms:.2f} | {row.against_float} "
            f"| {moved.mean_px:.4f} | {moved.worst_landmark_mean_px:.4f} | {held} |"
        )
    return "\n".join(lines)


def _without_folder(value: object) -> object:
    return str(value).rpartition("/")[2] if isinstance(value, Path | str) else value


def _say(begun: float, text: str) -> None:
    print(f"{time.monotonic() - begun:7.1f} s  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
