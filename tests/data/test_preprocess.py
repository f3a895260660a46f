from __future__ import annotations

import dataclasses
from typing import Literal, get_args

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from preprocess_oracle import input_tensor

from mahtrt.data.preprocess import Placement, check_image, preprocess
from mahtrt.errors import ImageError
from mahtrt.spec import InputSpec, Interpolation, Resize

SPEC = InputSpec(size=(48, 64), channels=1, color_order="gray", mean=(0.0,), std=(1.0,))
RESIZES: tuple[Resize, ...] = ("letterbox", "stretch", "center_crop")
INTERPOLATIONS: tuple[Interpolation, ...] = (
    *("area", "linear", "cubic"),
    *("antialiased_linear", "antialiased_cubic"),
)
EVERY: tuple[Interpolation, ...] = get_args(Interpolation)
sides = st.integers(24, 200)


def dot(height: int, width: int, x: float, y: float, sigma: float) -> NDArray[np.uint8]:
    """A bright Gaussian dot at (x, y) on black."""
    rows, columns = np.mgrid[:height, :width]
    return np.rint(250 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))).astype(
        np.uint8
    )


def centroid(tensor: NDArray[np.float32]) -> NDArray[np.float64]:
    rows, columns = np.mgrid[: tensor.shape[0], : tensor.shape[1]]
    total = tensor.sum()
    return np.array([(tensor * columns).sum() / total, (tensor * rows).sum() / total])


@settings(deadline=None, max_examples=60)
@given(
    height=sides, width=sides, resize=st.sampled_from(RESIZES),
    across=st.floats(0, 1), down=st.floats(0, 1),
    interpolation=st.sampled_from(INTERPOLATIONS),
)  # fmt: skip
def test_a_drawn_dot_arrives_where_placement_says(
    height: int,
    width: int,
    resize: Resize,
    across: float,
    down: float,
    interpolation: Interpolation,
) -> None:
    spec = dataclasses.replace(SPEC, resize=resize, interpolation=interpolation)
    # Wide enough not to alias where only linear interpolation shrinks it.
    sigma = max(1.5, 1.5 * height / 48, 1.5 * width / 64)
    _, placement = preprocess(np.zeros((height, width), np.uint8), spec)
    reach = np.array([64, 48]) / 4
    target = np.array([31.5, 23.5]) + (np.array([across, down]) - 0.5) * reach
    x, y = placement.image_from_network(target)
    tensor, _ = preprocess(dot(height, width, x, y, sigma), spec)
    border = 4 * sigma
    inside = border < x < width - border and border < y < height - border
    reach_network = 4 * sigma * np.array(placement.scale)
    inside &= bool(((target > reach_network) & (target < [63, 47] - reach_network)).all())
    if inside:  # else the dot is cut, and its centroid is elsewhere
        assert np.abs(centroid(np.maximum(tensor[0], 0)) - target).max() < 0.08


def test_the_dot_test_really_measures() -> None:
    """A half-pixel mistake in the frame, the usual one, would be seen."""
    spec = dataclasses.replace(SPEC, resize="letterbox")
    image = dot(192, 256, 100.3, 80.7, 8.0)
    tensor, placement = preprocess(image, spec)
    found = centroid(tensor[0])
    assert np.abs(found - placement.network_from_image(np.array([100.3, 80.7]))).max() < 0.02
    assert np.abs(found - np.array([100.3, 80.7]) / 4).max() > 0.3


@given(
    height=st.integers(2, 5000), width=st.integers(2, 5000), scale=st.floats(0.01, 20),
    offset=st.floats(-500, 500), x=st.floats(-100, 5000), y=st.floats(-100, 5000),
)  # fmt: skip
def test_points_go_there_and_back(
    height: int, width: int, scale: float, offset: float, x: float, y: float
) -> None:
    placement = Placement((scale, scale * height / width), (offset, -offset))
    points = np.array([[x, y], [y, x]])
    network = (points + 0.5) * placement.scale - 0.5 + placement.offset
    # float32 carries the network's pixels: its rounding, magnified, is all that may be lost.
    allowed = np.abs(network) * 2**-23 / np.array(placement.scale) + np.abs(points) * 2**-23 + 1e-6
    there = placement.network_from_image(points)
    assert (np.abs(placement.image_from_network(there) - points) <= 2 * allowed).all()


