"""Networks trained for the same minutes at the same time on the same phantoms, then compared.

    python experiments/train_side_by_side.py unet/nano maht-net/nano --minutes 5

Each network is trained in a process of its own with one thread, all at the same time, so that the
load of the machine is the same for all. How many steps fit into the minutes is found by a few steps
of all of them together before. Prints the tables of ``mahtrt evaluate``; the last line of stdout is
one JSON document with the seconds of wall clock and of CPU that each training took.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mahtrt.machine import describe_machine, load_average, package_versions

FIRST = 5  # steps that are not timed: memory is taken in them
PACED = 20


def main() -> None:
    asked = _arguments()
    if asked.child is not None:
        print(json.dumps(_train(asked, asked.models[0], asked.child)))
        return
    with tempfile.TemporaryDirectory() as folder:
        asked.folder = folder
        before = load_average()
        paced = _together(asked, dict.fromkeys(asked.models, FIRST + PACED))
        steps = {
            name: FIRST + round(60 * asked.minutes * PACED / each["wall_s"])
            for name, each in paced.items()
        }
        trained = _together(asked, steps)
        document = Path(folder) / "scores.json"
        judged = [_checkpoint(asked, name) for name in asked.models]
        command = [sys.executable, "-m", "mahtrt.cli", "evaluate", *judged, "--data", asked.eval]
        subprocess.run([*command, "--threads=1", f"--json={document}"], check=True)
        scores = json.loads(document.read_text(encoding="utf-8"))
    conditions = {
        "machine": describe_machine().to_dict(),
        "versions": package_versions(),
        "load": [before, load_average()],
        "arguments": sys.argv[1:],
    }
    print(json.dumps({"trained": trained, "scores": scores, "conditions": conditions}))


def _together(asked: Any, steps: dict[str, int]) -> dict[str, Any]:
    """Train all networks at the same time; what each training took."""
    running = {
        name: subprocess.Popen(
            [
                *(sys.executable, __file__, name, f"--child={count}", f"--folder={asked.folder}"),
                *(f"--batch-size={asked.batch_size}", f"--lr={asked.lr}", f"--size={asked.size}"),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, count in steps.items()
    }
    said = {name: child.communicate()[0] for name, child in running.items()}
    if failed := [name for name, child in running.items() if child.returncode]:
        sys.exit(f"training {', '.join(failed)} failed")
    return {name: json.loads(text) for name, text in said.items()}


def _train(asked: Any, name: str, steps: int) -> dict[str, float]:
    import torch

    from mahtrt.training.options import TrainOptions
    from mahtrt.training.trainer import train

    torch.set_num_threads(1)
    clocks: list[tuple[float, float]] = []
    options = TrainOptions(
        "phantom",
        model=name,
        out=Path(_checkpoint(asked, name)),
        steps=steps,
        batch_size=asked.batch_size,
        learning_rate=asked.lr,
        workers=0,
        overrides={"input_size": (asked.size, asked.size)},
    )
    train(options, lambda _: clocks.append((time.monotonic(), time.process_time())))
    (wall, cpu), (wall_end, cpu_end) = clocks[FIRST - 1], clocks[-1]
    return {"steps": steps, "wall_s": wall_end - wall, "cpu_s": cpu_end - cpu}


def _checkpoint(asked: Any, name: str) -> str:
    return str(Path(asked.folder) / f"{name.replace('/', '-')}.safetensors")


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--eval", default="phantom:64@7")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
