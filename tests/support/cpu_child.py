"""Every verb on one small network: what test_cpu_kernels.py runs in a process of its own.

    python cpu_child.py NETWORK.onnx GUEST.mahtrt PICTURE FOLDER

prints one JSON document. The environment says which kernels the libraries may take, and they read
it once, so that each kind of CPU needs a new process.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from foreign_network import POINTS, run

from mahtrt.build import judge
from mahtrt.machine import describe_machine
from mahtrt.targets.openvino.run import compile_model


def use_every_verb(network: Path, guest: Path, picture: Path, folder: Path) -> dict[str, Any]:
    """Exit code and output of each verb."""
    bundle = folder / "net.mahtrt"
    build = ("build", network, "--calib=phantom:6@1", f"--points={POINTS}", "--threads=1")
    both = ("--target=openvino", "--target=onnxruntime")
    planned = ("--plan=auto", "--plan-minutes=0.01", "--target=openvino")
    commands: dict[str, tuple[object, ...]] = {
        "build": (*build, "--fp32", "--bf16", "--int8", *both, f"--out={bundle}"),
        "plan": (*build, "--fp32", "--int8", *planned, f"--out={folder / 'planned.mahtrt'}"),
        "verify": ("verify", bundle),
        "predict": ("predict", bundle, picture, "--engine=openvino-fp32", "--json=-"),
        "bench": ("bench", bundle, "--data=phantom:2@2", f"--points={POINTS}", "--rounds=2",
                  "--threads=1", "--cold-starts=0", "--latency-budget-ms=1e9", "--json=-"),
        "verify guest": ("verify", guest),
        "predict guest's bf16": ("predict", guest, picture, "--engine=openvino-bf16"),
        "predict guest's int8": ("predict", guest, picture, "--engine=onnxruntime-int8"),
        "doctor": ("doctor", "--json=-"),
    }  # fmt: skip
    ended = {name: run(*arguments) for name, arguments in commands.items()}
    return {
        name: {"exit": result.exit_code, "stdout": result.stdout, "stderr": result.stderr}
        for name, result in ended.items()
    }


def kernels_of(path: Path) -> list[str]:
    """Names of the convolutions' kernels."""
    compiled = compile_model(path, inference_precision="f32", threads=1)
    infos = [op.get_rt_info() for op in compiled.get_runtime_model().get_ordered_ops()]
    kinds = [
        info["primitiveType"].astype(str)
        for info in infos
        if info["layerType"].astype(str) == "Convolution"
    ]
    return sorted(set(kinds))


if __name__ == "__main__":
    judge.TIMED_ROUNDS = 1
    folder = Path(sys.argv[4])
    document = {
        "commands": use_every_verb(*map(Path, sys.argv[1:5])),
        "isa": describe_machine().isa,
        "kernels": kernels_of(folder / "net.mahtrt/model.onnx"),
        "int8_kernels": kernels_of(folder / "net.mahtrt/model.int8.onnx"),
    }
    print(json.dumps(document))
