from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mahtrt.data.datasets import open_dataset
from mahtrt.data.phantom import PhantomDataset, make_phantom
from mahtrt.data.preprocess import preprocess
from mahtrt.data.sample import Sample
from mahtrt.data.subset import NetworkTensors, Subset, Unannotated, hold_back
from mahtrt.errors import DataError
from mahtrt.spec import InputSpec


class Numbers:
    """Samples that say which they are."""

    source = "numbers"

    def __init__(self, count: int) -> None:
        self.names = tuple(str(i) for i in range(count))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        return Sample(self.names[index], np.full((4, 4), index, np.uint8), None, None)

    def __iter__(self):  # type: ignore[no-untyped-def]
        return (self[index] for index in range(len(self)))


@given(total=st.integers(2, 200), count=st.integers(1, 100))
def test_hold_back_splits_without_overlap_or_loss(total: int, count: int) -> None:
    rest, held = hold_back(Numbers(total), count)
    assert sorted((*rest.names, *held.names), key=int) == list(Numbers(total).names)
    assert len(held) == min(count, total // 2)
    assert list(held.names) == sorted(held.names, key=int)


def test_hold_back_spreads_evenly() -> None:
    _, held = hold_back(Numbers(10), 4)
    assert held.names == ("0", "3", "6", "9")


@pytest.mark.parametrize("total", [0, 1])
def test_too_few_to_hold_back(total: int) -> None:
    with pytest.raises(DataError, match="at least 2"):
        hold_back(Numbers(total), 1)


def test_a_subset_gives_what_the_data_set_gives() -> None:
    subset = Subset(Numbers(5), [3, 1])
    assert subset.names == ("3", "1")
    assert [int(sample.image[0, 0]) for sample in subset] == [3, 1]
    assert subset.source == "numbers"
    assert subset.skipped == ()


def test_a_subset_remembers_what_was_left_out(tmp_path: Path) -> None:
    for i in range(2):
        Image.fromarray(make_phantom(i, size=(64, 64)).image).save(tmp_path / f"{i}.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    rest, held = hold_back(open_dataset(tmp_path, skip_bad=True), 1)
    assert len(rest.skipped) == 1
    assert rest.skipped == held.skipped


def test_network_tensors_are_prepared_as_the_runtime_does() -> None:
    dataset, spec = PhantomDataset(2, 1), InputSpec(size=(32, 48))
    tensors = list(NetworkTensors(dataset, spec))
    assert len(NetworkTensors(dataset, spec)) == 2
    for tensor, sample in zip(tensors, dataset, strict=True):
        np.testing.assert_array_equal(tensor, preprocess(sample.image, spec)[0])


def test_unannotated_keeps_all_but_the_points() -> None:
    dataset = PhantomDataset(2, 1)
    bare = Unannotated(dataset)
    assert (len(bare), bare.source, bare.names) == (2, dataset.source, tuple(dataset.names))
    for sample, full in zip(bare, dataset, strict=True):
        assert sample.points_px is None
        assert full.points_px is not None
        assert sample.spacing_mm == full.spacing_mm
        np.testing.assert_array_equal(sample.image, full.image)
