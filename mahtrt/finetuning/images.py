"""The images of a fine-tuning: those it learns on, those that choose, and those that judge."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import Tensor

from mahtrt.data.datasets import open_dataset
from mahtrt.data.overlap import JUDGE_ON_OTHERS, refuse_overlap
from mahtrt.data.sample import Dataset
from mahtrt.data.screening import refuse_unreal_images
from mahtrt.data.subset import hold_back, spread_out
from mahtrt.errors import DataError
from mahtrt.finetuning.options import QatOptions
from mahtrt.progress import StageProgress
from mahtrt.spec import ModelSpec
from mahtrt.training.augment import augment
from mahtrt.training.batches import case_from_sample

VALIDATION_IMAGES = 32
_COPIES = "Cases of --data have an image in common: keep one of them, or judge with --eval."


@dataclass(frozen=True, slots=True, eq=False)
class QatImages:
    """The images of a fine-tuning; none of them is in two sets.

    Attributes:
        learning: What the student learns on.
        validation: What chooses the best weights.
        judging: What the result is judged on.
    """

    learning: Dataset
    validation: Dataset
    judging: Dataset


def split_images(options: QatOptions, spec: ModelSpec, progress: StageProgress) -> QatImages:
    """Open the caller's DATA, and keep apart what learns, what chooses and what judges.

    Raises:
        DataError: Images that are missing, too few, random or constant, annotations of other
            landmarks, or an image in two sets.
    """
    data = _open(options.data, options, spec)
    refuse_unreal_images(data)
    if options.eval is not None:
        judging: Dataset = spread_out(_open(options.eval, options, spec), options.check_images)
    else:
        data, judging = hold_back(data, min(options.check_images, max(1, len(data) // 4)))
    learning, validation = hold_back(data, min(VALIDATION_IMAGES, max(1, len(data) // 8)))
    for others, use in ((judging, "judging"), (validation, "validation")):
        refuse_overlap(
            learning,
            others,
            used_for="learning",
            fix=JUDGE_ON_OTHERS if others is judging and options.eval else _COPIES,
            progress=partial(progress, f"comparing learning and {use}"),
        )
    return QatImages(learning, validation, judging)


def learning_cases(
    images: Dataset, spec: ModelSpec, options: QatOptions, first_step: int
) -> Iterator[list[dict[str, Tensor]]]:
    """The cases of each step from one on, moved and exposed at random; the same for one seed.

    Yields:
        Feeds of (1, C, H, W), as many as a batch has.
    """
    names = spec.input_names
    for step in itertools.count(first_step):
        rng = np.random.default_rng([options.seed, step])
        feeds = []
        for slot, index in enumerate(rng.integers(0, len(images), options.batch_size)):
            case = case_from_sample(images[int(index)], spec)
            case = augment(case, np.random.default_rng([options.seed, step, slot]))
            feeds.append(
                {name: image[None] for name, image in zip(names, case.images, strict=True)}
            )
        yield feeds


def _open(source: str, options: QatOptions, spec: ModelSpec) -> Dataset:
    dataset = open_dataset(
        source, points=options.points, skip_bad=options.skip_bad, inputs=spec.input_names
    )
    if len(dataset):
        _check_points(dataset, spec)
    return dataset


def _check_points(dataset: Dataset, spec: ModelSpec) -> None:
    """Images without annotations teach as well; those of other landmarks are other images."""
    points = dataset[0].points_px
    if points is not None and spec.landmarks and len(points) != spec.num_landmarks:
        raise DataError(
            dataset.source,
            got=f"{len(points)} annotated points per image",
            expected=f"{spec.num_landmarks}, as the network has, or none",
            fix="Choose them by index with --points, or give images without annotations.",
        )
