"""Training and evaluation data, checked for what the network has to learn."""

from __future__ import annotations

import numpy as np

from mahtrt.data.datasets import PHANTOMS, open_dataset
from mahtrt.data.sample import Dataset, Sample
from mahtrt.errors import DataError
from mahtrt.spec import ModelSpec
from mahtrt.training.options import TrainOptions

# Training phantoms come from seeds that no "phantom:N@SEED" of calibration or evaluation uses.
PHANTOM_TRAINING_SEED = 1_000_000
PHANTOM_TRAINING_COUNT = 1_000_000


def open_training_data(options: TrainOptions, spec: ModelSpec) -> Dataset:
    """The data set of the options, checked by :func:`check_annotations`."""
    source = options.data
    if source in PHANTOMS:
        source = f"{source}:{PHANTOM_TRAINING_COUNT}@{PHANTOM_TRAINING_SEED + options.seed}"
    dataset = open_dataset(source, points=options.points, inputs=spec.input_names)
    check_annotations(dataset, options.model, spec)
    return dataset


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
        _check_labels(sample, source, model, len(logits.labels))


def _check_points(sample: Sample, source: str, model: str, spec: ModelSpec) -> None:
    if sample.points_px is None:
        raise DataError(source, got="images without landmarks", expected="annotated images")
    if len(sample.points_px) != spec.num_landmarks:
        raise DataError(
            source,
            got=f"{len(sample.points_px)} landmarks per image",
            expected=f"{spec.num_landmarks}, as {model} has",
            fix="Choose them with --points, or name the model's own with --landmarks.",
        )


def _check_map(sample: Sample, source: str, model: str) -> None:
    if sample.target_map is None:
        raise DataError(source, got="cases without a map", expected=f"one per case for {model}")
    if not np.isfinite(sample.target_map).all():
        raise DataError(source, got="a map with values that are not finite", expected="0 to 1")


def _check_labels(sample: Sample, source: str, model: str, count: int) -> None:
    if sample.labels is None:
        raise DataError(source, got="cases without labels", expected=f"labels for {model}")
    if count and len(sample.labels) != count:
        raise DataError(
            source, got=f"{len(sample.labels)} labels per case", expected=f"{count}, as {model} has"
        )
