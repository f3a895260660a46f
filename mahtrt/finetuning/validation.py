"""How far a student is from its teacher on images that it does not learn on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mahtrt.data.feed import Feed, batches
from mahtrt.finetuning.student import Student
from mahtrt.finetuning.torch_graph import TorchGraph
from mahtrt.measure.distances import mean_distance
from mahtrt.runtime.decode import Decoded, decode
from mahtrt.spec import ModelSpec


class Validation:
    """Images and what the teacher gives for them.

    Args:
        cases: Feeds of (C, H, W) float32.
        teacher: The FP32 graph, with every output that decoding reads.
        batch: Cases per inference.
    """

    def __init__(
        self, cases: Sequence[Feed], teacher: TorchGraph, spec: ModelSpec, batch: int
    ) -> None:
        self._spec, self._batch = spec, batch
        self._feeds = [tensors_of(feed) for feed, _ in batches(cases, batch)]
        self._count = len(cases)
        self.teacher = self.outputs_of(teacher)

    def error(self, student: Student) -> float:
        """The mean distance over all cases and targets (:mod:`mahtrt.measure.distances`).

        Of a network of landmarks: network pixels.
        """
        return distance(self.outputs(student), self.teacher, self._spec)

    def outputs(self, student: Student) -> Decoded:
        """What the student gives for the images."""
        with torch.no_grad():
            rounded = student.rounded()
            return self._decoded([student(feed, rounded) for feed in self._feeds])

    def outputs_of(self, graph: TorchGraph) -> Decoded:
        """What a graph gives for the images."""
        with torch.no_grad():
            return self._decoded([graph(feed) for feed in self._feeds])

    def _decoded(self, found: Sequence[Mapping[str, Tensor]]) -> Decoded:
        arrays = {
            name: np.concatenate([each[name].numpy() for each in found])[: self._count]
            for name in found[0]
        }
        return decode(arrays, self._spec)


def distance(ours: Decoded, theirs: Decoded, spec: ModelSpec) -> float:
    """The mean distance of two results over all cases and targets."""
    return mean_distance((ours.points_px, theirs.points_px), (ours.others, theirs.others), spec)


def tensors_of(feed: Mapping[str, NDArray[np.float32]]) -> dict[str, Tensor]:
    """A feed for PyTorch."""
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in feed.items()}
