"""The fused soft-argmax against its definition: on the CPU, under a sanitizer, and on a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu import run_sanitized
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_hosts import CpuHost, GpuHost, gpu_host
from soft_argmax_runs import (
    DTYPES,
    Array,
    Outputs,
    check,
    expected,
    on,
    on_cpu,
    random_maps,
    run,
    stored_as,
)

from mahtrt.cuda.device import Launch
from mahtrt.cuda.soft_argmax_launch import MapDtype, SoftArgmax

KINDS = ("peaks", "flat", "noise", "logits", "huge", "one-hot")
IMAGE = (512, 384)


def operation(
    shape: tuple[int, int, int, int],
    temperature: float = 0.05,
    dtype: MapDtype = "float32",
    logits_size: tuple[int, int] | None = None,
) -> SoftArgmax:
    return SoftArgmax(shape, dtype, temperature, IMAGE, logits_size)


def assert_equal(first: Outputs, second: Outputs) -> None:
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def maps_that_are_none(shape: tuple[int, int, int, int]) -> Array:
    maps = random_maps("noise", shape)
    maps[0, 0, 63, 39] = np.nan
    maps[0, 1, 30, 3] = np.inf
    maps[0, 2] = -np.inf
    maps[0, 3, 10:] = -np.inf
    maps[0, 4, 50, 5] = np.nan
    maps[0, 4, 3, 5] = np.inf
    maps[0, 5] = np.nan
    maps[0, 6, 3:60] = -np.inf
    maps[0, 6, 62, 1] = np.nan
    maps[0, 7, :3] = np.inf
    return maps


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [1e-3, 0.05, 1.0, 1e4])
@pytest.mark.parametrize("dtype", DTYPES)
def test_kernel_is_the_definition(kind: str, temperature: float, dtype: MapDtype) -> None:
    for size, parts in (((64, 64), None), ((48, 40), 2), ((33, 47), 3)):
        shape = (1, 2, *size)
        check(on_cpu, operation(shape, temperature, dtype), random_maps(kind, shape), parts=parts)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    rows=st.integers(1, 90),
    columns=st.integers(1, 90),
    images=st.integers(1, 3),
    maps=st.integers(1, 3),
    parts=st.integers(1, 32),
    dtype=st.sampled_from(DTYPES),
    kind=st.sampled_from(KINDS),
    exponent=st.floats(-3, 4),
    seed=st.integers(0, 1000),
)
def test_any_size_and_number_of_parts(
    rows: int,
    columns: int,
    images: int,
    maps: int,
    parts: int,
    dtype: MapDtype,
    kind: str,
    exponent: float,
    seed: int,
) -> None:
    shape = (images, maps, rows, columns)
    values = random_maps(kind, shape, seed)
    check(on_cpu, operation(shape, 10**exponent, dtype), values, parts=parts, atol=5e-4)


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 513), (513, 1), (2, 3), (513, 17), (3, 512), (33, 31)]
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_edge_sizes(size: tuple[int, int], dtype: MapDtype) -> None:
    shape = (1, 3, *size)
    for kind in ("noise", "peaks"):
        check(on_cpu, operation(shape, 0.1, dtype), random_maps(kind, shape))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(513, 513), (512, 512), (1024, 1024)])
def test_large_maps_within_a_thousandth_of_a_pixel(size: tuple[int, int], dtype: MapDtype) -> None:
    shape = (1, 1, *size)
    for kind in ("peaks", "flat", "noise", "one-hot"):
        for temperature in (0.05, 1.0):
            large = SoftArgmax(shape, dtype, temperature, size)
            check(on_cpu, large, random_maps(kind, shape), atol=5e-4)


@pytest.mark.slow
def test_a_batch_of_64() -> None:
    shape = (64, 7, 16, 24)
    affine = np.random.default_rng(1).uniform(0.5, 8, (64, 4)).astype(np.float32)
    check(on_cpu, operation(shape), random_maps("noise", shape), affine=affine, atol=2e-3)


def test_landmarks_are_in_the_pixels_of_each_image() -> None:
    shape = (3, 2, 16, 24)
    affine = np.array([[1, 0, 1, 0], [4.5, -3, 4.4, 700], [0.5, 0.25, 0.5, 0]], np.float32)
    for parts in (1, 3):
        values = random_maps("peaks", shape)
        got = check(on_cpu, operation(shape), values, affine=affine, parts=parts, atol=1e-3)
        plain = on_cpu(operation(shape), values, parts=parts)
        for a, b in zip(got, plain, strict=True):
            np.testing.assert_array_equal(a[0], b[0])  # the identity
        np.testing.assert_array_equal(got[1], plain[1])


@pytest.mark.parametrize("offset", range(1, 9))
@pytest.mark.parametrize("dtype", DTYPES)
def test_maps_may_begin_anywhere(offset: int, dtype: MapDtype) -> None:
    shape = (2, 1, *((9, 16) if offset % 2 else (53, 41)))
    stored, exact = stored_as(dtype, random_maps("noise", shape))
    surrounded = np.full(stored.size + 2 * offset, 0x7F80, stored.dtype)  # +infinity as BF16
    surrounded[offset:-offset] = stored.ravel()
    each = operation(shape, dtype=dtype)
    got = run(CpuHost(), each, surrounded, skipped=offset)
    for a, b in zip(got, expected(each, exact), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_parts_give_the_same(dtype: MapDtype) -> None:
    shape = (1, 2, 96, 100)
    stored, _ = stored_as(dtype, random_maps("peaks", shape))
    whole = on_cpu(operation(shape, dtype=dtype), stored, parts=1)
    for parts in (2, 3, 7, 10, 32):
        for a, b in zip(
            on_cpu(operation(shape, dtype=dtype), stored, parts=parts), whole, strict=True
        ):
            np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("logits_size", [None, (96, 160), (70, 90)])
@pytest.mark.parametrize("parts", [1, 4])
def test_the_order_of_threads_and_blocks_changes_no_bit(
    parts: int, logits_size: tuple[int, int] | None
) -> None:
    """A missing barrier would show, and a merge in the order of arrival."""
    shape = (1, 2, 48, 80)
    maps = random_maps("noise", (1, 2, *(logits_size or (48, 80))))
    each = operation(shape, logits_size=logits_size)
    forwards = on_cpu(each, maps, parts=parts)
    assert_equal(forwards, on_cpu(each, maps, parts=parts, backwards=True))
    # The counters are back at zero: a graph can launch it again.
    assert_equal(forwards, on_cpu(each, maps, parts=parts, launches=3))


def test_a_shifted_map_has_shifted_landmarks() -> None:
    shape = (1, 1, 64, 64)
    maps = np.zeros(shape, np.float32)
    random = np.random.default_rng(4)
    maps[0, 0, 20:29, 20:29] = random.random((9, 9))
    each = SoftArgmax(shape, "float32", 0.02, (64, 64))
    plain = on_cpu(each, maps)
    for dy, dx in ((1, 0), (0, 7), (-13, 22), (30, -18)):
        moved = on_cpu(each, np.roll(maps, (dy, dx), (2, 3)))
        np.testing.assert_allclose(moved[0] - plain[0], [[[dx, dy]]], atol=2e-2)  # the floor stays
        np.testing.assert_array_equal(moved[1], plain[1])


def test_a_constant_added_to_a_map_changes_its_confidence_alone() -> None:
    shape = (1, 3, 32, 32)
    maps = np.round(random_maps("noise", shape) * 64) / 64  # sums with 1000 are exact
    plain, raised = (on_cpu(operation(shape, 0.5), maps + np.float32(c)) for c in (0, 1000))
    np.testing.assert_allclose(plain[0], raised[0], atol=2e-4)
    np.testing.assert_array_equal(plain[1] + 1000, raised[1])
    np.testing.assert_allclose(plain[2], raised[2], atol=2e-4)


def test_maps_are_independent_of_each_other() -> None:
    shape = (2, 3, 24, 24)
    maps = random_maps("peaks", shape)
    order = np.array([4, 0, 5, 2, 1, 3])
    shuffled = maps.reshape(6, 24, 24)[order].reshape(shape)
    plain, other = on_cpu(operation(shape), maps), on_cpu(operation(shape), shuffled)
    for a, b in zip(plain, other, strict=True):
        flat = a.reshape(6, -1)[order]
        np.testing.assert_array_equal(flat, b.reshape(6, -1))


def test_turned_maps_have_turned_landmarks() -> None:
    shape = (1, 2, 40, 40)
    maps = random_maps("peaks", shape)
    square = SoftArgmax(shape, "float32", 0.05, (160, 160))
    plain = on_cpu(square, maps)
    turned = on_cpu(square, np.ascontiguousarray(maps.swapaxes(2, 3)))
    np.testing.assert_allclose(plain[0], turned[0][..., ::-1], atol=1e-4)
    np.testing.assert_allclose(plain[2], turned[2], atol=1e-4)


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_that_are_no_heatmap(parts: int, dtype: MapDtype) -> None:
    shape = (1, 9, 64, 40)
    check(on_cpu, operation(shape, dtype=dtype), maps_that_are_none(shape), parts=parts)


@pytest.mark.parametrize("temperature", [1e-38, 1.2e-38, 1e-30, 1e30, 3e38])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e30, 1e38])
def test_extreme_temperatures_and_values(temperature: float, scale: float) -> None:
    shape = (1, 2, 24, 32)
    maps = random_maps("noise", shape) * np.float32(scale)
    maps[0, 1] -= np.float32(scale) * 2
    got = check(on_cpu, operation(shape, temperature), maps, parts=2)
    assert np.isfinite(np.concatenate([output.ravel() for output in got])).all()


def test_half_precision_maps_are_read_exactly() -> None:
    shape = (1, 2, 32, 32)
    maps = random_maps("peaks", shape).astype(np.float16)
    maps[0, 0, 0, :3] = [6e-8, -6e-8, -0.0]  # subnormal in FP16
    half = on_cpu(operation(shape, dtype="float16"), maps)
    single = on_cpu(operation(shape), maps.astype(np.float32))
    for a, b in zip(half, single, strict=True):
        np.testing.assert_allclose(a, b, atol=5e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("given", "size"),
    [
        ((64, 96), (32, 48)),
        ((128, 48), (64, 24)),
        ((66, 42), (33, 21)),  # halved, and no run is whole
        ((40, 40), (40, 40)),
        ((50, 70), (33, 41)),
        ((33, 41), (50, 70)),
        ((90, 120), (30, 40)),
        ((9, 7), (3, 3)),
        ((1, 1), (1, 1)),
        ((1, 5), (4, 2)),
    ],
)
def test_logits_become_heatmaps_inside(
    given: tuple[int, int], size: tuple[int, int], dtype: MapDtype
) -> None:
    for kind in ("logits", "peaks", "huge"):
        values = random_maps(kind, (2, 2, *given))
        each = operation((2, 2, *size), 0.05, dtype, given)
        for parts in (None, 2):
            check(on_cpu, each, values, parts=parts, atol=5e-4)


def test_logits_beyond_all_bounds() -> None:
    values = random_maps("logits", (1, 4, 16, 16))
    values[0, 0, 3, 4], values[0, 0, 8, 8] = np.inf, -np.inf
    values[0, 1] = -np.inf
    values[0, 2, 15, 15] = np.nan
    for size in ((8, 8), (16, 16), (11, 5)):
        check(on_cpu, operation((1, 4, *size), logits_size=(16, 16)), values)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    given_size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    dtype=st.sampled_from(DTYPES),
    parts=st.integers(1, 4),
)
def test_logits_of_any_size(
    given_size: tuple[int, int], size: tuple[int, int], dtype: MapDtype, parts: int
) -> None:
    values = random_maps("logits", (1, 2, *given_size))
    each = operation((1, 2, *size), 0.1, dtype, given_size)
    check(on_cpu, each, values, parts=parts, atol=5e-4)


@pytest.mark.slow
def test_no_access_outside_of_the_arrays() -> None:
    run_sanitized("soft_argmax_runs", "run_sanitized_cases")


def test_the_check_itself_finds_a_wrong_kernel() -> None:
    def wrong(
        operation: SoftArgmax,
        stored: Any,
        *,
        affine: Array | None = None,
        parts: int | None = None,
    ) -> Outputs:
        hotter = replace(operation, temperature=operation.temperature * 1.01)
        return on_cpu(hotter, stored, affine=affine, parts=parts)

    shape = (1, 1, 24, 24)
    with pytest.raises(AssertionError):
        check(wrong, operation(shape), random_maps("noise", shape))


@pytest.fixture
def gpu() -> Iterator[GpuHost]:
    with gpu_host() as host:
        yield host


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_kernel_is_the_definition_on_a_gpu(gpu: GpuHost, kind: str, dtype: MapDtype) -> None:
    sizes = ((64, 64), (33, 47), (1, 1), (1, 513), (513, 511), (1024, 1024))
    for size in sizes:
        for temperature in (1e-3, 0.05, 1.0, 1e4):
            each = SoftArgmax((2, 2, *size), dtype, temperature, size)
            values = random_maps(kind, each.shape)
            for parts in (None, 1, 5) if size[0] < 500 else (None,):
                check(on(gpu), each, values, parts=parts, atol=1e-3)
                gpu.free()


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_logits_become_heatmaps_inside_on_a_gpu(gpu: GpuHost, dtype: MapDtype) -> None:
    for given_size, size in (((512, 512), (256, 256)), ((50, 70), (33, 41)), ((33, 41), (50, 70))):
        each = operation((2, 3, *size), 0.05, dtype, given_size)
        for kind in ("logits", "peaks", "huge"):
            check(on(gpu), each, random_maps(kind, (2, 3, *given_size)), atol=1e-3)
        gpu.free()


@pytest.mark.gpu
def test_values_that_are_no_heatmap_on_a_gpu(gpu: GpuHost) -> None:
    for dtype in DTYPES:
        shape = (1, 9, 64, 40)
        for parts in (1, 3):
            check(on(gpu), operation(shape, dtype=dtype), maps_that_are_none(shape), parts=parts)


@pytest.mark.gpu
def test_a_batch_of_64_and_runs_that_are_equal_bit_for_bit_on_a_gpu(gpu: GpuHost) -> None:
    each = operation((64, 7, 128, 128), dtype="float16")
    affine = np.random.default_rng(1).uniform(0.5, 8, (64, 4)).astype(np.float32)
    values = random_maps("peaks", each.shape)
    first = check(on(gpu), each, values, affine=affine, parts=4, atol=4e-3)
    stored, _ = stored_as("float16", values)
    for launches in (1, 50):
        again = run(gpu, each, stored, affine=affine, parts=4, launches=launches)
        assert_equal(first, again)


@pytest.mark.gpu
def test_maps_may_begin_anywhere_on_a_gpu(gpu: GpuHost) -> None:
    for dtype in DTYPES:
        each = operation((2, 2, 53, 41), dtype=dtype)
        stored, exact = stored_as(dtype, random_maps("noise", each.shape))
        for offset in range(1, 9):
            pad = np.zeros(offset, stored.dtype)
            surrounded = np.concatenate([pad, stored.ravel(), pad])
            got = run(gpu, each, surrounded, skipped=offset)
            for a, b in zip(got, expected(each, exact), strict=True):
                np.testing.assert_allclose(a, b, atol=5e-4)


@pytest.mark.gpu
def test_a_graph_launches_it_again_and_again(gpu: GpuHost) -> None:
    each = operation((1, 3, 96, 96), dtype="float16")
    stored, _ = stored_as("float16", random_maps("peaks", each.shape))
    wanted = run(gpu, each, stored, parts=3)

    class Recorded:
        """The host, whose launches go into a graph that is launched three times."""

        put, take = gpu.put, gpu.take

        def launch(self, source: str, entries: Sequence[str], launch: Launch) -> None:
            work = partial(gpu.launch, source, entries, launch)
            graph = gpu.device.record(gpu.stream, work)
            for _ in range(3):
                graph.launch(gpu.stream)
            gpu.stream.synchronize()
            graph.close()

    assert_equal(wanted, run(Recorded(), each, stored, parts=3))
