"""Faults planted in a user's pipeline are found and named; pipelines without any are left alone.

The user's pipeline is written with other libraries (``user_pipeline``), and never calls mahtrt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from expectations import causes_of, compare, make_spec, predict
from PIL import Image
from user_pipeline import (
    MEAN,
    SIZE,
    STD,
    Array,
    UserPipeline,
    Where,
    back,
    center_crop,
    letterbox,
    make_network,
    normalise,
    read,
    read_bgr,
    read_gray,
    stretch,
    write_images,
)

IMAGES = 3
SEED = 1


RIGHT = UserPipeline()


def _resized(kind: Any) -> Callable[[Array, int, int], Array]:
    return lambda image, width, height: cv2.resize(image, (width, height), interpolation=kind)


def _with_pillow(image: Array, width: int, height: int) -> Array:
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def _corners_aligned(image: Array, width: int, height: int) -> Array:
    tensor = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
    made = torch.nn.functional.interpolate(
        tensor, size=(height, width), mode="bilinear", align_corners=True
    )
    return made[0].permute(1, 2, 0).round().numpy().astype(np.uint8)


def _fitted(resize: Callable[[Array, int, int], Array]) -> UserPipeline:
    return UserPipeline(fit=lambda image: letterbox(image, resize))


def _swapped_sizes(points: Array, where: Where) -> Array:
    share = (points - (where.left, where.top) + 0.5) / (
        where.scale[0] * where.width,
        where.scale[1] * where.height,
    )
    return share * (where.height, where.width) - 0.5


def _argmax(outputs: dict[str, Array]) -> Array:
    maps = outputs["heatmaps"][0]
    found = [np.unravel_index(int(each.argmax()), each.shape) for each in maps]
    return np.array([[x, y] for y, x in found], np.float64)


# The list: each with the name of the cause that has to be found, alone.
FAULTS = {
    "channel_order": UserPipeline(read=read_bgr),
    "minus_one_to_one": UserPipeline(normalise=lambda image: image.astype(np.float32) / 127.5 - 1),
    "no_mean_std": UserPipeline(normalise=lambda image: image.astype(np.float32) / 255),
    "not_divided_by_255": UserPipeline(normalise=lambda image: (image - MEAN) / STD),
    "resize_stretch": UserPipeline(fit=stretch),
    "resize_center_crop": UserPipeline(fit=center_crop),
    "kernel_linear": _fitted(_resized(cv2.INTER_LINEAR)),
    "image_pixels_without_half": UserPipeline(
        back=lambda points, where: (points - (where.left, where.top)) / where.scale
    ),
    "heatmap_index_times_stride": UserPipeline(pixels=lambda cells: cells * 4),
    "sizes_swapped": UserPipeline(back=_swapped_sizes),
}
MORE_FAULTS = {
    "center_crop_odd_pixel_behind": UserPipeline(fit=lambda image: center_crop(image, odd=0)),
    "levels_0_255": UserPipeline(normalise=lambda image: image.astype(np.float32)),
    "gray_by_luma": UserPipeline(read=lambda path: np.repeat(read_gray(path)[..., None], 3, 2)),
    "standardised_per_image": UserPipeline(
        normalise=lambda image: (image - image.mean()) / image.std()
    ),
    "inverted": UserPipeline(read=lambda path: 255 - read(path)),
    "padded_white": UserPipeline(fit=lambda image: letterbox(image, pad=255)),
    "kernel_nearest_floor": _fitted(_resized(cv2.INTER_NEAREST)),
    "kernel_antialiased_linear": _fitted(_with_pillow),
    "samples_at_corners": _fitted(_corners_aligned),
    "heatmap_corners_aligned": UserPipeline(
        pixels=lambda cells: cells * (np.array(SIZE[::-1]) - 1) / (np.array(SIZE[::-1]) / 4 - 1)
    ),
    "argmax": UserPipeline(cells=_argmax),
    "offset_not_removed": UserPipeline(
        back=lambda points, where: back(points, replace(where, left=0, top=0))
    ),
    "image_pixels_rounded": UserPipeline(back=lambda points, where: np.rint(back(points, where))),
    "in_network_pixels": UserPipeline(back=lambda points, where: points),
    "in_shares_of_image": UserPipeline(
        back=lambda points, where: (back(points, where) + 0.5) / (where.width, where.height)
    ),
    "x_and_y_swapped": UserPipeline(back=lambda points, where: back(points, where)[:, ::-1]),
    "landmark_order": UserPipeline(back=lambda points, where: back(points, where)[[0, 2, 1, 3]]),
    "resize_stretch+kernel_linear": UserPipeline(
        fit=lambda image: stretch(image, _resized(cv2.INTER_LINEAR))
    ),
    "channel_order+image_pixels_plus_one": UserPipeline(
        read=read_bgr, back=lambda points, where: back(points, where) + 1
    ),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Pictures in colour, larger than the network's input."""
    return write_images(tmp_path_factory.mktemp("faults") / "images", IMAGES, seed=SEED)


