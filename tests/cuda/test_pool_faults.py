"""Every call of the driver fails once: one clear error, nothing leaked, and the rest goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import pytest
from copying_engine import SHAPE, CopyingPool

from mahtrt.cuda.views import DeviceView
from mahtrt.errors import MahtrtError

UNKNOWN, OUT_OF_MEMORY, ILLEGAL_ADDRESS = 999, 2, 700


class Story:
    """Inferences of all kinds in a new pool; an error ends one of them, and the next goes on.

    Attributes:
        errors: What they raised.
        wrong: Where a wrong value came out.
    """

    def __init__(self) -> None:
        self.errors: list[MahtrtError] = []
        self.wrong: list[str] = []
        self.copies = CopyingPool()
        self.stream = self.copies.driver.foreign_stream()

    def tell(self) -> None:
        copies = self.copies
        for value in range(4):  # plainly, recorded, replayed
            with self._error_kept():
                self._check(copies.infer(value), value)
        with self._error_kept():
            first = copies.pool.start({"image": np.full(SHAPE, 5, np.float32)}, ["spread"])
            with self._error_kept():
                self._check(copies.infer(6), 6)  # in a second slot
            self._check(float(first.result()["spread"][0, 0]), 5)
        source, target = copies.memory(7), copies.memory(0)
        for _ in range(3):
            with self._error_kept():
                self._on_device(source, target)
        with self._error_kept(), copies.pool.slot(no_graphs="for itself") as slot:
            slot.start({"image": np.full(SHAPE, 8, np.float32)}, ["spread"])
            self._check(float(slot.finish()["spread"][0, 0]), 8)

    def _on_device(self, source: int, target: int) -> None:
        float32 = np.dtype(np.float32)
        image = DeviceView(source, SHAPE, float32, stream=self.stream, owner=self)
        outputs = {"landmarks": (target + 4, SHAPE, np.float32)}
        with self.copies.pool.infer_device({"image": image}, outputs, self.stream) as result:
            result.synchronize()
            self._check(self.copies.value_at(result.outputs["spread"].address), 7)

    def end(self) -> None:
        """Close the pool, again where that failed, and look at what is left."""
        for _ in range(2):
            with self._error_kept():
                self.copies.pool.close()
        self.copies.drop_memory()
        self.copies.check()

    @contextlib.contextmanager
    def _error_kept(self) -> Iterator[None]:
        try:
            yield
        except MahtrtError as error:
            self.errors.append(error)

    def _check(self, found: float, expected: float) -> None:
        if found != expected:
            self.wrong.append(f"{found} for {expected}")


def calls_of_a_story() -> tuple[int, int]:
    """How many calls there are before the story, which opens a device, and with it."""
    story = Story()
    before = story.copies.driver.count
    story.tell()
    story.end()
    assert not story.errors
    assert not story.wrong
    return before, story.copies.driver.count


BEFORE, ALL = calls_of_a_story()


def told_with(number: int, code: int) -> Story:
    story = Story()
    story.copies.driver.fail("*", code, at=number - BEFORE)
    story.tell()
    return story


@pytest.mark.parametrize("code", [UNKNOWN, OUT_OF_MEMORY])
def test_an_error_of_any_call_is_told_once_and_the_rest_goes_on(code: int) -> None:
    for number in range(BEFORE + 1, ALL + 1):
        story = told_with(number, code)
        with story._error_kept():
            story._check(story.copies.infer(9), 9)
        story.end()
        where = f"call {number}: {[str(error) for error in story.errors]}"
        assert not story.wrong, where
        told = len(story.errors)
        # No error is told where an inference is done without its graph, or a first error counts.
        assert not any("\n" in str(error) for error in story.errors), where
        assert told == 1 or (told == 0 and story.copies.pool.problem), where
        assert f"{code}" in str((*story.errors, story.copies.pool.problem)), where


def test_an_error_that_loses_the_gpu_is_told_with_all_that_follows() -> None:
    for number in range(BEFORE + 1, ALL + 1):
        story = told_with(number, ILLEGAL_ADDRESS)
        told = len(story.errors)
        with story._error_kept():
            story.copies.infer(9)
        assert not story.wrong, number
        if told:
            assert str(ILLEGAL_ADDRESS) in str(story.errors[0]), number
            assert all("lost" in str(each) or "700" in str(each) for each in story.errors), number
            assert "Start the program again" in str(story.errors[-1]), number
        story.end()


def test_opening_fails_at_every_call() -> None:
    for number in range(1, BEFORE + 1):
        from fake_driver import FakeDriver

        from mahtrt.cuda.bindings import open_device

        driver = FakeDriver()
        driver.fail("*", UNKNOWN, at=number)
        with pytest.raises(MahtrtError, match="999"):
            open_device(needed_for="a test", driver=driver)
        driver.check()
