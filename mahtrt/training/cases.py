"""What a network is trained on: the images of each case and what is known of it, as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Targets:
    """What is known of a case, or of a batch of them (with an axis B in front).

    Attributes:
        points: (K, 2) in network pixels, NaN where a point is not annotated; K is 0 where the
            data set has no points.
        visible: (K,) 1 for a point that can be seen, 0 for one that cannot, NaN where that is not
            annotated.
        target_map: (C, H, W) in [0, 1] over the network's first input, NaN where there is no image
            and where a case of the batch has no map; None where no case has.
        labels: (L,) 1 or 0, NaN where that is not annotated; None where no case has labels.
    """

    points: Tensor
    visible: Tensor
    target_map: Tensor | None = None
    labels: Tensor | None = None

    def to(self, device: torch.device | str) -> Targets:
        optional = (self.target_map, self.labels)
        target_map, labels = (None if each is None else each.to(device) for each in optional)
        return Targets(self.points.to(device), self.visible.to(device), target_map, labels)


@dataclass(frozen=True, slots=True)
class Batch:
    """Cases of one training step; also a single case, without the axis B.

    Attributes:
        images: One tensor (B, C, H, W) per input of the network, in the order of its spec.
    """

    images: tuple[Tensor, ...]
    targets: Targets

    def to(self, device: torch.device | str) -> Batch:
        return Batch(tuple(image.to(device) for image in self.images), self.targets.to(device))


def collate(cases: Sequence[Batch]) -> Batch:
    """Single cases as a batch."""
    images = zip(*(case.images for case in cases), strict=True)
    targets = [case.targets for case in cases]
    return Batch(
        tuple(torch.stack(each) for each in images),
        Targets(
            torch.stack([each.points for each in targets]),
            torch.stack([each.visible for each in targets]),
            _stacked([each.target_map for each in targets]),
            _stacked([each.labels for each in targets]),
        ),
    )


def _stacked(values: Sequence[Tensor | None]) -> Tensor | None:
    """Values (B, …) with NaN for a case that has none; None where no case has one."""
    known = next((value for value in values if value is not None), None)
    if known is None:
        return None
    missing = torch.full_like(known, torch.nan)
    return torch.stack([missing if value is None else value for value in values])
