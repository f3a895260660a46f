"""Heatmaps that a decoding is held against its definition on, and a network that gives them."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mahtrt.export.passes.pipeline import export_passes, run_passes
from mahtrt.export.tracing import trace
from mahtrt.models.foreign import AdaptedModule, adapt
from mahtrt.spec import DecodeSpec, InputSpec, ModelSpec, OutputSpec

SIZE = (48, 40)  # heatmaps, (height, width)
SIGMA = 2.0


def gaussian(x: float, y: float, sigma: float = SIGMA) -> NDArray[np.float64]:
    """One peak of height 1 on a map of SIZE."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    found: NDArray[np.float64] = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    return found


def one_hot(x: int, y: int) -> NDArray[np.float64]:
    found = np.zeros(SIZE)
    found[y, x] = 1
    return found


def heatmap_cases() -> NDArray[np.float32]:
    """(N, h, w), N a multiple of 3: random, one-hot, flat, two-peaked, at borders, wide, faint."""
    rng = np.random.default_rng(0)
    height, width = SIZE
    cases = [
        *rng.random((12, *SIZE)),
        *rng.standard_normal((12, *SIZE)),
        *(
            gaussian(x, y, sigma)
            for x, y, sigma in rng.uniform((0, 0, 1), (width, width, 8), (12, 3))
        ),
        *(np.full(SIZE, value) for value in (0.0, 1.0, 0.3, -1.0)),
        *(one_hot(x, y) for x in (0, 1, 20, width - 1) for y in (0, 1, 20, height - 1)),
        gaussian(10, 10) + gaussian(30, 30),  # two of one height, on cells and between them
        gaussian(10.3, 10.3) + gaussian(30.3, 30.3),
        gaussian(10, 10) + 0.95 * gaussian(14, 10),
        gaussian(-1, 20),
        gaussian(20, 20, 25),
        gaussian(20, 20, 60),
        -gaussian(20, 20),
        1e-8 * gaussian(20.2, 20.4),
        1e6 * gaussian(20.2, 20.4),
        gaussian(20, 20) - 0.1,
        gaussian(20.5, 20.5),  # four cells share the peak
    ]
    cases += [gaussian(19.25, 30.75)] * (-len(cases) % 3)
    return np.stack(cases).astype(np.float32)


class HandsOn(nn.Module):
    """Its three heatmaps are the channels of the image, through a product."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.head.weight.copy_(torch.eye(3)[:, :, None, None])

    def forward(self, image: Tensor) -> Tensor:
        heatmaps: Tensor = self.head(image)
        return heatmaps


def dark_network() -> AdaptedModule:
    """A foreign network with DARK in its graph, heatmaps of the input's size."""
    spec = ModelSpec(
        family="hands-on",
        inputs=(InputSpec(size=SIZE),),
        outputs=(OutputSpec("heatmaps", "heatmaps"),),
        landmarks=("a", "b", "c"),
        decode=DecodeSpec("dark", sigma=SIGMA),
    )
    return adapt(HandsOn(), spec)


def dark_graph() -> tuple[onnx.ModelProto, ModelSpec]:
    """That network as an ONNX graph, with its complete spec."""
    module = dark_network()
    traced = trace(module, module.spec, batch=1, opset=20)
    run_passes(traced, export_passes())
    return ir.to_proto(traced), module.spec
