"""Positions on strips."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mahtrt.reporting.strips import axis_over, quantile

VALUES = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20)


@given(VALUES, st.booleans())
def test_an_axis_holds_its_values_in_order(values: list[float], zero: bool) -> None:
    axis = axis_over(values, zero=zero)
    assert axis is not None
    assert axis.low < axis.high
    places = [axis.at(value) for value in sorted(values)]
    assert places == sorted(places)
    assert places[0] >= 0
    assert places[-1] <= 100
    if zero:
        assert axis.low <= 0 <= axis.high


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_round_and_few(low: float, width: float) -> None:
    axis = axis_over([low, low + width])
    assert axis is not None
    assert len(axis.ticks) <= 8
    assert [tick.at for tick in axis.ticks] == sorted(tick.at for tick in axis.ticks)


def test_ticks_stand_where_their_numbers_are() -> None:
    axis = axis_over([0.0, 40.0], zero=True)
    assert axis is not None
    assert [tick.text for tick in axis.ticks] == ["0", "10", "20", "30", "40"]
    assert [tick.at for tick in axis.ticks] == pytest.approx(
        [100 * x / 41.6 for x in (0, 10, 20, 30, 40)], abs=1e-3
    )


def test_no_value_has_no_axis() -> None:
    assert axis_over([None, float("inf"), float("nan")]) is None


def test_a_quantile_is_one_of_the_values() -> None:
    assert [quantile([1.0, 2.0, 3.0, 4.0], share) for share in (0.0, 0.25, 0.5, 0.99)] == [
        1,
        1,
        2,
        4,
    ]
