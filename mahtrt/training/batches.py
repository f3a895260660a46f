"""Batches for training: the same images in the same order for the same seed, resumed or not."""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from mahtrt.data.map_frames import network_map_from_image
from mahtrt.data.preprocess import preprocess
from mahtrt.data.sample import Dataset, Sample
from mahtrt.errors import DataError
from mahtrt.spec import ModelSpec
from mahtrt.training.augment import augment
from mahtrt.training.cases import Batch, Targets, collate

_LOOK_S = 1.0  # between two looks whether the trainer is there

# (step, slot in the batch, index of the sample): enough to draw the same augmentation again.
Key = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """Which samples make up each step; also a batch sampler for PyTorch's DataLoader."""

    num_samples: int
    batch_size: int
    first_step: int
    last_step: int
    seed: int

    def __iter__(self) -> Iterator[list[Key]]:
        for step in range(self.first_step, self.last_step):
            rng = np.random.default_rng([self.seed, step])
            chosen = rng.integers(0, self.num_samples, self.batch_size)
            yield [(step, slot, int(index)) for slot, index in enumerate(chosen)]

    def __len__(self) -> int:
        return self.last_step - self.first_step


class TrainingSamples(TorchDataset[Batch]):
    """Samples as network tensors, with points in network pixels.

    Args:
        dataset: Annotated samples.
        spec: The network's spec.
        augment: Rotate, scale, shift and change exposure at random.
        seed: Seed of the augmentation.
    """

    def __init__(self, dataset: Dataset, spec: ModelSpec, *, augment: bool, seed: int) -> None:
        self.dataset, self.spec, self.augment, self.seed = dataset, spec, augment, seed

    def __getitem__(self, key: Key) -> Batch:
        step, slot, index = key
        case = case_from_sample(self.dataset[index], self.spec)
        if self.augment:
            case = augment(case, np.random.default_rng([self.seed, step, slot]))
        return case


def case_from_sample(sample: Sample, spec: ModelSpec) -> Batch:
    """A sample as the network takes it, without a batch axis.

    Raises:
        DataError: Another number of images than the network takes, or a label that is missing.
    """
    if len(sample.images) != len(spec.inputs):
        names = ", ".join(each.name for each in spec.inputs)
        raise DataError(
            sample.name,
            got=f"{len(sample.images)} image(s) in the case",
            expected=f"{len(spec.inputs)}: {names}",
        )
    fitted = [preprocess(*pair) for pair in zip(sample.images, spec.inputs, strict=True)]
    logits, points, visible = spec.output("logits"), sample.points_px, sample.visible
    labels = sample.labels_of(logits.labels if logits else ())
    known = np.empty((0, 2), np.float32) if points is None else points
    seen = np.full(len(known), np.nan, np.float32) if visible is None else visible
    placement, size, change = fitted[0][1], spec.input.size, sample.target_map
    if change is not None:
        change = network_map_from_image(change, placement, size, size)
    return Batch(
        tuple(torch.from_numpy(tensor) for tensor, _ in fitted),
        Targets(
            torch.from_numpy(placement.network_from_image(known)),
            torch.from_numpy(np.asarray(seen, np.float32)),
            None if change is None else torch.from_numpy(change),
            None if labels is None else torch.from_numpy(np.asarray(labels, np.float32)),
        ),
    )


def training_batches(
    samples: TrainingSamples, plan: BatchPlan, *, workers: int
) -> DataLoader[Batch]:
    """Batches of cases, one per step of the plan."""
    return DataLoader(
        samples,
        batch_sampler=plan,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=functools.partial(_start_worker, trainer=os.getpid()),
        # A forked child inherits OpenCV's thread pool without its threads, and hangs.
        multiprocessing_context="spawn" if workers else None,
    )


def _start_worker(_worker: int, trainer: int) -> None:
    """Prepare a worker process.

    Args:
        trainer: The process that wants the batches.
    """
    # Ctrl-C, the terminal's end and a service manager's SIGTERM reach every process; the trainer
    # still needs its current batches, and ends its workers itself. SIGTERM is blocked by now.
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(signal, "sigtimedwait"):
        threading.Thread(target=_end_with, args=(trainer,), daemon=True).start()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _end_with(trainer: int) -> None:
    """End this worker when the trainer says so by SIGTERM, or is gone.

    The DataLoader's own workers do not see that it went before they came to ask for work.
    """
    while os.getppid() == trainer:
        told = signal.sigtimedwait({signal.SIGTERM}, _LOOK_S)
        if told is not None and told.si_pid == trainer:
            break
    os._exit(0)
