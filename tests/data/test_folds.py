"""Folds: equal parts that depend on names alone."""

from __future__ import annotations

import numpy as np
import pytest
from sample_list import SampleList

from mahtrt.data.folds import Fold
from mahtrt.data.sample import Sample
from mahtrt.errors import DataError, UsageError

IMAGE = np.zeros((2, 2), np.uint8)


def dataset(names: list[str]) -> SampleList:
    return SampleList([Sample(name, IMAGE) for name in names])


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_every_case_judges_in_one_fold_and_trains_in_the_others(folds: int) -> None:
    whole = dataset([f"case-{i}" for i in range(11)])
    judged: list[str] = []
    for number in range(1, folds + 1):
        fold = Fold(folds, number)
        ours, others = fold.judging(whole), fold.training(whole)
        assert sorted([*ours.names, *others.names]) == sorted(whole.names)
        assert abs(len(ours) - 11 / folds) < 1
        judged += ours.names
    assert sorted(judged) == sorted(whole.names)


def test_the_order_of_the_data_set_does_not_matter() -> None:
    names = [f"case-{i}" for i in range(9)]
    fold = Fold(3, 2)
    assert set(fold.judging(dataset(names)).names) == set(fold.judging(dataset(names[::-1])).names)


def test_impossible_folds_are_refused() -> None:
    with pytest.raises(UsageError, match="--folds: got 1; expected at least 2"):
        Fold(1, 1)
    with pytest.raises(UsageError, match="--fold: got 0"):
        Fold(3, 0)
    with pytest.raises(DataError, match=r"2 case\(s\); expected 3"):
        Fold(3, 1).judging(dataset(["a", "b"]))
