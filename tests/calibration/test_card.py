from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from tiny_graphs import smooth_images

from mahtrt.calibration.card import image_digests, make_card, refuse_overlap
from mahtrt.calibration.methods import METHODS
from mahtrt.calibration.ranges import Ranges, TensorRange, collect_ranges
from mahtrt.data.datasets import open_dataset
from mahtrt.data.sample import Sample
from mahtrt.data.subset import hold_back
from mahtrt.errors import DataError


def seen(amax: float, *past: float, saturation: float = 0.0) -> TensorRange:
    history = {m: tuple(past) for m in METHODS} if past else {}
    shares = dict.fromkeys(METHODS, saturation)
    return TensorRange(-amax, amax, dict.fromkeys(METHODS, amax), shares, 10, 10, history)


SETTLED = Ranges(
    tensors={"a": seen(4.0, 2.0, 3.0, 4.0, 4.0), "b": seen(1.0, 0.9, 0.95, 0.95, 1.0)},
    images=16,
    digest="ab" * 32,
    preprocess_version=1,
    snapshots=(2, 4, 8, 12),
)


class Arrays:
    """A data set of arrays in memory that counts how often each is decoded."""

    def __init__(self, source: str, images: dict[str, np.ndarray]) -> None:
        self.source, self._images = source, images
        self.names: Sequence[str] = tuple(images)
        self.decoded: list[int] = []

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int, /) -> Sample:
        self.decoded.append(index)
        return Sample(self.names[index], self._images[self.names[index]])

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 255, (12, 10), np.uint8) for _ in range(count)]


def named(images: Sequence[np.ndarray], prefix: str = "image") -> Arrays:
    return Arrays(prefix, {f"{prefix}{n}": image for n, image in enumerate(images)})


def test_a_settled_calibration_has_no_warning() -> None:
    card = make_card(SETTLED)
    assert (card.images, card.digest, card.methods) == (16, "ab" * 32, {"minmax": 2})
    assert card.snapshots == {2: (30.0, 50.0), 4: (15.0, 25.0), 8: (2.5, 5.0), 12: (0.0, 0.0)}
    assert card.warnings == ()
    assert [(row.tensor, row.moved_percent) for row in card.most_moved] == [("b", 5.0)]
    assert card.most_saturated == ()


def test_scales_that_still_move_are_named() -> None:
    tensors = {f"t{n}": seen(4.0, 1.0, 1.0, 3.5 - n / 4, 4.0) for n in range(5)}
    card = make_card(replace(SETTLED, tensors=tensors | {"settled": seen(1.0, 1.0, 1.0, 1.0, 1.0)}))
    (warning,) = card.warnings
    assert warning == (
        "more images would still move the scales: over the second half, 5 of 6 moved by more than "
        "10% (t4 by 38%, t3 by 31%, t2 by 25% and 2 more)"
    )
    assert f"warning: {warning}" in card.to_text()


def test_the_worst_ten_that_saturate_come_first() -> None:
    tensors = {f"t{n}": seen(1.0, saturation=n / 100) for n in range(14)}
    card = make_card(replace(SETTLED, tensors=tensors, snapshots=()))
    assert [row.tensor for row in card.most_saturated] == [f"t{n}" for n in range(13, 3, -1)]
    assert "saturates 13.0000%: t13" in card.to_text()
    assert "t9" not in card.to_text()


def test_the_card_is_of_the_methods_that_were_used() -> None:
    amax = {"minmax": 4.0, "percentile": 3.0, "entropy": 2.0, "mse": 1.0}
    one = replace(seen(4.0), amax=amax, saturation=amax, history=dict.fromkeys(METHODS, (0.5,)))
    ranges = replace(SETTLED, tensors={"a": one, "b": one}, snapshots=(8,))
    card = make_card(ranges, {"b": "mse"})
    assert card.methods == {"minmax": 1, "mse": 1}
    rows = {row.tensor: row for row in card.most_moved}
    assert (rows["a"].amax, rows["a"].moved_percent) == (4.0, 87.5)
    assert (rows["b"].method, rows["b"].amax, rows["b"].moved_percent) == ("mse", 1.0, 50.0)