@settings(deadline=None, max_examples=80)
@given(height=st.integers(2, 300), width=st.integers(2, 300), resize=st.sampled_from(RESIZES))
def test_placement_covers_the_input_as_its_policy_says(
    height: int, width: int, resize: Resize
) -> None:
    spec = dataclasses.replace(SPEC, resize=resize)
    tensor, placement = preprocess(np.full((height, width), 255, np.uint8), spec)
    assert tensor.shape == (1, 48, 64)
    corners = placement.network_from_image(np.array([[-0.5, -0.5], [width - 0.5, height - 0.5]]))
    (left, top), (right, bottom) = corners
    if resize == "stretch":
        assert np.allclose(corners, [[-0.5, -0.5], [63.5, 47.5]], atol=1e-3)
    elif resize == "letterbox":  # all of the image, touching two borders
        assert left >= -0.501
        assert top >= -0.501
        assert right <= 63.501
        assert bottom <= 47.501
        assert right - left > 63.99 or bottom - top > 47.99
        outside = tensor[0] == 0
        assert outside.sum() == 64 * 48 - round(right - left) * round(bottom - top)
    else:  # nothing but the image
        assert left <= -0.499
        assert top <= -0.499
        assert right >= 63.499
        assert bottom >= 47.499
        assert tensor.min() > 0.99


def test_letterbox_is_centred_and_padded() -> None:
    spec = dataclasses.replace(SPEC, pad_value=0.5)
    tensor, placement = preprocess(np.full((32, 16), 255, np.uint8), spec)
    assert placement == Placement(scale=(1.5, 1.5), offset=(20.0, 0.0))
    assert np.allclose(tensor[0, :, 20:44], 1)
    assert np.allclose(tensor[0, :, :20], 0.5, atol=0.01)
    assert np.allclose(tensor[0, :, 44:], 0.5, atol=0.01)


@settings(deadline=None, max_examples=120)
@given(
    shape=st.tuples(st.integers(2, 60), st.integers(2, 60)),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    samples=st.sampled_from(((), (1,), (3,))), dtype=st.sampled_from(("uint8", "uint16")),
    resize=st.sampled_from(RESIZES), interpolation=st.sampled_from(EVERY),
    way=st.sampled_from(("gray", "rgb", "bgr")), seed=st.integers(0, 2**20),
    foreign=st.booleans(),
)  # fmt: skip
def test_every_bit_is_the_oracles(
    shape: tuple[int, int],
    size: tuple[int, int],
    samples: tuple[int, ...],
    dtype: str,
    resize: Resize,
    interpolation: Interpolation,
    way: Literal["gray", "rgb", "bgr"],
    seed: int,
    foreign: bool,
) -> None:
    channels = 1 if way == "gray" else 3
    mean, std = (0.485, 0.456, 0.406)[:channels], (0.229, 0.224, 0.225)[:channels]
    spec = InputSpec(size, "image", channels, way, mean, std, resize, interpolation, 0.3)
    most = np.iinfo(dtype).max
    image = np.random.default_rng(seed).integers(0, most, (*shape, *samples), dtype, endpoint=True)
    planes = np.moveaxis(image.reshape(*shape, -1), -1, 0).tolist()
    expected = np.array(input_tensor(planes, dtype, dataclasses.asdict(spec)), np.float32)
    given = image.astype(image.dtype.newbyteorder(">")) if foreign else image
    tensor, _ = preprocess(given, spec)
    np.testing.assert_array_equal(tensor.view(np.uint32), expected.view(np.uint32))


def test_same_size_is_untouched() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64), dtype=np.uint8)
    tensor, placement = preprocess(image, SPEC)
    assert np.allclose(tensor[0], image / 255, atol=1e-6)
    assert placement == Placement((1.0, 1.0), (0.0, 0.0))


@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 1)])
def test_gray_is_repeated_over_the_channels(shape: tuple[int, ...]) -> None:
    spec = InputSpec(size=(48, 64))
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    tensor, _ = preprocess(image, spec)
    assert tensor.shape == (3, 48, 64)
    assert tensor.flags.c_contiguous
    assert np.array_equal(tensor[0], tensor[2])
    assert np.allclose(tensor[0], (image.reshape(48, 64) / 255 - 0.5) / 0.25, atol=1e-5)


def test_gray_is_normalised_per_channel() -> None:
    spec = InputSpec(size=(48, 64), mean=(0.5, 0.2, 0.5), std=(0.25, 0.25, 0.25))
    image = np.random.default_rng(0).integers(0, 256, (48, 64), dtype=np.uint8)
    tensor, _ = preprocess(image, spec)
    assert np.array_equal(tensor[0], tensor[2])
    for channel in (0, 1):
        alone = dataclasses.replace(SPEC, mean=spec.mean[channel : channel + 1], std=(0.25,))
        assert np.array_equal(tensor[channel], preprocess(image, alone)[0][0])


