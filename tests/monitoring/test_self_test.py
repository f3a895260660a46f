"""Golden images at the start and every some hours."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_bundle import write_tiny

from mahtrt.bundle.bundle import read_bundle
from mahtrt.errors import GateError, UsageError
from mahtrt.monitoring.self_test import SelfTest
from mahtrt.runtime.opening import open_engine


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_it_is_due_every_some_hours(tiny_bundle: Path) -> None:
    bundle, clock = read_bundle(tiny_bundle), Clock()
    with open_engine(bundle, engine="onnxruntime", threads=1) as session:
        test, never = (SelfTest(session, bundle, hours, clock) for hours in (2, 0))
        outcome = test.run()
        assert (outcome.passed, outcome.images, outcome.reason) == (True, 2, "")
        assert test.last is outcome
        clock.now_s += 2 * 3600 - 1
        assert not test.due()
        clock.now_s += 1
        assert test.due()
        assert not never.due()
        assert test.run_quietly().passed
        assert not test.due()


def test_an_engine_that_gives_something_else_is_found(tmp_path: Path) -> None:
    bundle = read_bundle(write_tiny(tmp_path / "a.mahtrt", off_px=9.0))
    with open_engine(bundle, threads=1) as session:
        test = SelfTest(session, bundle)
        with pytest.raises(GateError, match="on golden images"):
            test.run()
        outcome = test.run_quietly()
    assert not outcome.passed
    assert "on golden images" in outcome.reason
    assert test.last is outcome


def test_a_bundle_without_golden_images_passes(tmp_path: Path) -> None:
    bundle = read_bundle(write_tiny(tmp_path / "a.mahtrt", golden=()))
    with open_engine(bundle, threads=1) as session:
        test = SelfTest(session, bundle, 1e-9)
        assert test.run().images == 0
        assert not test.due()
        with pytest.raises(UsageError, match="--replay-hours: got -1"):
            SelfTest(session, bundle, -1)
