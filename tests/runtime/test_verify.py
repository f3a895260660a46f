"""Golden images, replayed and judged by the limits that the build was judged by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_bundle import GOLDEN, write_tiny

from mahtrt.bundle.records import AccuracyRecord
from mahtrt.errors import GateError
from mahtrt.measure.limits import Limits
from mahtrt.runtime.opening import open_session
from mahtrt.runtime.verify import VerifyOptions, verify
from mahtrt.verbs.verify import line_of


@pytest.fixture
def golden(tmp_path: Path) -> tuple[Any, ...]:
    """The golden images with FP32's landmarks."""
    with open_session(write_tiny(tmp_path / "first"), engine="onnxruntime-fp32") as session:
        return tuple(replace(each, points_px=session.run(each.image).points) for each in GOLDEN)


def test_engines_within_their_limits_are_told_with_their_numbers(
    tmp_path: Path, golden: tuple[Any, ...]
) -> None:
    bundle = write_tiny(tmp_path / "b", golden=golden, budgets=Limits().to_dict())
    result = verify(VerifyOptions(bundle))
    assert result.files == 6
    lines = [line_of(replay) for replay in result.replays]
    for precision, moved in (("int8", "0.1000"), ("fp32", "0.0000")):
        told = f"golden landmarks moved by {moved} px on average (worst landmark {moved})"
        assert f"onnxruntime-{precision}: {told}; ran on cpu" in lines


@pytest.mark.parametrize(
    ("recorded_px", "passed", "is_right"),
    [
        (0.3, True, True),
        (0.25, True, True),  # a quarter less
        (0.23, True, False),
        (0.3, False, False),  # kept although it failed: what it gave excuses nothing
    ],
)
def test_what_an_engine_gave_for_the_golden_images_it_may_give_again(
    tmp_path: Path, golden: tuple[Any, ...], recorded_px: float, passed: bool, is_right: bool
) -> None:
    """A mean over many images is within 0.25 px where those of the few golden ones are not."""
    recorded = AccuracyRecord(2, 0, recorded_px, recorded_px, recorded_px, recorded_px, ())
    bundle = write_tiny(tmp_path / "b", off_px=0.3, golden=golden, recorded=recorded, passed=passed)
    if is_right:
        assert {replay.engine for replay in verify(VerifyOptions(bundle)).replays}
    else:
        with pytest.raises(GateError, match=r"mean displacement 0\.3 px is over its budget"):
            verify(VerifyOptions(bundle))


@pytest.mark.parametrize("budget_px", [0.0, 0.05])
def test_a_budget_is_the_builds_even_where_it_is_nothing(
    tmp_path: Path, golden: tuple[Any, ...], budget_px: float
) -> None:
    budgets = Limits(budget_px=budget_px).to_dict()
    bundle = write_tiny(tmp_path / "b", golden=golden, budgets=budgets)
    with pytest.raises(
        GateError, match=rf"0\.1 px is over its budget of {budget_px:g} px"
    ) as caught:
        verify(VerifyOptions(bundle))
    assert caught.value.exit_code == 3
