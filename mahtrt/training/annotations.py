"""Training data."""

from __future__ import annotations

from mahtrt.data.datasets import PHANTOMS, open_dataset
from mahtrt.data.sample import Dataset
from mahtrt.evaluation.annotations import check_annotations
from mahtrt.spec import ModelSpec
from mahtrt.training.options import TrainOptions

# Training phantoms come from seeds that no "phantom:N@SEED" of calibration or evaluation uses.
PHANTOM_TRAINING_SEED = 1_000_000
PHANTOM_TRAINING_COUNT = 1_000_000


def open_training_data(options: TrainOptions, spec: ModelSpec) -> Dataset:
    """The data set of the options, checked by
    :func:`mahtrt.evaluation.annotations.check_annotations`."""
    source = options.data
    if source in PHANTOMS:
        source = f"{source}:{PHANTOM_TRAINING_COUNT}@{PHANTOM_TRAINING_SEED + options.seed}"
    dataset = open_dataset(source, points=options.points, inputs=spec.input_names)
    check_annotations(dataset, options.model, spec)
    return dataset
