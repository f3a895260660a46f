from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mahtrt.data.preprocess import preprocess
from mahtrt.data.preprocess_integers import GRAY_WEIGHTS, preprocess_in_integers
from mahtrt.errors import ImageError
from mahtrt.spec import InputSpec, Interpolation, Resize

GRAY = {"channels": 1, "color_order": "gray", "mean": (0.0,), "std": (1.0,)}
sides = st.one_of(st.integers(2, 12), st.integers(2, 300))
dtypes = st.sampled_from((np.uint8, np.uint16))


def noise(shape: tuple[int, ...], dtype: type[np.generic], seed: int = 0) -> NDArray[np.generic]:
    most = np.iinfo(np.dtype(dtype)).max
    rng = np.random.default_rng(seed)
    return rng.integers(0, most, shape, dtype=np.dtype(dtype), endpoint=True)


def differences(image: NDArray[np.generic], spec: InputSpec) -> NDArray[np.floating]:
    """Grey levels between the two definitions, for a spec without normalisation."""
    one, other = preprocess(image, spec), preprocess_in_integers(image, spec)
    assert one[1] == other[1]
    assert one[0].shape == other[0].shape
    levels: NDArray[np.floating] = np.rint(
        (one[0].astype(np.float64) - other[0]) * np.iinfo(image.dtype.name).max
    )
    return np.abs(levels)


@settings(deadline=None, max_examples=200)
@given(
    height=sides, width=sides, size=st.tuples(sides, sides), dtype=dtypes,
    samples=st.sampled_from(((), (1,), (3,))), seed=st.integers(0, 1000),
    resize=st.sampled_from(("letterbox", "stretch", "center_crop")),
    interpolation=st.sampled_from(("area", "linear")),
)  # fmt: skip
def test_no_grey_level_is_further_than_one_from_the_cpu(
    height: int,
    width: int,
    size: tuple[int, int],
    dtype: type[np.generic],
    samples: tuple[int, ...],
    seed: int,
    resize: Resize,
    interpolation: Interpolation,
) -> None:
    spec = InputSpec(
        size=size,
        resize=resize,
        interpolation=interpolation,
        pad_value=0.7,
        **GRAY,  # type: ignore[arg-type]
    )
    found = differences(noise((height, width, *samples), dtype, seed), spec)
    assert found.max() <= 1


@pytest.mark.parametrize("interpolation", ["area", "linear"])
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((2400, 1935), (512, 512)),
        ((2400, 1935), (300, 400)),
        ((600, 484, 3), (256, 256)),
        ((512, 512), (256, 256)),
        ((640, 480, 3), (160, 120)),
        ((100, 120), (256, 300)),
        ((100, 120), (200, 240)),
        ((300, 100), (128, 160)),
        ((100, 300), (100, 150)),
    ],
)
@pytest.mark.parametrize(("dtype", "share"), [(np.uint8, 0.005), (np.uint16, 0.005)])
def test_hardly_a_grey_level_differs_from_the_cpu(
    shape: tuple[int, ...],
    size: tuple[int, int],
    dtype: type[np.generic],
    share: float,
    interpolation: Interpolation,
) -> None:
    spec = InputSpec(size=size, resize="stretch", interpolation=interpolation, **GRAY)  # type: ignore[arg-type]
    assert (differences(noise(shape, dtype), spec) > 0).mean() < share


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_opencv_makes_gray_of_rgb_with_the_weights_named_here(dtype: type[np.generic]) -> None:
    assert sum(GRAY_WEIGHTS) == 2**15
    image = noise((301, 517, 3), dtype)
    exact = (image.astype(np.int64) @ np.array(GRAY_WEIGHTS) + 2**14) >> 15
    assert np.array_equal(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), exact)


def test_a_mean_of_integers_is_what_fractions_say() -> None:
    image = np.array([[0, 100, 200, 50, 250]], np.uint8).repeat(5, 0)
    spec = InputSpec(size=(5, 2), resize="stretch", **GRAY)  # type: ignore[arg-type]
    tensor, _ = preprocess_in_integers(image, spec)
    # 2.5 pixels each: (0 + 100 + 100) / 2.5 and (100 + 50 + 250) / 2.5
    assert np.rint(tensor[0] * 255).tolist() == [[80, 160]] * 5


def test_halves_go_to_the_even_level_but_up_for_two_by_two() -> None:
    image = np.array([[0, 1], [0, 1]], np.uint16)
    half_up = InputSpec(size=(1, 1), resize="stretch", **GRAY)  # type: ignore[arg-type]
    half_even = InputSpec(size=(2, 1), resize="stretch", **GRAY)  # type: ignore[arg-type]
    assert np.rint(preprocess_in_integers(image, half_up)[0] * 65535).tolist() == [[[1]]]
    assert np.rint(preprocess_in_integers(image, half_even)[0] * 65535).tolist() == [[[0], [0]]]


@pytest.mark.parametrize("interpolation", ["cubic", "nearest"])
def test_a_rule_without_integers_is_refused_unless_nothing_is_resized(
    interpolation: Interpolation,
) -> None:
    spec = InputSpec(size=(20, 30), interpolation=interpolation, **GRAY)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match=f"got {interpolation}.*area or linear.*on the CPU"):
        preprocess_in_integers(np.zeros((20, 31), np.uint8), spec)
    image = noise((20, 30), np.uint8)
    assert differences(image, spec).max() == 0


def test_the_placement_of_a_long_image_is_refused_as_on_the_cpu() -> None:
    spec = InputSpec(size=(512, 512), resize="center_crop", **GRAY)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="Crop the image"):
        preprocess_in_integers(np.zeros((2, 20_000), np.uint8), spec)
