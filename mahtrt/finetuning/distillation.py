"""What a student learns: to give what the FP32 network gives."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from mahtrt.errors import ModelError
from mahtrt.spec import ModelSpec

# Landmarks nearer than this to the teacher's pull less and less, in pixels of the network's input.
NEAR_PX = 0.5
_DENSE = ("heatmaps", "map", "logits", "visibility")
_LEAST_POWER = 1e-6


class Distillation:
    """The loss of a student beside its teacher.

    Of landmarks it is the displacement (Huber, in pixels of the network's input); of heatmaps,
    maps, logits and visibility the squared difference, in shares of the teacher's own square.

    Args:
        spec: Which outputs there are.

    Attributes:
        outputs: Names of the outputs that are compared.

    Raises:
        ModelError: There is none that could be learned from.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        # DARK's coordinates come from an argmax, through which nothing is learned.
        kinds = _DENSE if spec.decode.method == "dark" else ("landmarks", *_DENSE)
        self._kinds = {output.name: output.kind for output in spec.outputs if output.kind in kinds}
        self.outputs = tuple(self._kinds)
        if not self.outputs:
            raise ModelError(
                f"network {spec.family}",
                got=f"outputs {', '.join(output.kind for output in spec.outputs)}",
                expected=f"one of {', '.join(kinds)}",
            )

    def __call__(self, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> Tensor:
        """The loss, the mean over the cases.

        Args:
            student, teacher: The outputs of the same cases.
        """
        terms = [
            self._displacement(student[name], teacher[name], name)
            if kind == "landmarks"
            else _relative_error(student[name], teacher[name])
            for name, kind in self._kinds.items()
        ]
        return torch.stack(terms).sum()

    def _displacement(self, found: Tensor, wanted: Tensor, name: str) -> Tensor:
        output = next(each for each in self._spec.outputs if each.name == name)
        off = (found - wanted) * self._px_per_unit(output.frame, found)
        return F.smooth_l1_loss(off, torch.zeros_like(off), beta=NEAR_PX)

    def _px_per_unit(self, frame: str, like: Tensor) -> Tensor:
        height, width = self._spec.input.size
        if frame == "normalized":
            return like.new_tensor([width, height])
        if frame == "heatmap" and self._spec.decode.heatmap_size is not None:
            rows, columns = self._spec.decode.heatmap_size
            return like.new_tensor([width / columns, height / rows])
        return like.new_tensor([1.0, 1.0])


def _relative_error(found: Tensor, wanted: Tensor) -> Tensor:
    """Squared difference in shares of the teacher's square, per channel: one is one landmark."""
    over = tuple(range(2, found.dim())) if found.dim() > 2 else (1,)
    power = wanted.square().sum(over) + _LEAST_POWER
    return ((found - wanted).square().sum(over) / power).mean()
