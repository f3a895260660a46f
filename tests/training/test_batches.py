"""Batches: reproducible, resumable, and landmarks that move with their image."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sample_list import SampleList

from mahtrt.data.sample import Sample
from mahtrt.spec import InputSpec
from mahtrt.training import batches as batches_module
from mahtrt.training.batches import BatchPlan, TrainingSamples, augment, training_batches

SPEC = InputSpec((64, 96), channels=1, color_order="gray", mean=(0.0,), std=(1.0,))
NAN = np.nan


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
    return [tuple(batch) for batch in training_batches(samples, plan, workers=0)]


def blob(
    height: int, width: int, points: NDArray[np.float32], sigma: float = 1.5
) -> NDArray[np.float32]:
    """(K, height, width): a Gaussian dot per point, one plane each."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    planes = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2)) for px, py in points]
    return np.stack(planes).astype(np.float32)


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
    assert not torch.equal(samples[0, 0, 4][0], samples[0, 1, 4][0])
    assert not torch.equal(samples[0, 0, 4][0], samples[1, 0, 4][0])
    assert torch.equal(samples[0, 0, 4][0], samples[0, 0, 4][0])


# Augmentation


@given(st.integers(0, 2**32))
@settings(max_examples=40)
def test_dots_are_found_at_the_moved_points(seed: int) -> None:
    points = np.array([[30, 30], [90, 40], [60, 75]], np.float32)
    image, moved = augment(blob(96, 128, points), points, np.random.default_rng(seed))
    assert image.shape == (3, 96, 128)
    assert image.dtype == moved.dtype == np.float32
    for plane, point in zip(image, moved, strict=True):
        if (point > 8).all() and (point < (119, 87)).all():  # a reflection would lie beside it
            np.testing.assert_allclose(centre_near(plane, point), point, atol=0.1)


@given(st.integers(0, 2**32))
@settings(max_examples=20)
def test_the_move_is_one_similarity_within_the_limits(seed: int) -> None:
    points = np.array([[50, 40], [70, 40], [50, 60], [63.5, 47.5]], np.float32)
    _, moved = augment(np.zeros((1, 96, 128), np.float32), points, np.random.default_rng(seed))
    across, down = (moved[1] - moved[0]) / 20, (moved[2] - moved[0]) / 20
    scale = np.hypot(*across)
    assert 0.85 - 1e-4 <= scale <= 1.15 + 1e-4
    np.testing.assert_allclose(down, [-across[1], across[0]], atol=1e-4)
    assert abs(np.degrees(np.arctan2(across[1], across[0]))) <= 15.01
    shift = np.abs(moved[3] - (63.5, 47.5))  # of the centre, which rotation leaves alone
    assert (shift <= (0.06 * 128 + 1e-3, 0.06 * 96 + 1e-3)).all()


@given(st.integers(0, 2**32))
@settings(max_examples=20)
def test_points_outside_are_missing(seed: int) -> None:
    points = np.array([[0, 0], [127, 95], [NAN, NAN], [64, 48], [-40, 48]], np.float32)
    _, moved = augment(np.zeros((1, 96, 128), np.float32), points, np.random.default_rng(seed))
    assert np.isnan(moved[2]).all()
    assert np.isnan(moved[4]).all()
    assert np.isfinite(moved[3]).all()
    inside = moved[np.isfinite(moved).all(1)]
    assert (inside >= 0).all()
    assert (inside <= (127, 95)).all()
    assert (np.isnan(moved).any(1) == np.isnan(moved).all(1)).all()


def test_exposure_changes_alike_over_the_image() -> None:
    flat = np.stack([np.full((96, 128), value, np.float32) for value in (0.0, 1.0, 2.0)])
    gains = []
    for seed in range(20):
        image, _ = augment(flat, np.zeros((0, 2), np.float32), np.random.default_rng(seed))
        low, middle, high = (plane.mean() for plane in image)
        assert all(plane.std() < 1e-5 for plane in image)
        assert middle - low == pytest.approx(high - middle, abs=1e-4)
        assert 0.8 <= middle - low <= 1.25
        assert abs(low) <= 0.3 + 1e-6
        gains.append(middle - low)
    assert np.std(gains) > 0.05


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
