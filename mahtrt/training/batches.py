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
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from mahtrt.data.preprocess import preprocess
from mahtrt.data.sample import Dataset
from mahtrt.spec import InputSpec

_LOOK_S = 1.0  # between two looks whether the trainer is there
MAX_ROTATION_DEG = 15.0
SCALE_RANGE = (0.85, 1.15)
MAX_SHIFT = 0.06
GAIN_RANGE = (0.8, 1.25)
MAX_OFFSET = 0.3

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


class TrainingSamples(TorchDataset[tuple[Tensor, Tensor]]):
    """Samples as network tensors with landmarks in network pixels.

    Args:
        dataset: Annotated samples.
        spec: The network's input.
        augment: Rotate, scale, shift and change exposure at random.
        seed: Seed of the augmentation.
    """

    def __init__(self, dataset: Dataset, spec: InputSpec, *, augment: bool, seed: int) -> None:
        self.dataset, self.spec, self.augment, self.seed = dataset, spec, augment, seed

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor]:
        step, slot, index = key
        sample = self.dataset[index]
        tensor, placement = preprocess(sample.image, self.spec)
        assert sample.points_px is not None
        points = placement.network_from_image(sample.points_px)
        if self.augment:
            tensor, points = augment(tensor, points, np.random.default_rng([self.seed, step, slot]))
        return torch.from_numpy(tensor), torch.from_numpy(points)


def augment(
    tensor: NDArray[np.float32], points_px: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One random similarity transform about the centre, and a random gain and offset.

    Args:
        tensor: (C, H, W), normalised.
        points_px: (K, 2) in the tensor's pixels.
        rng: Where the randomness comes from.

    Returns:
        The same, transformed; points that left the image are NaN.
    """
    _, height, width = tensor.shape
    centre = ((width - 1) / 2, (height - 1) / 2)
    matrix = cv2.getRotationMatrix2D(
        centre, rng.uniform(-MAX_ROTATION_DEG, MAX_ROTATION_DEG), rng.uniform(*SCALE_RANGE)
    )
    matrix[:, 2] += rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2) * (width, height)
    planes = [
        cv2.warpAffine(
            plane, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        for plane in tensor
    ]
    moved = (points_px @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    outside = (moved < 0).any(1) | (moved > (width - 1, height - 1)).any(1)
    moved[outside] = np.nan
    gain, offset = rng.uniform(*GAIN_RANGE), rng.uniform(-MAX_OFFSET, MAX_OFFSET)
    return (np.stack(planes) * gain + offset).astype(np.float32), moved


def training_batches(
    samples: TrainingSamples, plan: BatchPlan, *, workers: int
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Batches (B, C, H, W) and (B, K, 2), one per step of the plan."""
    return DataLoader(
        samples,
        batch_sampler=plan,
        num_workers=workers,
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