@pytest.mark.parametrize("cause", FAULTS)
def test_a_planted_fault_is_found_and_named(cause: str, images: list[Path]) -> None:
    _check_found(cause, FAULTS[cause], images)


@pytest.mark.slow
@pytest.mark.parametrize("cause", MORE_FAULTS)
def test_more_faults_are_found(cause: str, images: list[Path]) -> None:
    _check_found(cause, MORE_FAULTS[cause], images)


def _check_found(cause: str, user: UserPipeline, images: list[Path]) -> None:
    network = make_network(SEED)
    found = compare(network, images, predict(network, images, user), make_spec())
    assert not found.passed
    assert causes_of(found) == (cause,)
    (told,) = found.diagnosis.explanations
    assert told.judged_px < found.diagnosis.judged_px / 3
    assert told.words.endswith(".")
    assert told.advice.endswith(".")
    assert "{" not in told.words + told.advice


SIXTEEN_BITS = {
    "sixteen_bits_divided_by_255": UserPipeline(read=lambda path: _read_16_bits(path)),
    "low_byte": UserPipeline(read=lambda path: _read_16_bits(path).astype(np.uint8)),
}


def _read_16_bits(path: Path) -> Array:
    plane = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
    return np.repeat(plane[..., None], 3, 2)


@pytest.mark.parametrize("cause", SIXTEEN_BITS)
def test_faults_of_16_bits_are_found(cause: str, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", 2, seed=7, gray=True)
    for image in images:
        levels = np.asarray(Image.open(image)).astype(np.uint16) * 100 + 7
        cv2.imwrite(str(image), levels)
    _check_found(cause, SIXTEEN_BITS[cause], images)


def test_a_fault_that_is_no_cause_is_openly_unexplained(images: list[Path]) -> None:
    def gamma(path: Path) -> Array:
        return np.asarray(255 * (read(path) / 255) ** 0.5, np.uint8)

    network = make_network(SEED)
    points = predict(network, images, UserPipeline(read=gamma))
    found = compare(network, images, points, make_spec())
    assert causes_of(found) == ()
    assert found.diagnosis.tried > 60


def _feeds_bgr(image: Array) -> Array:
    return normalise(image)[..., ::-1]


def _reversed(numbers: Array) -> tuple[float, ...]:
    return tuple(numbers.tolist()[::-1])


def _gray(path: Path) -> Array:
    return np.asarray(Image.open(path).convert("L"))


# What the spec says, and a user's pipeline that does it: ten exports that are as they should be.
CLEAN: dict[str, tuple[dict[str, Any], UserPipeline]] = {
    "letterbox": ({}, RIGHT),
    "other images": ({}, RIGHT),
    "other network": ({}, RIGHT),
    "stretch": ({"resize": "stretch"}, UserPipeline(fit=stretch)),
    "crop": ({"resize": "center_crop"}, UserPipeline(fit=center_crop)),
    "bgr": (
        {"color_order": "bgr", "mean": _reversed(MEAN), "std": _reversed(STD)},
        UserPipeline(normalise=_feeds_bgr),
    ),
    "linear": ({"interpolation": "linear"}, _fitted(_resized(cv2.INTER_LINEAR))),
    "antialiased": ({"interpolation": "antialiased_linear"}, _fitted(_with_pillow)),
    "gray padding": (
        {"pad_value": 0.5},
        UserPipeline(fit=lambda image: letterbox(image, pad=128)),
    ),
    "gray": (
        {"channels": 1, "color_order": "gray", "mean": (0.5,), "std": (0.25,)},
        UserPipeline(read=_gray, normalise=lambda image: (image / np.float32(255) - 0.5) / 0.25),
    ),
}


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_export_is_within_the_limit(name: str, tmp_path: Path) -> None:
    changes, user = CLEAN[name]
    seed = list(CLEAN).index(name)
    images = write_images(tmp_path / "images", 3, seed=10 + seed, gray=name == "gray")
    network = make_network(seed, channels=changes.get("channels", 3))
    found = compare(network, images, predict(network, images, user), make_spec(**changes))
    assert found.passed, found
    assert found.diagnosis is None