@pytest.mark.parametrize("channels", [(), (3,)])
def test_an_acquisition_is_shrunk_as_opencv_does(channels: tuple[int, ...]) -> None:
    """Networks were trained with OpenCV's area interpolation."""
    image = np.random.default_rng(0).integers(0, 256, (1935, 2400, *channels), dtype=np.uint8)
    spec = InputSpec(size=(413, 512), mean=(0.0,) * 3, std=(1.0,) * 3)
    tensor, _ = preprocess(image, spec)
    expected = cv2.resize(image, (512, 413), interpolation=cv2.INTER_AREA).reshape(413, 512, -1)
    levels = np.rint(tensor * 255).transpose(1, 2, 0)
    difference = np.abs(levels - expected)
    assert difference.max() <= 1
    assert (difference != 0).mean() < 1e-3


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("turned", [False, True])
def test_an_axis_that_shrinks_is_averaged_though_the_other_grows(dtype: str, turned: bool) -> None:
    full = int(np.iinfo(dtype).max)
    stripes = np.zeros((10, 96), dtype)
    stripes[:, ::4] = stripes[:, 3::4] = full  # every mean over four is a half
    image, size = (stripes.T, (24, 20)) if turned else (stripes, (20, 24))
    spec = dataclasses.replace(SPEC, size=size, resize="stretch", mean=(0.0,), std=(1.0,))
    tensor, _ = preprocess(np.ascontiguousarray(image), spec)
    assert np.abs(tensor - 0.5).max() <= 1 / full


def test_colour_order_mean_and_std_are_per_channel() -> None:
    rgb = np.zeros((48, 64, 3), np.uint8)
    rgb[:] = (255, 51, 0)
    spec = InputSpec(size=(48, 64), mean=(0.1, 0.2, 0.3), std=(1.0, 0.5, 0.25))
    tensor, _ = preprocess(rgb, spec)
    assert np.allclose(tensor[:, 0, 0], [0.9, 0.0, -1.2], atol=1e-6)
    tensor, _ = preprocess(rgb, dataclasses.replace(spec, color_order="bgr"))
    assert np.allclose(tensor[:, 0, 0], [-0.1, 0.0, 2.8], atol=1e-6)


def test_colours_become_gray_for_a_gray_network() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    tensor, _ = preprocess(rgb, SPEC)
    assert np.allclose(tensor[0] * 255, cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), atol=1e-3)


@pytest.mark.parametrize("resize", RESIZES)
def test_sixteen_bits_give_what_eight_give(resize: Resize) -> None:
    spec = dataclasses.replace(SPEC, resize=resize, pad_value=0.2)
    image = dot(96, 100, 50, 40, 10)
    shallow, _ = preprocess(image, spec)
    deep, _ = preprocess(image.astype(np.uint16) * 257, spec)
    assert np.abs(shallow - deep).max() <= 0.6 / 255


def test_non_contiguous_images_are_taken() -> None:
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    view = image[::2, ::2]
    assert np.array_equal(
        preprocess(view, InputSpec(size=(24, 32)))[0],
        preprocess(view.copy(), InputSpec(size=(24, 32)))[0],
    )


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((1, 1), np.uint8), "1x1 pixels"),
        (np.zeros((0, 5), np.uint8), "5x0 pixels"),
        (np.zeros((8, 8, 4), np.uint8), r"shape \(8, 8, 4\)"),
        (np.zeros((2, 8, 8, 3), np.uint8), "one image at a time"),
        (np.zeros(8, np.uint8), r"shape \(8,\)"),
        (np.zeros((8, 8), np.float32), "dtype float32"),
        (np.zeros((8, 8), np.int16), "dtype int16"),
        ([[1, 2], [3, 4]], "a list"),
    ],
)
def test_refused(image: NDArray[np.generic], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        preprocess(image, SPEC)
    with pytest.raises(ImageError, match="mine: got"):
        check_image(image, "mine")


def test_length_scales_by_the_mean_of_both_axes() -> None:
    placement = Placement((2.0, 0.5), (3.0, 4.0))
    assert placement.image_length_from_network(np.array([3.0]))[0] == pytest.approx(3.0)
    assert Placement((0.25, 0.25), (0, 0)).image_length_from_network(np.array([1.0]))[0] == 4.0
