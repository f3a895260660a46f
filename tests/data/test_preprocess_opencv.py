"""Versions 1 and 2 of the preprocessing, which bundles of before were judged with."""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mahtrt.data.preprocess import preprocess
from mahtrt.data.preprocess_opencv import resize_with_opencv
from mahtrt.data.preprocess_version import PREPROCESS_VERSION, check_preprocess_version
from mahtrt.errors import IntegrityError, SpecError
from mahtrt.spec import InputSpec, Interpolation, Resize

SPEC = InputSpec((18, 23), "x", 1, "gray", (0.0,), (1.0,), pad_value=0.3)


def noise(dtype: Any, *shape: int) -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("resize", ["letterbox", "stretch", "center_crop"])
@pytest.mark.parametrize("interpolation", ["area", "linear", "cubic"])
@pytest.mark.parametrize("size", [(45, 37), (9, 13), (19, 91), (18, 23, 3), (45, 37, 3)])
def test_version_2_is_within_one_level_of_version_3(
    dtype: str, resize: Resize, interpolation: Interpolation, size: tuple[int, ...]
) -> None:
    spec = dataclasses.replace(SPEC, resize=resize, interpolation=interpolation)
    image = noise(dtype, *size)
    (ours, place), (theirs, other) = preprocess(image, spec), preprocess(image, spec, 2)
    assert place == other
    assert np.abs(ours - theirs).max() <= 1.001 / np.iinfo(dtype).max


def test_version_1_is_linear_where_one_axis_grows() -> None:
    image = noise("uint8", 10, 90)
    for interpolation, wanted in (("area", cv2.INTER_LINEAR), ("cubic", cv2.INTER_CUBIC)):
        first = resize_with_opencv(image, 18, 23, interpolation, 1)  # type: ignore[arg-type]
        np.testing.assert_array_equal(first, cv2.resize(image, (23, 18), interpolation=wanted))
    second = resize_with_opencv(image, 18, 23, "area", 2)
    assert np.abs(second.astype(int) - resize_with_opencv(image, 18, 23, "area", 1)).max() > 20
    one, two = (resize_with_opencv(image, 5, 23, "area", version) for version in (1, 2))
    np.testing.assert_array_equal(one, two)
    assert resize_with_opencv(image, 10, 90, "area", 1) is image


def test_they_have_no_other_interpolations() -> None:
    spec = dataclasses.replace(SPEC, interpolation="antialiased_cubic")
    with pytest.raises(SpecError, match=r"antialiased_cubic with version 2.*area, linear, cubic"):
        preprocess(noise("uint8", 30, 30), spec, 2)


def test_a_newer_version_is_refused() -> None:
    for version in range(1, PREPROCESS_VERSION + 1):
        check_preprocess_version(version, "manifest.json")
    with pytest.raises(IntegrityError, match=r"got preprocess_version 4;.*Update mahtrt"):
        check_preprocess_version(PREPROCESS_VERSION + 1, "manifest.json")
    with pytest.raises(IntegrityError, match=r"preprocess_version 0.*Build the bundle again"):
        check_preprocess_version(0, "manifest.json")
