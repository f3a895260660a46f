"""What each rewrite for OpenVINO gains on a graph: its time with all of them, and without one.

    python experiments/openvino_rewrites.py model.onnx --precision bf16 --threads 2 --rounds 60

The graph is compiled once with every rewrite of mahtrt, once without each, and once without any;
all run interleaved in one process on the same random input. Prints a Markdown table, and one JSON
document as the last line.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mahtrt.machine import describe_machine, load_average, package_versions
from mahtrt.measure.timing import TimingOptions, interleave, speedup
from mahtrt.targets.openvino.run import REWRITES, compile_model

ALL = "all rewrites"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("onnx", type=Path, help="FP32 or INT8 graph")
    parser.add_argument("--precision", choices=("bf16", "f32"), default="bf16")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=60)
    given = parser.parse_args()
    rows = measure(given.onnx, given.precision, given.threads, given.rounds)
    print(_table(rows))
    conditions = {
        "machine": describe_machine().to_dict(),
        "versions": package_versions(),
        "load": load_average(),
        "graph": given.onnx.name,
        "precision": given.precision,
        "threads": given.threads,
        "rounds": given.rounds,
    }
    print(json.dumps({"rows": rows, "conditions": conditions}))


def measure(onnx: Path, precision: str, threads: int | None, rounds: int) -> list[dict[str, Any]]:
    """One row per set of rewrites, the first with all of them."""
    left_out: dict[str, tuple[str, ...]] = {ALL: ()}
    left_out |= {f"without {name}": (name,) for name in REWRITES}
    left_out["without any"] = REWRITES
    engines = {
        name: compile_model(onnx, inference_precision=precision, threads=threads, without=without)
        for name, without in left_out.items()
    }
    feed = _feed(engines[ALL])
    runs = {name: partial(each.infer_new_request, feed) for name, each in engines.items()}
    timings = interleave(runs, TimingOptions(rounds=rounds))
    return [
        {
            "name": name,
            "p50_ms": timings[name].p50_ms,
            "p90_ms": timings[name].p90_ms,
            "p99_ms": timings[name].p99_ms,
            "of_all_rewrites": speedup(timings[name], timings[ALL]),
        }
        for name in engines
    ]


def _feed(compiled: Any) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        each.any_name: rng.normal(size=list(each.shape)).astype(np.float32)
        for each in compiled.inputs
    }


def _table(rows: list[dict[str, Any]]) -> str:
    lines = ["| rewrites | p50/p90/p99, ms | of the time with all |", "|---|---|---|"]
    for row in rows:
        times = " / ".join(f"{row[key]:.2f}" for key in ("p50_ms", "p90_ms", "p99_ms"))
        lines.append(f"| {row['name']} | {times} | {row['of_all_rewrites']:.3f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
