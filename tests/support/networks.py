"""Small networks in the manner of what users bring, and their specs."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from mahtrt.spec import DecodeSpec, InputSpec, ModelSpec, OutputSpec

SIZE = (32, 48)
NAMES = ("nose", "chin", "ear")


def spec_for(*outputs: OutputSpec, size: tuple[int, int] = SIZE, method: str = "none") -> ModelSpec:
    return ModelSpec(
        "test-net",
        (InputSpec(size),),
        outputs,
        landmarks=NAMES,
        decode=DecodeSpec(method, temperature=0.1),  # type: ignore[arg-type]
    )


HEATMAPS = OutputSpec("heatmaps", "heatmaps")
LANDMARKS = OutputSpec("points", "landmarks", frame="normalized")
MAP = OutputSpec("features", "map")


def images(count: int, size: tuple[int, int] = SIZE) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(7)
    return [rng.normal(size=(3, *size)).astype(np.float32) for _ in range(count)]


def settle(module: nn.Module) -> nn.Module:
    """Give weights and batch-norm statistics values that a wrong fold would show."""
    torch.manual_seed(3)
    for submodule in module.modules():
        if isinstance(submodule, nn.BatchNorm2d):
            nn.init.uniform_(submodule.weight, 0.5, 1.5)
            nn.init.normal_(submodule.bias, std=0.3)
            assert submodule.running_mean is not None
            assert submodule.running_var is not None
            nn.init.normal_(submodule.running_mean, std=0.3)
            nn.init.uniform_(submodule.running_var, 0.5, 1.5)
    return module


def conv_block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class UNet(nn.Module):
    """Heatmaps (B, 3, 32, 48) as a plain tensor, with a head per landmark."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.down = nn.ModuleList([conv_block(3, width), conv_block(width, 2 * width)])
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2, bias=False)
        self.up_norm = nn.BatchNorm2d(width)
        self.join = conv_block(2 * width, width)
        self.drop = nn.Dropout2d(0.5)
        self.heads = nn.ModuleList([nn.Conv2d(width, 1, 1) for _ in NAMES])

    def forward(self, x: Tensor) -> Tensor:
        skip = self.down[0](x)
        deep = self.down[1](F.max_pool2d(skip, 2))
        joined = self.join(torch.cat([skip, self.up_norm(self.up(deep))], 1))
        joined = self.drop(joined)
        return torch.cat([torch.sigmoid(head(joined)) for head in self.heads], 1)


class SqueezeExciteNet(nn.Module):
    """A dict with an auxiliary branch: BatchNorm, SiLU, squeeze-excite, bilinear resize."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.SiLU())
        self.squeeze = nn.Sequential(nn.Conv2d(8, 4, 1), nn.SiLU(), nn.Conv2d(4, 8, 1))
        self.head = nn.Conv2d(8, len(NAMES), 1)
        self.auxiliary = nn.Linear(8, 2 * len(NAMES))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.stem(x)
        features = features * self.squeeze(features.mean((2, 3), keepdim=True)).sigmoid()
        large = F.interpolate(features, size=SIZE, mode="bilinear", align_corners=False)
        return {
            "auxiliary": self.auxiliary(features.mean((2, 3))),
            "heatmaps": self.head(large),
        }


class Block(nn.Module):
    """Pre-norm attention block; ``by_hand`` writes GELU and the second norm as formulas."""

    def __init__(self, width: int, heads: int, *, eager: bool, by_hand: bool) -> None:
        super().__init__()
        self.heads, self.eager, self.by_hand = heads, eager, by_hand
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(b, n, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if self.eager:
            weights = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(-1)
            mixed = weights @ v
        else:
            mixed = F.scaled_dot_product_attention(q, k, v)
        x = x + self.drop(self.proj(mixed.transpose(1, 2).reshape(b, n, c)))
        change: Tensor = self.fc2(self._gelu(self.fc1(self._norm(x))))
        return x + change

    def _norm(self, x: Tensor) -> Tensor:
        if not self.by_hand:
            normal: Tensor = self.norm2(x)
            return normal
        centred = x - x.mean(-1, keepdim=True)
        variance = centred.pow(2).mean(-1, keepdim=True)
        return centred / torch.sqrt(variance + 1e-5) * self.norm2.weight + self.norm2.bias

    def _gelu(self, x: Tensor) -> Tensor:
        if not self.by_hand:
            return F.gelu(x)
        return 0.5 * x * (1.0 + torch.erf(x / math.sqrt(2.0)))


class Transformer(nn.Module):
    """Points (B, 3, 2) in [0, 1] and a feature map, as a tuple."""

    def __init__(self, *, eager: bool = False, by_hand: bool = False, width: int = 16) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.position = nn.Parameter(torch.randn(1, 24, width))
        self.blocks = nn.Sequential(
            *(Block(width, 4, eager=eager, by_hand=by_hand) for _ in range(2))
        )
        self.points = nn.Linear(width, 2 * len(NAMES))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        patches = self.patches(x)
        tokens = self.blocks(patches.flatten(2).transpose(1, 2) + self.position)
        points = self.points(tokens.mean(1)).sigmoid().reshape(-1, len(NAMES), 2)
        return points, tokens.transpose(1, 2).reshape(patches.shape)


class Siamese(nn.Module):
    """One encoder called twice: shared weights."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = conv_block(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        difference: Tensor = self.encoder(x) - self.encoder(x.flip(3))
        return difference
