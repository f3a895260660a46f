"""Whether a data set knows what a network has to learn, or is judged by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mahtrt.data.sample import Dataset, Sample
from mahtrt.errors import DataError
from mahtrt.spec import ModelSpec


def check_annotations(dataset: Dataset, model: str, spec: ModelSpec) -> None:
    """Refuse a data set that cannot train or judge the network.

    Args:
        model: What the network is called in messages.

    Raises:
        DataError: Its cases have another number of images, nothing that any output could be
            compared with, or another number of landmarks or labels.
    """
    sample, source = dataset[0], dataset.source
    if len(sample.images) != len(spec.inputs):
        names = ", ".join(each.name for each in spec.inputs)
        raise DataError(
            source,
            got=f"{len(sample.images)} image(s) per case",
            expected=f"{len(spec.inputs)}, as {model} takes: {names}",
        )
    if spec.landmarks:
        _check_points(sample, source, model, spec)
    if spec.output("map"):
        _check_map(sample, source, model)
    if logits := spec.output("logits"):
        _check_labels(sample, source, model, logits.labels)


def _check_points(sample: Sample, source: str, model: str, spec: ModelSpec) -> None:
    if sample.points_px is None:
        raise DataError(source, got="images without landmarks", expected="annotated images")
    if len(sample.points_px) != spec.num_landmarks:
        raise DataError(
            source,
            got=f"{len(sample.points_px)} landmarks per image",
            expected=f"{spec.num_landmarks}, as {model} has",
            fix="Choose them with --points; mahtrt train --landmarks names a network's own.",
        )


def _check_map(sample: Sample, source: str, model: str) -> None:
    if sample.target_map is None:
        raise DataError(source, got="cases without a map", expected=f"one per case for {model}")
    if not np.isfinite(sample.target_map).all():
        raise DataError(source, got="a map with values that are not finite", expected="0 to 1")


def _check_labels(sample: Sample, source: str, model: str, names: Sequence[str]) -> None:
    labels, count = sample.labels_of(names), len(names)
    if labels is None:
        raise DataError(source, got="cases without labels", expected=f"labels for {model}")
    if count and len(labels) != count:
        raise DataError(
            source, got=f"{len(labels)} labels per case", expected=f"{count}, as {model} has"
        )
