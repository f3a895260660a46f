"""The shim that runs kernels on the CPU: it keeps CUDA's rules, and shows when they are broken."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from cuda_on_cpu import run_sanitized
from shim_cases import shim_kernels, total

ONE = (1, 1, 1)


@pytest.mark.parametrize("backwards", [False, True])
def test_every_thread_of_every_block_runs_once(backwards: bool) -> None:
    seen = np.zeros((2 * 3 * 4, 5 * 2 * 3), np.int32)
    shim_kernels().launch("where", (2, 3, 4), (5, 2, 3), [seen], backwards=backwards)
    blocks, threads = np.ogrid[: seen.shape[0], : seen.shape[1]]
    np.testing.assert_array_equal(seen, 1 + threads + 1000 * blocks)


@pytest.mark.parametrize("backwards", [False, True])
def test_the_last_block_finds_what_the_others_left(backwards: bool) -> None:
    assert total(7, backwards) == (0.5 * 447 * 448 / 2, 0)


def test_votes_and_shuffles_are_of_a_warp() -> None:
    found = np.zeros(64, np.uint32)
    shim_kernels().launch("votes", ONE, (64, 1, 1), [found])
    below = [*range(1, 32), 31, *range(33, 64), 63]  # the last lane keeps its own
    wanted = np.array(below) + np.repeat([1000, 100], 32)
    np.testing.assert_array_equal(found, wanted)


def test_a_missing_barrier_shows_when_the_order_is_turned_round() -> None:
    seen = np.zeros((2, 64), np.int32)
    for index, backwards in enumerate((False, True)):
        shim_kernels().launch("race", ONE, (64, 1, 1), [seen[index]], backwards=backwards)
    assert (seen[0] != seen[1]).any()


def test_a_barrier_that_a_thread_passes_by_is_an_error() -> None:
    with pytest.raises(AssertionError, match="wait at a barrier"):
        shim_kernels().launch("uneven_barrier", ONE, (64, 1, 1), [])


def test_arguments_are_held_against_the_entry() -> None:
    kernels, values = shim_kernels(), np.zeros(4, np.int32)
    wrongs = ([values], [values, ctypes.c_longlong(1)], [values, ctypes.c_float(1)], [None] * 2)
    for wrong in wrongs:
        with pytest.raises(AssertionError, match="beyond: other arguments"):
            kernels.launch("beyond", ONE, ONE, wrong)


def test_half_precision_is_rounded_as_numpy_rounds_it() -> None:
    random = np.random.default_rng(1)
    bits = random.integers(0, 2**32, 1000, dtype=np.uint32).view(np.float32)
    bits = bits[~np.isnan(bits)]
    small = random.normal(0, 1, 1000) * 2.0 ** random.integers(-28, 18, 1000)
    ties = np.array([1 + 2**-11, 1 + 3 * 2**-11, 65519, 65520, 2**-25, 3 * 2**-25, 0, -0.0])
    values = np.concatenate([bits, small, ties, [np.inf, -np.inf]]).astype(np.float32)
    for part in np.array_split(values, 4):
        back, given = np.zeros(len(part), np.float32), np.zeros(len(part), np.uint16)
        shim_kernels().launch("halves", ONE, (len(part), 1, 1), [part, back, given])
        with np.errstate(over="ignore"):
            wanted = part.astype(np.float16)
        np.testing.assert_array_equal(given, wanted.view(np.uint16))
        np.testing.assert_array_equal(back, wanted.astype(np.float32))


@pytest.mark.slow
def test_the_sanitizer_passes_a_right_kernel_and_finds_wrong_ones() -> None:
    run_sanitized("shim_cases", "well_behaved")
    with pytest.raises(AssertionError, match="heap-buffer-overflow"):
        run_sanitized("shim_cases", "beyond_an_array")
    with pytest.raises(AssertionError, match="signed integer overflow"):
        run_sanitized("shim_cases", "overflowing")
