from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sample_list import SampleList, listed

from mahtrt.data.datasets import open_dataset
from mahtrt.data.phantom import PhantomDataset, make_phantom
from mahtrt.data.preprocess import preprocess
from mahtrt.data.subset import NetworkTensors, Subset, Unannotated, hold_back
from mahtrt.errors import DataError
from mahtrt.spec import InputSpec, ModelSpec, OutputSpec


def spec_of(image: InputSpec) -> ModelSpec:
    return ModelSpec("net", (image,), (OutputSpec("map", "map"),))


def numbers(count: int) -> SampleList:
    """Images that say which they are."""
    return listed(np.full((4, 4), index, np.uint8) for index in range(count))


@given(total=st.integers(2, 200), count=st.integers(1, 100))
def test_hold_back_splits_without_overlap_or_loss(total: int, count: int) -> None:
    rest, held = hold_back(numbers(total), count)
    assert sorted((*rest.names, *held.names), key=int) == list(numbers(total).names)
    assert len(held) == min(count, total // 2)
    assert list(held.names) == sorted(held.names, key=int)


def test_hold_back_spreads_evenly() -> None:
    _, held = hold_back(numbers(10), 4)
    assert held.names == ("0", "3", "6", "9")


@pytest.mark.parametrize("total", [0, 1])
def test_too_few_to_hold_back(total: int) -> None:
    with pytest.raises(DataError, match="at least 2"):
        hold_back(numbers(total), 1)


def test_a_subset_gives_what_the_data_set_gives() -> None:
    subset = Subset(numbers(5), [3, 1])
    assert subset.names == ("3", "1")
    assert [int(sample.image[0, 0]) for sample in subset] == [3, 1]
    assert subset.source == "listed"
    assert subset.skipped == ()


def test_a_subset_remembers_what_was_left_out(tmp_path: Path) -> None:
    for i in range(2):
        Image.fromarray(make_phantom(i, size=(64, 64)).image).save(tmp_path / f"{i}.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    rest, held = hold_back(open_dataset(tmp_path, skip_bad=True), 1)
    assert len(rest.skipped) == 1
    assert rest.skipped == held.skipped


def test_network_tensors_are_prepared_as_the_runtime_does() -> None:
    dataset, spec = PhantomDataset(2, 1), spec_of(InputSpec(size=(32, 48)))
    tensors = list(NetworkTensors(dataset, spec))
    assert len(NetworkTensors(dataset, spec)) == 2
    for tensor, sample in zip(tensors, dataset, strict=True):
        np.testing.assert_array_equal(tensor["image"], preprocess(sample.image, spec.input)[0])


@pytest.mark.parametrize("first", ["all", "few", "digest"])
def test_network_tensors_decode_each_image_once(first: str) -> None:
    dataset = numbers(9)
    tensors = NetworkTensors(
        dataset, spec_of(InputSpec(size=(4, 4), channels=1, mean=(0.0,), std=(1 / 255,)))
    )
    uses = {
        "all": lambda: [int(tensor["image"][0, 0, 0]) for tensor in tensors] == list(range(9)),
        "few": lambda: [int(t["image"][0, 0, 0]) for t in tensors.spread_out(3)] == [0, 4, 8],
        "digest": lambda: len(tensors.images_digest) == 64,
    }
    assert uses[first]()
    assert all(holds() for holds in uses.values())
    assert dataset.decoded == [1] * 9


def test_what_does_not_fit_in_memory_is_decoded_again_and_is_the_same() -> None:
    dataset, spec = numbers(3), spec_of(InputSpec(size=(4, 4)))
    tensors = NetworkTensors(dataset, spec, kept_mib=0)
    first, again = ([feed["image"] for feed in tensors] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert dataset.decoded == [2] * 3
    assert tensors.images_digest == NetworkTensors(numbers(3), spec).images_digest


def test_the_digest_is_of_names_shapes_and_pixels_in_order() -> None:
    dataset, spec = numbers(3), spec_of(InputSpec(size=(8, 8)))
    digest = hashlib.sha256()
    for sample in dataset:
        digest.update(f"{sample.name}\0(4, 4)\0uint8\0".encode() + sample.image.tobytes())
    assert NetworkTensors(dataset, spec).images_digest == digest.hexdigest()
    backwards = NetworkTensors(Subset(dataset, [2, 1, 0]), spec)
    assert backwards.images_digest != digest.hexdigest()


def test_unannotated_keeps_all_but_the_points() -> None:
    dataset = PhantomDataset(2, 1)
    bare = Unannotated(dataset)
    assert (len(bare), bare.source, bare.names) == (2, dataset.source, tuple(dataset.names))
    for sample, full in zip(bare, dataset, strict=True):
        assert sample.points_px is None
        assert full.points_px is not None
        assert sample.spacing_mm == full.spacing_mm
        np.testing.assert_array_equal(sample.image, full.image)


def test_names_that_are_no_text_have_a_digest() -> None:
    """The bytes of the name on the disk count."""
    images, spec = [np.full((4, 4), 7, np.uint8)], spec_of(InputSpec(size=(8, 8)))
    digests = {
        NetworkTensors(listed(images, name), spec).images_digest
        for name in (
            os.fsdecode(b"caf\xe9"),
            os.fsdecode(b"caf\xe8"),
            "cafe\N{COMBINING ACUTE ACCENT}",
            "half \ud83d",
        )
    }
    assert len(digests) == 4
