"""Pairs of images with maps and labels, and a network for them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tiny_maps
from onnx import numpy_helper

from mahtrt.data.sample import Sample
from mahtrt.runtime.session import Session
from mahtrt.spec import ModelSpec
from mahtrt.targets.onnxruntime.run import OnnxRuntimeBackend, OrtMode, open_onnx

SPEC = tiny_maps.spec_of("baseline", "followup")


class Pairs:
    """Pairs of images, with labels and, of every other pair, a map."""

    source = "pairs:6"
    names = tuple(f"pair {i}" for i in range(6))

    def __init__(self, labels: int = 2) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        first, second = (tiny_maps.make_image(2 * index + k) for k in range(2))
        target = np.full((1, *first.shape), 0.5, np.float32) if index % 2 else None
        labels = np.array([index % 2, index % 3 == 0, 1], np.float32)[: self.labels]
        return Sample(self.names[index], first, others=(second,), target_map=target, labels=labels)


def session(noise: float = 0.0, spec: ModelSpec = SPEC) -> Session:
    """The network, its weights changed by so much."""
    model = tiny_maps.make_model(spec)
    rng = np.random.default_rng(1)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        changed = (values + noise * rng.normal(0, 1, values.shape)).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))
    opened = open_onnx(model.SerializeToString(), "a test", threads=1, mode=OrtMode.ENGINE)
    return Session(OnnxRuntimeBackend(opened, spec, "test"), spec)
