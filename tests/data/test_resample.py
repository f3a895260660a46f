"""Resampling, held against an oracle that computes docs/preprocessing.md with Python's integers."""

from __future__ import annotations

import typing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from preprocess_oracle import resized

from mahtrt.data import resample as resample_module
from mahtrt.data import resample_area, resample_whole
from mahtrt.data.resample import resample
from mahtrt.spec import Interpolation

INTERPOLATIONS = typing.get_args(Interpolation)
sides = st.one_of(st.integers(1, 8), st.integers(1, 70))
dtypes = st.sampled_from((np.uint8, np.uint16))


def picture(shape: tuple[int, ...], dtype: type[np.generic], seed: int) -> NDArray[np.generic]:
    """Noise, or black and white: what overshoots."""
    most = np.iinfo(np.dtype(dtype)).max
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, most, shape, np.dtype(dtype), endpoint=True)
    return levels if seed % 3 else np.where(levels > most // 2, most, 0).astype(dtype)


def expected(
    image: NDArray[np.generic], height: int, width: int, interpolation: str
) -> NDArray[np.generic]:
    planes = [image] if image.ndim == 2 else [image[..., channel] for channel in range(3)]
    most = int(np.iinfo(image.dtype.name).max)
    found = [
        np.array(resized(plane.tolist(), height, width, interpolation, most), image.dtype)
        for plane in planes
    ]
    return found[0] if image.ndim == 2 else np.stack(found, -1)


def hold(image: NDArray[np.generic], height: int, width: int, how: Interpolation) -> None:
    found = resample(image, height, width, how)
    assert found.dtype == image.dtype
    np.testing.assert_array_equal(found, expected(image, height, width, how))


@settings(deadline=None, max_examples=250)
@given(
    height=sides, width=sides, new_height=sides, new_width=sides, dtype=dtypes,
    samples=st.sampled_from(((), (3,))), interpolation=st.sampled_from(INTERPOLATIONS),
    seed=st.integers(0, 2**20),
)  # fmt: skip
def test_every_sample_is_the_oracles(
    height: int, width: int, new_height: int, new_width: int, dtype: type[np.generic],
    samples: tuple[int, ...], interpolation: Interpolation, seed: int,
) -> None:  # fmt: skip
    hold(picture((height, width, *samples), dtype, seed), new_height, new_width, interpolation)


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(20, 130), width=st.integers(20, 130), dtype=dtypes,
    samples=st.sampled_from(((), (3,))), data=st.data(), seed=st.integers(0, 2**20),
)  # fmt: skip
def test_a_table_gives_the_oracles_means(
    height: int, width: int, dtype: type[np.generic], samples: tuple[int, ...],
    data: st.DataObject, seed: int,
) -> None:  # fmt: skip
    """Called directly, so that sizes at which another way is faster are judged too."""
    new_height, new_width = (data.draw(st.integers(1, side)) for side in (height, width))
    image = picture((height, width, *samples), dtype, seed)
    found = resample_area.shrink_from_table(image, new_height, new_width)
    np.testing.assert_array_equal(found, expected(image, new_height, new_width, "area"))


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(1, 9), width=st.integers(1, 9), down=st.integers(1, 9),
    across=st.integers(1, 9), dtype=dtypes, samples=st.sampled_from(((), (3,))),
    seed=st.integers(0, 2**20),
)  # fmt: skip
def test_whole_factors_give_the_oracles_means(
    height: int, width: int, down: int, across: int, dtype: type[np.generic],
    samples: tuple[int, ...], seed: int,
) -> None:  # fmt: skip
    image = picture((height * down, width * across, *samples), dtype, seed)
    assert resample_whole.factors_are_whole(image, height, width)
    found = resample_whole.shrink_by_whole_factors(image, height, width)
    np.testing.assert_array_equal(found, expected(image, height, width, "area"))


