"""A network that mahtrt does not know, as its user would bring it: code, weights, spec.

A small U-Net in one file outside the package, with seeded random weights.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

LANDMARKS = ("left", "right", "chin")
# Phantoms have seven points; a network of three takes three of them.
POINTS = "0,1,2"
SEED = 4

CODE = """
import torch
from torch import nn


def block(inputs, outputs):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class UNet(nn.Module):
    def __init__(self, landmarks, width):
        super().__init__()
        self.down = nn.ModuleList([block(3, width)] + [block(width, width) for _ in range(3)])
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList([nn.ConvTranspose2d(width, width, 2, 2) for _ in range(3)])
        self.join = nn.ModuleList([block(2 * width, width) for _ in range(3)])
        self.head = nn.Conv2d(width, landmarks, 1)

    def forward(self, image):
        levels = [self.down[0](image)]
        for down in self.down[1:]:
            levels.append(down(self.pool(levels[-1])))
        x = levels.pop()
        for up, join in zip(self.up, self.join):
            x = join(torch.cat([up(x), levels.pop()], 1))
        return self.head(x)


def make(landmarks=3, width=32):
    return UNet(landmarks, width)
"""

SPEC = """
family = "my-unet"
landmarks = ["left", "right", "chin"]

[input]
size = [64, 64]

[[outputs]]
name = "maps"
kind = "heatmaps"

[decode]
method = "soft_argmax"
temperature = 0.02
"""


@dataclass(frozen=True, slots=True)
class ForeignNetwork:
    """Where everything of it lies.

    Attributes:
        onnx: What export wrote.
        exported: How that command ended.
    """

    folder: Path
    code: Path
    spec: Path
    checkpoint: Path
    onnx: Path
    exported: Result

    @property
    def reference(self) -> list[str]:
        """The options with which ``build`` and ``bench`` find the network in PyTorch."""
        return [
            f"--model={self.code}:make",
            f"--spec={self.spec}",
            "--kwarg=landmarks=3",
            f"--reference={self.checkpoint}",
        ]


def run(*arguments: object) -> Result:
    """The command line in this process."""
    from mahtrt.cli import app

    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def make_network(folder: Path) -> ForeignNetwork:
    """Write code, weights and spec, and export them."""
    code, spec, checkpoint = folder / "net.py", folder / "spec.toml", folder / "weights.pt"
    code.write_text(CODE, encoding="utf-8")
    spec.write_text(SPEC, encoding="utf-8")
    write_weights(code, checkpoint)
    onnx = folder / "net.onnx"
    exported = run(
        "export",
        f"{code}:make",
        f"--checkpoint={checkpoint}",
        f"--spec={spec}",
        "--kwarg=landmarks=3",
        f"--out={onnx}",
    )
    exported.exc_info = None  # a traceback cannot be pickled, and exit_code says how it ended
    return ForeignNetwork(folder, code, spec, checkpoint, onnx, exported)


def write_weights(code: Path, place: Path, **kwargs: Any) -> None:
    """Seeded random weights of the network, as a training script would save them."""
    import torch

    spec = importlib.util.spec_from_file_location("written_network", code)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.manual_seed(SEED)
    torch.save({"model_state_dict": module.make(**kwargs).state_dict()}, place)
