"""What every network of mahtrt is: a PyTorch module that knows its spec."""

from __future__ import annotations

from torch import nn

from mahtrt.spec import ModelSpec


class Network(nn.Module):
    """A network whose forward takes (B, C, H, W) and returns the spec's outputs by name.

    Attributes:
        spec: What goes in and what comes out.
    """

    spec: ModelSpec
