"""Training data."""

from __future__ import annotations

from mahtrt.data.datasets import PHANTOMS, open_dataset
from mahtrt.data.sample import Dataset
from mahtrt.errors import UsageError
from mahtrt.evaluation.annotations import check_annotations
from mahtrt.spec import ModelSpec
from mahtrt.training.options import TrainOptions

# Training phantoms come from seeds that no "phantom:N@SEED" of calibration or evaluation uses.
PHANTOM_TRAINING_SEED = 1_000_000
PHANTOM_TRAINING_COUNT = 1_000_000


def open_training_data(options: TrainOptions, spec: ModelSpec) -> Dataset:
    """The data set of the options without the fold that judges, checked for annotations.

    Raises:
        DataError: It does not fit the network, or says nothing of what it should learn.
        UsageError: Folds of phantoms without a number.
    """
    dataset = _open(_training_source(options), options, spec)
    return dataset if options.fold is None else options.fold.training(dataset)


def open_held_out_data(options: TrainOptions, spec: ModelSpec) -> Dataset | None:
    """What judges the checkpoint afterwards: ``eval``, or the fold; None without either."""
    if options.eval is not None:
        return _open(options.eval, options, spec)
    if options.fold is not None:
        return options.fold.judging(_open(_training_source(options), options, spec))
    return None


def open_validation_data(options: TrainOptions, spec: ModelSpec) -> Dataset | None:
    """What judges the network while it is trained; None without it."""
    source = options.recipe.validate
    return None if source is None else _open(source, options, spec)


def is_endless(options: TrainOptions) -> bool:
    """Whether there are as many phantoms to train on as are asked for."""
    return options.data in PHANTOMS


def _open(source: str, options: TrainOptions, spec: ModelSpec) -> Dataset:
    dataset = open_dataset(source, points=options.points, inputs=spec.input_names)
    check_annotations(dataset, options.model, spec)
    return dataset


def _training_source(options: TrainOptions) -> str:
    source = options.data
    if not is_endless(options):
        return source
    if options.fold is not None:
        raise UsageError(
            "--folds", got=f"--data {source}", expected=f"a number of them, as in {source}:64"
        )
    return f"{source}:{PHANTOM_TRAINING_COUNT}@{PHANTOM_TRAINING_SEED + options.seed}"