def test_sums_of_blocks_have_32_bits() -> None:
    use = resample_whole.factors_are_whole
    white = np.full((2**10, 2**6), 65535, np.uint16)
    assert use(white, 1, 1)  # 2^16 samples below 2^16
    assert (resample_whole.shrink_by_whole_factors(white, 1, 1) == 65535).all()
    assert not use(np.zeros((2**10, 2**7), np.uint16), 1, 1)
    assert not use(np.zeros((8, 9), np.uint8), 4, 4)
    assert not use(np.zeros((8, 8), np.uint8), 4, 16)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("samples", [(), (3,)])
@pytest.mark.parametrize("size", [(206, 256), (13, 1200), (967, 40), (1, 1), (7, 9)])
def test_a_table_in_parts_gives_what_sums_along_each_axis_give(
    dtype: type[np.generic],
    samples: tuple[int, ...],
    size: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = picture((967, 1200, *samples), dtype, 1)
    table = resample(image, *size, "area") if size == (206, 256) else None
    never = dict.fromkeys(("uint8", "uint16"), np.inf)
    monkeypatch.setattr(resample_area, "_FASTER_FROM", never)
    sums = resample(image, *size, "area")
    if table is not None:
        np.testing.assert_array_equal(table, sums)
    # As many rows at a time as one new row needs.
    least = (967 // size[0] + 3) * 1201
    monkeypatch.setattr(resample_area, "_TABLE_ENTRIES", least)
    np.testing.assert_array_equal(resample_area.shrink_from_table(image, *size), sums)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("level", [0, 1, 127, "most"])
def test_an_even_image_stays_even(
    interpolation: Interpolation, dtype: type[np.generic], level: int | str
) -> None:
    value = np.iinfo(np.dtype(dtype)).max if level == "most" else level
    image = np.full((193, 240), value, dtype)
    for size in ((41, 51), (200, 300), (20, 300)):
        assert np.unique(resample(image, *size, interpolation)).tolist() == [value]


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_rows_that_are_apart_in_memory(interpolation: Interpolation) -> None:
    image = picture((120, 170, 3), np.uint8, 1)
    for view in (image[20:-30, 10:-50], image[::-1, ::-1], image[..., ::2][..., 0]):
        for size in ((20, 30), (75, 90), (150, 160)):
            np.testing.assert_array_equal(
                resample(view, *size, interpolation), resample(view.copy(), *size, interpolation)
            )


@pytest.mark.parametrize(("height", "width"), [(2, 32_767), (32_767, 2)])
@pytest.mark.parametrize("interpolation", ["area", "antialiased_cubic", "cubic", "linear"])
def test_the_longest_side_a_file_may_have(
    height: int, width: int, interpolation: Interpolation
) -> None:
    image = picture((height, width), np.uint16, 0)
    hold(image, 3, 5, interpolation)
    hold(image, 4 if height > 2 else 5, 2 if height > 2 else 3, interpolation)


def test_sums_that_no_double_holds_are_whole_numbers_of_64_bits() -> None:
    white = np.full((2, 2), 65535, np.uint16)
    for interpolation in ("area", "linear", "cubic"):
        assert (resample(white, 5, 7, interpolation) == 65535).all()
    assert np.array_equal(
        resample_module._rounded_to_even(np.array([1, 2, 3, 5, 6, 7]) * 2**40, 2**41, 0),
        [0, 1, 2, 2, 3, 4],
    )
    few = np.array([1, 2, 3, 5, 6, 7], np.float64)
    assert resample_module._rounded_to_even(few, 2, 0).tolist() == [0, 1, 2, 2, 3, 4]


def test_the_table_is_used_where_it_is_faster() -> None:
    use = resample_area.table_is_faster
    assert use(np.zeros((967, 1200), np.uint8), 206, 256)
    assert use(np.zeros((967, 1200, 3), np.uint16), 206, 256)
    assert not use(np.zeros((967, 1200), np.uint8), 500, 600)  # too little smaller
    assert not use(np.zeros((967, 120), np.uint8), 20, 121)  # one axis grows
    assert not use(np.zeros((8, 2**18), np.uint8), 2, 100)  # one row needs more than the table
