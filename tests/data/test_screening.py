from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sample_list import listed

from mahtrt.data.phantom import PhantomDataset
from mahtrt.data.screening import judge_image, refuse_unreal_images
from mahtrt.errors import DataError


def noise(kind: str, count: int = 6) -> list[NDArray[np.generic]]:
    rng = np.random.default_rng(0)
    shape = (64, 80)
    if kind == "uniform":
        return [rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(count)]
    if kind == "colour":
        return [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for _ in range(count)]
    if kind == "deep":
        return [rng.integers(0, 65536, shape, dtype=np.uint16) for _ in range(count)]
    return [np.clip(rng.normal(128, 30, shape), 0, 255).astype(np.uint8) for _ in range(count)]


def test_phantoms_are_never_refused() -> None:
    assert {judge_image(sample.image) for sample in PhantomDataset(100, 1)} == {"real"}
    refuse_unreal_images(PhantomDataset(4))


@pytest.mark.parametrize("kind", ["uniform", "gaussian", "colour", "deep"])
def test_noise_is_refused(kind: str) -> None:
    with pytest.raises(DataError, match=r"listed: got 6 of 6 images .* random noise"):
        refuse_unreal_images(listed(noise(kind)))


def test_noise_that_went_through_jpeg_is_refused() -> None:
    for image in noise("colour"):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=75)
        assert judge_image(np.asarray(Image.open(buffer))) == "noise"


@pytest.mark.parametrize("value", [0, 128, 255])
def test_constants_are_refused(value: int) -> None:
    images = [np.full((32, 32, 3), value, np.uint8)] * 3
    with pytest.raises(DataError, match="constant"):
        refuse_unreal_images(listed(images))
    assert judge_image(np.full((32, 32), value * 257, np.uint16)) == "constant"


def test_twelve_bits_in_sixteen_are_real() -> None:
    image = PhantomDataset(1)[0].image
    assert judge_image((image.astype(np.uint16) * 16) // 2) == "real"


def test_a_minority_is_tolerated_and_few_are_looked_at() -> None:
    real = [sample.image for sample in PhantomDataset(4)]
    refuse_unreal_images(listed([*real, *noise("uniform", 3)]))
    with pytest.raises(DataError):
        refuse_unreal_images(listed([*real, *noise("uniform", 5)]))
    many = listed([real[0]] * 500)
    refuse_unreal_images(many)
    assert sum(many.decoded) == 32


def test_nothing_is_refused_as_nothing() -> None:
    with pytest.raises(DataError, match="no images"):
        refuse_unreal_images(listed([]))