def test_too_few_images_are_said() -> None:
    card = make_card(replace(SETTLED, tensors={"a": seen(1.0)}, images=3, snapshots=()))
    assert card.warnings == ("3 image(s) are too few to see whether more would move the scales",)
    assert card.most_moved == ()


def test_the_dictionary_is_json_and_the_text_is_short() -> None:
    card = make_card(SETTLED)
    table = json.loads(json.dumps(card.to_dict()))
    assert table["snapshots"][0] == {"images": 2, "median_percent": 30.0, "largest_percent": 50.0}
    assert table["most_moved"][0]["tensor"] == "b"
    assert card.to_text().splitlines()[:2] == [
        "calibrated on 16 images (abababababab), minmax (2 tensors)",
        "after 2 images: scales within 30.0% of the final ones in the median, 50.0% at most",
    ]


def test_real_ranges_make_a_card(model: onnx.ModelProto, model_path: Path) -> None:
    tensor = "encoder.stem_relu_out"
    ranges = collect_ranges(model_path, [tensor], smooth_images(8), threads=1)
    card = make_card(ranges, "entropy")
    assert list(card.snapshots) == [1, 2, 4, 6]
    assert card.most_saturated[0].saturation == ranges.tensors[tensor].saturation["entropy"] > 0
    assert make_card(ranges).most_saturated == ()  # minmax saturates nothing


def test_digests_are_of_pixels_not_of_names_or_shapes() -> None:
    image = pictures(1)[0]
    digests = image_digests(
        named([image, image.copy(), image.reshape(10, 12), image.astype(np.uint16), image + 1])
    )
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4


def test_images_in_both_are_named_and_each_is_decoded_once() -> None:
    images = pictures(9)
    calib, evaluation = named(images[:6], "c"), named([*images[6:], images[2]], "e")
    told: list[tuple[int, int]] = []
    with pytest.raises(DataError, match=r"got 1 in both \(c2 is e3\); expected none in common"):
        refuse_overlap(calib, evaluation, progress=lambda done, total: told.append((done, total)))
    assert sorted(calib.decoded) == list(range(6))
    assert sorted(evaluation.decoded) == list(range(4))
    assert told == [(n, 10) for n in range(1, 11)]
    refuse_overlap(named(images[:6]), named(images[6:]), threads=1)


def test_many_images_in_both_are_counted() -> None:
    images = named(pictures(6))
    with pytest.raises(DataError, match=r"got 6 in both \(image0, image1, image2 and 3 more\)"):
        refuse_overlap(images, images)


def test_the_parts_of_a_data_set_overlap_only_through_duplicates() -> None:
    images = pictures(6)
    refuse_overlap(*hold_back(named(images), 2))
    with pytest.raises(DataError, match="image1 is image0"):
        refuse_overlap(*hold_back(named([images[0], *images[:5]]), 2))


def test_copies_in_files_of_another_name_and_format_are_found(tmp_path: Path) -> None:
    for folder, suffix, numbers in (("calib", "png", (0, 1)), ("eval", "bmp", (1, 2))):
        (tmp_path / folder).mkdir()
        for number in numbers:
            name = f"{folder}-{number}.{suffix}"
            Image.fromarray(pictures(3)[number]).save(tmp_path / folder / name)
    with pytest.raises(DataError, match=r"calib-1.* is eval-1"):
        refuse_overlap(open_dataset(tmp_path / "calib"), open_dataset(tmp_path / "eval"))


def test_gray_kept_as_rgb_is_the_same_image() -> None:
    gray = pictures(2)
    as_rgb = [np.repeat(image[:, :, None], 3, axis=2) for image in gray]
    assert image_digests(named(gray)) == image_digests(named(as_rgb))
    tinted = as_rgb[0].copy()
    tinted[0, 0, 1] ^= 1
    assert image_digests(named([tinted])) != image_digests(named(gray[:1]))
