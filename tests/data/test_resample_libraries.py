"""Each interpolation against the library calls that docs/preprocessing.md names for it.

Random images of 8 and 16 bits, shrunk and enlarged. Where a library cuts off overshoots between its
two passes and another does not, the levels are in the middle of the range, so that there are none.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from mahtrt.data.resample import resample
from mahtrt.spec import Interpolation

Levels = NDArray[np.generic]
SIZES = (  # of an image and of the new one: shrink, enlarge, both, whole factors, one axis alone
    ((120, 97), (51, 44)),
    ((200, 31), (14, 9)),
    ((40, 53), (91, 120)),
    ((90, 33), (40, 77)),
    ((31, 80), (70, 37)),
    ((64, 96), (32, 24)),
    ((50, 70), (50, 33)),
    ((50, 70), (81, 70)),
)


def images(
    dtype: str, middle: bool = False, colours: bool = True
) -> Iterator[tuple[Levels, int, int]]:
    """An image, and rows and columns to be."""
    most = int(np.iinfo(dtype).max)
    low, high = (most // 4, 3 * most // 4) if middle else (0, most)
    for seed, (size, new) in enumerate(SIZES):
        for samples in ((), (3,)) if colours else ((),):
            rng = np.random.default_rng(seed)
            yield rng.integers(low, high, (*size, *samples), dtype, endpoint=True), *new


def apart(ours: Levels, theirs: Levels) -> int:
    assert ours.shape == theirs.shape
    return int(np.abs(ours.astype(np.int64) - theirs.astype(np.int64)).max())


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(
    ("interpolation", "method"), [("linear", cv2.INTER_LINEAR), ("cubic", cv2.INTER_CUBIC)]
)
def test_opencv(dtype: str, interpolation: Interpolation, method: int) -> None:
    for image, height, width in images(dtype):
        theirs = cv2.resize(image, (width, height), interpolation=method)
        assert apart(resample(image, height, width, interpolation), theirs) <= 1


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_opencv_area(dtype: str) -> None:
    shrunk = 0
    for image, height, width in images(dtype):
        if height <= image.shape[0] and width <= image.shape[1]:
            theirs = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
            assert apart(resample(image, height, width, "area"), theirs) <= 1
            shrunk += 1
        elif height >= image.shape[0] and width >= image.shape[1]:
            ours = resample(image, height, width, "linear")
            np.testing.assert_array_equal(resample(image, height, width, "area"), ours)
    assert shrunk == 8


def columns_of_nearest(resized: Levels) -> NDArray[np.int64]:
    """Which pixels a library took, of an image whose levels are their columns."""
    return np.asarray(resized, np.int64).reshape(-1, np.shape(resized)[-1])[0]


@pytest.mark.parametrize(
    ("interpolation", "library", "between"),
    [
        ("nearest", "opencv", 0.03),  # of a pixel, from where both are as near
        ("nearest", "pillow", 1e-9),
        ("nearest", "torch", 1e-3),
        ("nearest_floor", "opencv", 1e-9),
        ("nearest_floor", "torch", 1e-3),
    ],
)
def test_nearest(interpolation: Interpolation, library: str, between: float) -> None:
    """Where a new pixel lies as near to two, a library in floating point may take either."""
    exact = interpolation == "nearest"
    rng, others, pixels = np.random.default_rng(0), 0, 0
    for _ in range(150):
        length, count = (int(side) for side in rng.integers(2, 900, 2))
        image = np.tile(np.arange(length, dtype=np.uint16), (2, 1))
        ours = resample(image, 2, count, interpolation)[0].astype(np.int64)
        if library == "opencv":
            method = cv2.INTER_NEAREST_EXACT if exact else cv2.INTER_NEAREST
            theirs = cv2.resize(image, (count, 2), interpolation=method)
        elif library == "pillow":
            theirs = np.asarray(Image.fromarray(image).resize((count, 2), Image.Resampling.NEAREST))
        else:
            values = torch.from_numpy(image.astype(np.float32))[None, None]
            mode = "nearest-exact" if exact else "nearest"
            theirs = torch.nn.functional.interpolate(values, (2, count), mode=mode).numpy()
        differs = columns_of_nearest(theirs) != ours
        others, pixels = others + int(differs.sum()), pixels + count
        i = np.arange(count)
        place = (2 * i + 1) * length / (2 * count) if exact else i * length / count
        assert (np.abs(place - np.rint(place))[differs] <= between).all()
    assert others < 0.006 * pixels


@pytest.mark.parametrize("interpolation", ["antialiased_linear", "antialiased_cubic"])
def test_pillow(interpolation: Interpolation) -> None:
    method = METHODS[interpolation]
    for image, height, width in images("uint8"):
        picture = Image.fromarray(image)
        # Columns first, as every release before 13 does of itself: the same in every sample.
        in_order = picture.resize((width, len(image)), method).resize((width, height), method)
        np.testing.assert_array_equal(resample(image, height, width, interpolation), in_order)
    for image, height, width in images("uint8", middle=True):
        theirs = np.asarray(Image.fromarray(image).resize((width, height), method))
        assert apart(resample(image, height, width, interpolation), theirs) <= 1
        same = transforms.resize(Image.fromarray(image), [height, width], MODES[interpolation])
        np.testing.assert_array_equal(np.asarray(same), theirs)  # torchvision hands it to Pillow
    for image, height, width in images("uint16", middle=True, colours=False):
        theirs = np.asarray(Image.fromarray(image).resize((width, height), method))
        most = 1 if interpolation == "antialiased_linear" else 2  # of 65535
        assert apart(resample(image, height, width, interpolation), theirs) <= most


METHODS = {
    "antialiased_linear": Image.Resampling.BILINEAR,
    "antialiased_cubic": Image.Resampling.BICUBIC,
}
MODES = {
    "antialiased_linear": InterpolationMode.BILINEAR,
    "antialiased_cubic": InterpolationMode.BICUBIC,
    "linear": InterpolationMode.BILINEAR,
    "cubic": InterpolationMode.BICUBIC,
}


def planes_first(image: Levels) -> torch.Tensor:
    return torch.from_numpy(image[None] if image.ndim == 2 else image.transpose(2, 0, 1).copy())


def planes_last(planes: torch.Tensor) -> Levels:
    array: Levels = planes.numpy()
    return array[0] if len(array) == 1 else array.transpose(1, 2, 0)


@pytest.mark.parametrize("interpolation", list(MODES))
def test_torchvision_on_tensors(interpolation: Interpolation) -> None:
    antialias = interpolation.startswith("antialiased")
    # Its weights of 16 bits are two levels off in some sample of a hundred images.
    most = 2 if interpolation == "antialiased_cubic" else 1
    for image, height, width in images("uint8", middle=interpolation.endswith("cubic")):
        theirs = transforms.resize(
            planes_first(image), [height, width], MODES[interpolation], antialias=antialias
        )
        assert apart(resample(image, height, width, interpolation), planes_last(theirs)) <= most


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("interpolation", list(MODES))
def test_pytorch(dtype: str, interpolation: Interpolation) -> None:
    middle = interpolation == "antialiased_cubic"
    for image, height, width in images(dtype, middle=middle):
        values = planes_first(image.astype(np.float64))[None]
        mode = "bilinear" if "linear" in interpolation else "bicubic"
        found = torch.nn.functional.interpolate(
            values, (height, width), mode=mode, antialias=interpolation.startswith("antialiased")
        )
        theirs = planes_last(found[0].round().clamp(0, np.iinfo(dtype).max))
        assert apart(resample(image, height, width, interpolation), theirs) <= 1
