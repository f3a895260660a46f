"""Layer times of ONNX Runtime on a GPU, measured in a process of their own.

ONNX Runtime's profiler times what the CPU does, and a kernel is only started there. In a process
with ``CUDA_LAUNCH_BLOCKING=1`` (CUDA's programming guide) the start of a kernel returns when it is
done, so that the times are those of the kernels and their starts. The variable has to be set before
CUDA is used for the first time, so it cannot be done in this process.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mahtrt import files
from mahtrt.data.feed import Feed
from mahtrt.errors import MahtrtError
from mahtrt.parsing import read_json_file
from mahtrt.reading import Wanted
from mahtrt.scratch import temporary_folder
from mahtrt.targets.layers import Layer

BLOCKING = "CUDA_LAUNCH_BLOCKING"
_SECONDS = 600.0


def profile(onnx_path: Path, feed: Feed) -> list[Layer]:
    """The layers of a graph as the CUDA provider runs it.

    Args:
        feed: Each input by name (B, C, H, W).

    Raises:
        MahtrtError: The process that measures fails; the message has its last line.
    """
    with temporary_folder() as folder:
        for number, array in enumerate(feed.values()):
            packed = io.BytesIO()
            np.lib.format.write_array(packed, np.asarray(array), allow_pickle=False)
            files.write_bytes(folder / f"{number}.npy", packed.getvalue())
        files.write_text(folder / "feed.json", json.dumps(list(feed)))
        done = folder / "layers.json"
        run_child([str(onnx_path), str(folder), str(done)])
        rows = read_json_file(done, Wanted("layer times"))
    return [
        Layer(row["name"], tuple(row["origins"]), row["ms"], tuple(row["readers"])) for row in rows
    ]


def run_child(arguments: Sequence[str]) -> None:
    """Measure in a process of its own; the arguments are those of :func:`main`."""
    command = [sys.executable, "-m", __name__, *arguments]
    environment = {**os.environ, BLOCKING: "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if found.returncode:
        lines = found.stderr.strip().splitlines() or [f"exit code {found.returncode}"]
        raise MahtrtError("layer times of onnxruntime-cuda", got=lines[-1], expected="times")


def main(arguments: Sequence[str]) -> None:
    """Write the layers of a graph as JSON (arguments: ONNX, folder with the feed, output)."""
    from mahtrt.targets.onnxruntime.profile import profile_session
    from mahtrt.targets.onnxruntime_cuda.findings import load_runtime
    from mahtrt.targets.onnxruntime_cuda.provider import ProviderOptions, open_on_gpu

    onnx_path, folder, out = map(Path, arguments)
    ort = load_runtime(f"layer times of {onnx_path.name}")
    names = read_json_file(folder / "feed.json", Wanted("names of inputs"))
    feed = {name: np.load(folder / f"{number}.npy") for number, name in enumerate(names)}

    def open_session(settings: Mapping[str, Any]) -> Any:
        return open_on_gpu(ort, onnx_path, str(onnx_path), ProviderOptions(), settings).session

    layers = [asdict(layer) for layer in profile_session(open_session, feed)]
    files.write_text(out, json.dumps(layers))


if __name__ == "__main__":
    main(sys.argv[1:])
