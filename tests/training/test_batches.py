"""Batches: reproducible, resumable, and landmarks that move with their image."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sample_list import SampleList

from mahtrt.data.sample import Sample
from mahtrt.errors import DataError
from mahtrt.spec import DecodeSpec, InputSpec, ModelSpec, OutputSpec
from mahtrt.training import batches as batches_module
from mahtrt.training.batches import (
    BatchPlan,
    TrainingSamples,
    case_from_sample,
    training_batches,
)
from mahtrt.training.cases import collate

SPEC = ModelSpec(
    family="test",
    inputs=(InputSpec((64, 96), channels=1, color_order="gray", mean=(0.0,), std=(1.0,)),),
    outputs=(OutputSpec("landmarks", "landmarks", frame="network"),),
    landmarks=("dot",),
    decode=DecodeSpec("regression"),
)


def dots() -> SampleList:
    """Images with one dot each, annotated; every one elsewhere."""
    samples = []
    for index in range(10):
        image, (x, y) = np.zeros((128, 192), np.uint8), (60 + 8 * index, 50 + 3 * index)
        image[y - 1 : y + 2, x - 1 : x + 2] = 200
        samples.append(Sample(str(index), image, np.array([[x, y]], np.float32)))
    return SampleList(samples)


def drawn(
    first: int, last: int, *, seed: int = 0, augmented: bool = True
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    samples = TrainingSamples(dots(), SPEC, augment=augmented, seed=seed)
    plan = BatchPlan(10, 3, first, last, seed)
    batches = training_batches(samples, plan, workers=0)
    return [(batch.images[0], batch.targets.points) for batch in batches]


def centre_near(plane: NDArray[np.float32], point: NDArray[np.float32]) -> NDArray[np.float64]:
    """Centre of mass of what is bright within 6 pixels of a point."""
    y, x = np.mgrid[: plane.shape[0], : plane.shape[1]]
    near = (np.abs(x - point[0]) <= 6) & (np.abs(y - point[1]) <= 6)
    weight = np.where(near, plane - plane.min(), 0.0)
    assert weight.max() > 0.4 * (plane.max() - plane.min())
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


# Which samples


def test_a_plan_is_a_step_slot_and_sample_each() -> None:
    plan = BatchPlan(num_samples=10, batch_size=4, first_step=2, last_step=7, seed=0)
    steps = list(plan)
    assert len(plan) == len(steps) == 5
    for step, batch in enumerate(steps, start=2):
        assert [(s, slot) for s, slot, _ in batch] == [(step, slot) for slot in range(4)]
        assert all(0 <= index < 10 for _, _, index in batch)


@given(st.integers(0, 30), st.integers(0, 2**32))
def test_a_resumed_plan_is_the_tail_of_the_whole(first: int, seed: int) -> None:
    whole = list(BatchPlan(100, 3, 0, 30, seed))
    assert list(BatchPlan(100, 3, first, 30, seed)) == whole[first:]
    assert list(BatchPlan(100, 3, 0, 30, seed)) == whole


def test_seeds_choose_different_samples_and_every_sample_comes() -> None:
    def indices(seed: int) -> list[int]:
        return [key[2] for batch in BatchPlan(10, 8, 0, 20, seed) for key in batch]

    assert indices(0) != indices(1)
    assert set(indices(0)) == set(range(10))


# The batches themselves


@pytest.mark.parametrize("augmented", [True, False])
def test_the_same_seed_gives_the_same_batches(augmented: bool) -> None:
    first, again = (drawn(0, 4, augmented=augmented) for _ in range(2))
    assert len(first) == 4
    torch.testing.assert_close(first, again, rtol=0, atol=0, equal_nan=True)
    for images, points in first:
        assert images.shape == (3, 1, 64, 96)
        assert points.shape == (3, 1, 2)
        assert images.dtype == points.dtype == torch.float32
    assert not torch.equal(drawn(0, 1, seed=1, augmented=augmented)[0][0], first[0][0])


def test_resumed_batches_are_the_tail_of_the_whole() -> None:
    whole, tail = drawn(0, 6), drawn(4, 6)
    assert len(tail) == 2
    torch.testing.assert_close(whole[4:], tail, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("augmented", [True, False])
def test_points_are_where_the_network_sees_the_dot(augmented: bool) -> None:
    for images, points in drawn(0, 5, augmented=augmented):
        for image, point in zip(images.numpy(), points.numpy()[:, 0], strict=True):
            if np.isfinite(point).all():
                np.testing.assert_allclose(centre_near(image[0], point), point, atol=0.5)


def test_a_sample_drawn_twice_in_a_batch_is_augmented_twice() -> None:
    samples = TrainingSamples(dots(), SPEC, augment=True, seed=0)
    assert not torch.equal(samples[0, 0, 4].images[0], samples[0, 1, 4].images[0])
    assert not torch.equal(samples[0, 0, 4].images[0], samples[1, 0, 4].images[0])
    assert torch.equal(samples[0, 0, 4].images[0], samples[0, 0, 4].images[0])


# What a case holds


PAIR = dataclasses.replace(
    SPEC,
    inputs=(SPEC.input, dataclasses.replace(SPEC.input, name="later", size=(32, 48))),
    outputs=(OutputSpec("change", "map"), OutputSpec("seen", "visibility")),
    landmarks=("dot", "other"),
)


def pair(index: int, **known: Any) -> Sample:
    """A pair of images; where the first is bright, its map is 1."""
    image = np.zeros((128, 96), np.uint8)  # letterboxed: 48 columns of the network's 96
    image[:64] = 255
    points = np.array([[10, 20], [30, 40]], np.float32)
    return Sample(str(index), image, points, others=(image[::-1].copy(),), **known)


def test_a_case_has_every_input_and_what_is_known() -> None:
    target = np.zeros((1, 128, 96), np.float32)
    target[:, :64] = 1.0
    labels, visible = np.array([1, 0, 1], np.float32), np.array([1, np.nan], np.float32)
    samples = [pair(0, target_map=target, visible=visible, labels=labels), pair(1)]
    batch = collate([case_from_sample(sample, PAIR) for sample in samples])
    assert [tuple(image.shape) for image in batch.images] == [(2, 1, 64, 96), (2, 1, 32, 48)]
    targets = batch.targets
    assert targets.points.shape == (2, 2, 2)
    assert targets.labels is not None
    assert targets.labels[0].tolist() == [1, 0, 1]
    assert targets.labels[1].isnan().all()
    assert targets.visible[0].tolist()[0] == 1
    assert targets.visible[:, 1].isnan().all()
    assert targets.target_map is not None
    # The map lies on the network's input as the image does, whose pixels are 0 or 1 here.
    inside = targets.target_map[0].isfinite()
    assert torch.equal(targets.target_map[0][inside], batch.images[0][0][inside])
    assert targets.target_map[1].isnan().all()


def test_labels_are_learned_by_their_names() -> None:
    named = dataclasses.replace(
        PAIR, outputs=(OutputSpec("findings", "logits", labels=("a", "b")),)
    )
    known = np.array([0, 1], np.float32)
    case = case_from_sample(pair(0, labels=known, label_names=("b", "a")), named)
    assert case.targets.labels is not None
    assert case.targets.labels.tolist() == [1, 0]


def test_a_case_of_too_few_images_is_refused() -> None:
    with pytest.raises(DataError, match=r"1 image\(s\) in the case; expected 2: image, later"):
        case_from_sample(dots()[0], PAIR)


# Workers


def test_a_worker_leaves_signals_of_the_terminal_to_the_trainer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The signal goes to every process of a terminal; a dead worker would cost the step."""
    monkeypatch.setattr(batches_module, "_end_with", lambda trainer: None)
    ignored = (signal.SIGINT, signal.SIGHUP)
    handlers, threads = (
        [signal.getsignal(number) for number in ignored],
        (torch.get_num_threads(), cv2.getNumThreads()),
    )
    try:
        batches_module._start_worker(0, trainer=os.getppid())
        assert {signal.getsignal(number) for number in ignored} == {signal.SIG_IGN}
        assert torch.get_num_threads() == 1
        assert cv2.getNumThreads() == 1
    finally:
        for number, handler in zip(ignored, handlers, strict=True):
            signal.signal(number, handler)
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])


ORPHAN = """
import os, sys, time
from mahtrt.training import batches
print(os.getpid(), flush=True)
batches._start_worker(0, trainer=int(sys.argv[1]))
time.sleep(60)
"""


@pytest.mark.slow
def test_a_worker_whose_trainer_is_gone_before_it_starts_ends() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    ended = subprocess.run([sys.executable, "-c", ORPHAN, str(gone.pid)], timeout=50, check=False)
    assert ended.returncode == 0
