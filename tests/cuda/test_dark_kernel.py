from __future__ import annotations

import numpy as np
import pytest
from cuda_on_cpu import run_sanitized
from dark_cases import (
    BAR_PX,
    ENTRIES,
    DarkRun,
    bfloat16_bits,
    blob,
    from_bfloat16,
    kinds_of_maps,
    run_all,
    worst,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_hosts import CpuHost, gpu_host
from numpy.typing import NDArray

from mahtrt.cuda.dark_launch import SOURCE
from mahtrt.runtime.dark import TIE, decode_dark, smooth

sides = st.one_of(st.integers(3, 12), st.integers(3, 80))


@pytest.mark.slow
@settings(deadline=None, max_examples=10)
@given(
    rows=sides, columns=sides, seed=st.integers(0, 10**6),
    sigma=st.one_of(st.sampled_from((0.1, 1.0, 2.0, 3.0, 3.2, 3.3, 11.2)), st.floats(0.4, 6.0)),
)  # fmt: skip
def test_the_kernel_is_its_definition(rows: int, columns: int, seed: int, sigma: float) -> None:
    maps = kinds_of_maps(rows, columns, seed)
    run = DarkRun(maps, sigma, (4 * rows, 3 * columns), host=CpuHost(bool(seed % 2)))
    run.launch()
    landmarks, confidence, spread = worst(run.launch(), run.operation, maps)
    assert landmarks < BAR_PX
    assert confidence == 0
    assert spread < BAR_PX


@pytest.mark.parametrize("sigma", [0.5, 2.0, 5.0])
def test_maps_of_every_kind(sigma: float) -> None:
    maps = kinds_of_maps(33, 65)
    run = DarkRun(maps, sigma, (66, 130))
    landmarks, confidence, spread = worst(run.launch(), run.operation, maps)
    assert max(landmarks, spread) < BAR_PX
    assert confidence == 0


@pytest.mark.parametrize("shape", [(33, 65), (64, 40)])
def test_maps_of_16_bits(shape: tuple[int, int]) -> None:
    maps = kinds_of_maps(*shape)[:, :-2]  # not those beyond their range
    half, bits = maps.astype(np.float16), bfloat16_bits(maps)
    for stored, values in ((half, half.astype(np.float32)), (bits, from_bfloat16(bits))):
        for sigma in (2.0, 4.0):
            run = DarkRun(np.ascontiguousarray(stored), sigma, (4 * shape[0], 4 * shape[1]))
            landmarks, confidence, spread = worst(run.launch(), run.operation, values)
            assert max(landmarks, spread) < BAR_PX
            assert confidence == 0


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [2.0, 9.0])
def test_the_largest_maps(sigma: float) -> None:
    maps = kinds_of_maps(1024, 1024)[:, [1, 9]]
    run = DarkRun(np.ascontiguousarray(maps), sigma, (1024, 1024))
    landmarks, _, spread = worst(run.launch(), run.operation, maps)
    assert max(landmarks, spread) < BAR_PX


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("lower", [0.0, 0.9, 1.1, 10.0])
def test_of_two_peaks_the_first_wins_unless_it_is_lower_by_more_than_a_tie(
    lower: float, order: int
) -> None:
    first, second = (blob(70, 130, x, y, 2.0) for x, y in ((20.0, 50.0), (100.0, 12.0))[::order])
    later, earlier = (first, second) if order == 1 else (second, first)  # in row-major order
    maps = (later + (1 - lower * TIE) * earlier.astype(np.float64))[None, None].astype(np.float32)
    run = DarkRun(maps, 2.0, (70, 130))
    found = run.launch()
    assert worst(found, run.operation, maps)[0] < BAR_PX
    assert abs(found[0][0, 0, 0] - (100 if lower < 1 else 20)) < 0.01


def test_a_flat_map_has_its_landmark_where_the_definition_says() -> None:
    maps = np.full((1, 1, 100, 140), 0.7, np.float32)
    run = DarkRun(maps, 2.0, (100, 140))
    found = run.launch()
    peak = smooth(maps[0, 0].astype(np.float64), 2.0)
    assert (peak >= peak.max() * (1 - TIE)).sum() > 10_000  # nearly all cells tie
    assert worst(found, run.operation, maps)[0] < BAR_PX
    assert found[0][0, 0].tolist() == [5.5, 5.5]  # the first cell that sees no border


@pytest.mark.parametrize("sigma", [2.0, 5.0])
def test_order_and_repetition_change_no_bit(sigma: float) -> None:
    maps = np.ascontiguousarray(kinds_of_maps(70, 140)[:, :3])
    runs = [DarkRun(maps, sigma, (140, 280), host=CpuHost(each)) for each in (False, True)]
    first = runs[0].launch()
    for run in (*runs, runs[1]):
        again = run.launch()
        assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))


def test_the_counters_are_zero_again() -> None:
    run = DarkRun(kinds_of_maps(70, 70), 2.0, (70, 70))
    run.launch()
    assert not run.workspace.view(np.uint8)[: run.operation.counter_bytes].any()


def test_an_affine_per_image() -> None:
    maps = np.concatenate([kinds_of_maps(40, 50, seed)[:, 1:4] for seed in (0, 1)])
    affine = np.array([[2.0, 10.0, 3.0, -7.0], [0.5, -3.0, 0.25, 100.0]], np.float32)
    points, confidence, _ = decode_dark(maps, 2.0, (160, 200))
    run = DarkRun(maps, 2.0, (160, 200), affine)
    found = run.launch()
    expected = points * affine[:, None, ::2] + affine[:, None, 1::2]
    assert np.abs(found[0] - expected).max() < BAR_PX
    assert np.array_equal(found[1], confidence)


def test_the_spread_follows_the_affine_of_each_axis() -> None:
    maps = kinds_of_maps(40, 50)
    affine = np.array([[2.0, 10.0, 3.0, -7.0]], np.float32)
    _, _, expected = decode_dark(maps, 2.0, (3 * 40, 2 * 50))  # as if the network's input were so
    found = DarkRun(maps, 2.0, (40, 50), affine).launch()[2]
    assert np.abs(found - expected).max() < BAR_PX


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_no_number_stays_in_its_map(value: float) -> None:
    maps: NDArray[np.float32] = np.repeat(blob(40, 70, 30.0, 20.0, 2.0)[None, None], 3, axis=1)
    maps[0, 1, 5, 66] = value
    landmarks, confidence, spread = DarkRun(maps, 2.0, (40, 70)).launch()
    assert np.isnan(landmarks[0, 1]).all()
    assert np.isnan(spread[0, 1])
    assert np.array_equal(confidence[0, 1], np.float32(value), equal_nan=True)
    assert np.isfinite(landmarks[0, ::2]).all()


@pytest.mark.slow
def test_no_access_leaves_the_arrays() -> None:
    run_sanitized("dark_cases", "run_all")


@pytest.mark.gpu
def test_on_a_gpu_the_kernel_is_its_definition() -> None:
    with gpu_host() as host:
        run_all(host, (1024, 1000))


@pytest.mark.gpu
def test_a_recorded_launch_gives_the_same_bits_each_time() -> None:
    maps = np.repeat(kinds_of_maps(512, 512), 8, axis=0)
    with gpu_host() as host:
        run = DarkRun(maps, 2.0, (512, 512), host=host)
        first = run.launch()
        graph = host.device.record(host.stream, lambda: host.launch(SOURCE, ENTRIES, run.work))
        for _ in range(20):
            graph.launch(host.stream)
            again = run.take()
            assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
        graph.close()
