"""Accuracy that is found in parts, by other sessions, is that of one pass over all images."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from bench_fakes import FakeDataset, FakeSession
from map_pairs import Pairs, session

from mahtrt.benchmarks.accuracy_pass import AccuracyPass
from mahtrt.benchmarks.compare import Contender, Runner
from mahtrt.data.sample import Dataset


def contenders(kind: str) -> list[Contender]:
    """A reference and an engine, opened anew."""
    pair: list[Runner] = [session(), session(0.05)]
    if kind == "landmarks":
        pair = [FakeSession(spread_px=2.0), FakeSession(0.5, spread_px=2.0, jumps=(3,))]
    return [
        Contender("pytorch", "pytorch", "fp32", 1, pair[0], is_reference=True),
        Contender("engine", "onnxruntime", "int8", 1, pair[1], is_default=True),
    ]


@pytest.mark.parametrize("kind", ["landmarks", "maps and labels"])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_parts_make_the_whole(kind: str, size: int) -> None:
    data: Dataset = FakeDataset() if kind == "landmarks" else Pairs()
    whole = AccuracyPass(contenders(kind), data.source)
    for sample in data:
        whole.add([sample])
    gathered = AccuracyPass(contenders(kind), data.source)
    for start in range(0, len(data), size):
        elsewhere = AccuracyPass(contenders(kind), data.source)
        for index in range(start, min(start + size, len(data))):
            elsewhere.add([data[index]])
        part = pickle.loads(pickle.dumps(elsewhere.part()))
        assert part.images == min(size, len(data) - start)
        gathered.take(part)
    assert gathered.records(0) == whole.records(0)
    cases = [each.worst_maps.ranked() for each in (gathered, whole)]
    assert [case.to_dict() for case in cases[0]] == [case.to_dict() for case in cases[1]]
    for name, points in whole.cohort().points.items():
        np.testing.assert_array_equal(gathered.cohort().points[name].image_px, points.image_px)
