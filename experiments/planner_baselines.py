"""The planner against its baselines, all from one interleaved run, as a Markdown table.

    python experiments/planner_baselines.py model.onnx --calib DATA --eval DATA --target openvino

Runs ``mahtrt build --int8 --plan auto`` with the options that are given, and prints the last race
of the planner from the bundle: no INT8 at all (named by what it then runs in, BF16 where the CPU
multiplies it natively), all that may be INT8, the rules' plan, only the blocks of big convolutions,
and the planner's own. The last line of stdout is one JSON document, which holds the arguments that
give the table again.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from mahtrt.machine import describe_machine, load_average, package_versions
from mahtrt.planning.proposals import ALL_FLOAT


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "planned.mahtrt"
        build = ("build", "--int8", "--plan=auto", "--keep-failed", f"--out={bundle}")
        command = [sys.executable, "-m", "mahtrt.cli", *build, *sys.argv[1:]]
        ended = subprocess.run(command, stdout=sys.stderr)
        if not (bundle / "planning.json").exists():
            sys.exit(ended.returncode)
        planning = json.loads((bundle / "planning.json").read_text(encoding="utf-8"))
    print(_table(planning))
    print(f"\n{planning['conclusion']}\n")
    conditions = {
        "machine": describe_machine().to_dict(),
        "versions": package_versions(),
        "load": load_average(),
        "arguments": [argument.rpartition("/")[2] for argument in sys.argv[1:]],
    }
    print(json.dumps({**planning, "conditions": conditions}))


def _table(planning: dict[str, Any]) -> str:
    head = ("plan", "INT8 blocks", "p50, ms", "of float", "mean px", "worst landmark px", "budget")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in planning["last_race"]:
        moved, (median, low, high) = row["accuracy"], row["against_float"]
        is_float = row["name"] == ALL_FLOAT
        name = f"all-{planning['float_precision'].upper()}" if is_float else row["name"]
        lines.append(
            f"| {name} | {len(row['int8_blocks'])} | {row['p50_ms']:.2f} "
            f"| {median:.3f} [{low:.3f}, {high:.3f}] | {moved['mean_px']:.4f} "
            f"| {moved['worst_landmark_mean_px']:.4f} "
            f"| {'over' if row['over_limits'] else 'within'} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
