"""Session.stream: results in order, several cases at a time, memory bounded."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_network as tiny

from mahtrt.data.feed import Image
from mahtrt.errors import ImageError, MahtrtError, UsageError
from mahtrt.runtime import open_session
from mahtrt.runtime.stream import chunks, in_order


@pytest.mark.parametrize("depth", [1, 2, 5, 50])
def test_results_come_in_order_and_items_only_as_fast(depth: int) -> None:
    taken = working = most = 0
    lock = threading.Lock()

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(1, 21):
            taken = number
            yield number

    def work(item: int) -> list[int]:
        nonlocal working, most
        with lock:
            working += 1
            most = max(most, working)
        time.sleep(0.002 * (item % 3))  # later items end first
        with lock:
            working -= 1
        return [item, -item]

    results = in_order(work, items(), depth)
    assert taken == 0
    for count in range(1, 21):
        assert (next(results), next(results)) == (count, -count)
        assert taken <= count + depth - 1
    assert next(results, None) is None
    assert most <= depth
    assert depth == 1 or most > 1


def test_an_error_comes_at_its_turn_and_nothing_is_left_running() -> None:
    before = threading.active_count()

    def work(item: int) -> list[int]:
        if item == 3:
            raise ValueError("three")
        return [item]

    results = in_order(work, range(10), 4)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert threading.active_count() == before


def test_a_caller_may_stop_early() -> None:
    before = threading.active_count()
    results = in_order(lambda item: [item], range(1000), 3)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_chunks_take_no_more_than_they_give() -> None:
    items = iter(range(7))
    groups = chunks(items, 3)
    assert next(groups) == (0, 1, 2)
    assert next(items) == 3
    assert list(groups) == [(4, 5, 6)]


def images(count: int) -> list[Image]:
    return [tiny.make_image(seed, zoom=1 + seed % 3)[0] for seed in range(count)]


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_stream_is_the_runs_of_its_cases(engine: str, depth: int, tiny_bundle: Path) -> None:
    cases = images(7)
    with open_session(tiny_bundle, engine=engine, threads=1) as session:
        found = list(session.stream(iter(cases), depth=depth))
        wanted = [session.run(case) for case in cases]
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours.points, theirs.points)
        np.testing.assert_array_equal(ours.spread, theirs.spread)


def test_the_last_batch_may_be_smaller(tiny_batch_bundle: Path) -> None:
    cases = images(6)
    with open_session(tiny_batch_bundle, engine="onnxruntime", threads=1) as session:
        assert session.batch == 4
        found = list(session.stream(cases, outputs=True))
        wanted = session.run_batch(cases)
    assert len(found) == 6
    assert all(each.outputs is not None for each in found)
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours.points, theirs.points)


def test_a_bad_image_is_named_at_its_turn(tiny_bundle: Path) -> None:
    cases = [*images(2), np.zeros((8, 8), np.float64)]
    with open_session(tiny_bundle, engine="onnxruntime", threads=1) as session:
        results = session.stream(cases)
        assert [len(next(results).points) for _ in range(2)] == [3, 3]
        with pytest.raises(ImageError, match=r"image 2: got dtype float64"):
            next(results)
        assert len(session.run(cases[0]).points) == 3
        with pytest.raises(UsageError, match="depth: got 0"):
            session.stream(cases, depth=0)
    with pytest.raises(MahtrtError, match="after close"):
        session.stream(cases)
