"""What every network of mahtrt is: a PyTorch module that knows its spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import nn

from mahtrt.spec import ModelSpec


class Network(nn.Module):
    """A network whose forward takes one tensor (B, C, H, W) per input of its spec, in that order.

    It returns the spec's outputs by name; while training also more, such as ``auxiliary``.

    Attributes:
        spec: What goes in and what comes out.
        linear_heatmaps: The heatmaps are no probabilities: the trainer compares them with their
            targets by squared differences instead of cross entropy.
    """

    spec: ModelSpec
    linear_heatmaps: ClassVar[bool] = False

    def parameter_groups(self) -> Mapping[str, tuple[str, ...]]:
        """Parts that can be trained at rates of their own, or not at all.

        Returns:
            Name of the part (``encoder``, ``transformer``, ``decoder``) to the prefixes of its
            parameters; nothing where the network is trained as a whole.
        """
        return {}
