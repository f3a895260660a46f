"""Which outputs of a network are judged beside its landmarks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mahtrt.spec import ModelSpec, OutputKind, OutputSpec

JUDGED: tuple[OutputKind, ...] = ("map", "logits", "visibility")

# Output name to values of N images: maps (N, C, h, w), logits (N, L), visibility (N, K).
OutputSet = Mapping[str, NDArray[np.floating]]


def judged_outputs(spec: ModelSpec) -> tuple[OutputSpec, ...]:
    """The outputs of these kinds, in the order of the spec; of visibility, which is that of the
    landmarks, only the first."""
    seen = spec.output("visibility")
    return tuple(
        output
        for output in spec.outputs
        if output.kind in JUDGED and (output.kind != "visibility" or output is seen)
    )
