"""Images that two data sets share are found by their pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sample_list import SampleList, listed

from mahtrt.data.datasets import open_dataset
from mahtrt.data.overlap import image_digests, refuse_overlap
from mahtrt.data.sample import Sample
from mahtrt.data.subset import hold_back
from mahtrt.errors import DataError


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 255, (12, 10), np.uint8) for _ in range(count)]


def test_digests_are_of_pixels_not_of_names_or_shapes() -> None:
    image = pictures(1)[0]
    digests = image_digests(
        listed([image, image.copy(), image.reshape(10, 12), image.astype(np.uint16) * 3, image + 1])
    )
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4


@pytest.mark.parametrize("scale", [1, 256, 257], ids=["kept", "shifted", "repeated"])
def test_8_bits_kept_as_16_are_the_same_image(scale: int) -> None:
    gray = pictures(1)[0]
    rgb = np.stack([gray, gray[::-1], gray], axis=-1)
    for image in (gray, rgb):
        wider = image.astype(np.uint16) * scale
        assert image_digests(listed([wider])) == image_digests(listed([image]))
        touched = wider.copy()
        touched[0, 0] ^= 0x11  # no repeated bits any more
        touched[1, 1] |= 0x0101
        assert image_digests(listed([touched])) != image_digests(listed([image]))


def test_images_in_both_are_named_and_each_is_decoded_once() -> None:
    images = pictures(9)
    calib, evaluation = listed(images[:6], "c"), listed([*images[6:], images[2]], "e")
    told: list[tuple[int, int]] = []
    with pytest.raises(DataError, match=r"got 1 in both \(c2 is e3\); expected none in common"):
        refuse_overlap(calib, evaluation, progress=lambda done, total: told.append((done, total)))
    assert calib.decoded == [1] * 6
    assert evaluation.decoded == [1] * 4
    assert told == [(n, 10) for n in range(1, 11)]
    refuse_overlap(listed(images[:6]), listed(images[6:]))


def test_many_images_in_both_are_counted() -> None:
    images = listed(pictures(6))
    with pytest.raises(DataError, match=r"got 6 in both \(0, 1, 2 and 3 more\)"):
        refuse_overlap(images, images)


def test_the_parts_of_a_data_set_overlap_only_through_duplicates() -> None:
    images = pictures(6)
    refuse_overlap(*hold_back(listed(images), 2))
    with pytest.raises(DataError, match="1 is 0"):
        refuse_overlap(*hold_back(listed([images[0], *images[:5]]), 2))


def test_copies_in_files_of_another_name_and_format_are_found(tmp_path: Path) -> None:
    for folder, suffix, numbers in (("calib", "png", (0, 1)), ("eval", "bmp", (1, 2))):
        (tmp_path / folder).mkdir()
        for number in numbers:
            name = f"{folder}-{number}.{suffix}"
            Image.fromarray(pictures(3)[number]).save(tmp_path / folder / name)
    with pytest.raises(DataError, match=r"calib-1.* is eval-1"):
        refuse_overlap(open_dataset(tmp_path / "calib"), open_dataset(tmp_path / "eval"))


def test_a_case_overlaps_by_any_of_its_images() -> None:
    a, b, c, d = pictures(4)

    def pair(name: str, first: np.ndarray, second: np.ndarray) -> SampleList:
        return SampleList([Sample(name, first, others=(second,))])

    used = pair("used", a, b)
    for other in (pair("other", b, a), pair("other", c, a), pair("other", b, d)):
        with pytest.raises(DataError, match=r"1 in both \(used has an image of other\)"):
            refuse_overlap(used, other)
    with pytest.raises(DataError, match="used is other"):
        refuse_overlap(used, pair("other", a, b))
    refuse_overlap(used, pair("other", c, d))


def test_gray_kept_as_rgb_is_the_same_image() -> None:
    gray = pictures(2)
    as_rgb = [np.repeat(image[:, :, None], 3, axis=2) for image in gray]
    assert image_digests(listed(gray)) == image_digests(listed(as_rgb))
    tinted = as_rgb[0].copy()
    tinted[0, 0, 1] ^= 1
    assert image_digests(listed([tinted])) != image_digests(listed(gray[:1]))
