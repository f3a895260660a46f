"""The families that the contract suite goes through: a line for each network.

A network is as small as it can be and still have all its parts: of a variant, with settings that
make it smaller. DATA is the family's own ``EXAMPLE_DATA``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mahtrt.data.datasets import open_dataset
from mahtrt.data.feed import prepare, stack
from mahtrt.measure.limits import Limits
from mahtrt.models.checkpoint import save_checkpoint
from mahtrt.models.families import build_model, example_data
from mahtrt.models.network import Network
from mahtrt.models.reference import ModelSource
from mahtrt.spec import ModelSpec

_SETTLING = 4  # batches of four
# What makes longitudinal/nano small, for variants that have no small one of their own.
_SMALL_LONGITUDINAL = {
    "input_size": (64, 64),
    "stem_channels": (4, 8),
    "block_channels": (8, 16, 24, 32, 48, 64, 64, 64),
    "hidden_dim": 96,
    "num_layers": 1,
    "num_heads": 3,
    "inter_channels": 64,
    "decoder_channels": (48, 32, 16, 8),
    "patch_channels": (32, 64, 128, 256),
}


@dataclass(frozen=True, slots=True)
class FamilyCase:
    """A network that has to pass the suite.

    Attributes:
        name: ``family/variant``.
        settings: Of its config, to make it small.
        limits: What its engines are held to.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)

    @property
    def family(self) -> str:
        return self.name.partition("/")[0]

    def data(self, count: int, seed: int) -> str:
        """DATA of so many cases."""
        return f"{example_data(self.name)}:{count}@{seed}"

    def network(self, seed: int = 0) -> Network:
        """The network with seeded random weights, in training mode."""
        torch.manual_seed(seed)
        return build_model(self.name, **self.settings)

    def source(self, checkpoint: Path) -> ModelSource:
        """The network with the weights of a checkpoint."""
        return ModelSource(self.name, checkpoint, dict(self.settings))


FAMILY_CASES = (
    FamilyCase(
        "maht-net/nano",
        {
            "input_size": (64, 64),
            "hidden_dim": 32,
            "num_layers": 1,
            "num_heads": 2,
            "head_dims": (32, 32),
        },
    ),
    FamilyCase("unet/nano", {"channels": (8, 32, 32, 32, 32), "input_size": (64, 64)}),
    FamilyCase("pose-spi/nano", {"hidden_dim": 32, "feature_dim": 32}),
    FamilyCase("pose-spi/efficientnet", {"hidden_dim": 32, "feature_dim": 32}),
    FamilyCase(
        "spine/nano",
        {"input_size": (64, 64), "width": 32, "num_heads": 2, "decoder_dims": (32, 32, 32, 32)},
        # Maps of random weights have many peaks of about one height: the highest one changes.
        Limits(budget_px=20.0),
    ),
    FamilyCase("longitudinal/nano", {"input_size": (64, 64), "num_layers": 1}),
    FamilyCase("longitudinal/small", _SMALL_LONGITUDINAL),
    FamilyCase("longitudinal/nano-classification", {"input_size": (64, 64), "num_layers": 1}),
    FamilyCase(
        "longitudinal/masked-reconstruction",
        _SMALL_LONGITUDINAL,
        # An image again, by random weights: its values spread more than those of a map of changes.
        Limits(map_mean=0.03),
    ),
    FamilyCase("longitudinal/discriminator", _SMALL_LONGITUDINAL),
)


def images_of(spec: ModelSpec, data: str) -> list[torch.Tensor]:
    """The prepared images of DATA, a tensor (N, C, H, W) per input."""
    feed = stack([prepare(sample.images, spec)[0] for sample in open_dataset(data)])
    return [torch.from_numpy(feed[image.name]) for image in spec.inputs]


def settled(case: FamilyCase) -> Network:
    """The network with random weights and batch norms that know what images look like.

    Without these, what a deep network makes of an image is rounded away.
    """
    module = case.network()
    batches = [images.split(4) for images in images_of(module.spec, case.data(4 * _SETTLING, 90))]
    with torch.no_grad():
        for batch in zip(*batches, strict=True):
            module(*batch)
    return module.eval()


def write_checkpoint(case: FamilyCase, path: Path) -> Path:
    """The weights of :func:`settled`."""
    module = settled(case)
    save_checkpoint(path, module.state_dict(), module.spec)
    return path
