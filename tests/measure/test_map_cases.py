"""The worst maps of an engine."""

from __future__ import annotations

import numpy as np
import pytest

from mahtrt.measure.map_cases import KEPT, WorstMaps


def test_the_worst_maps_are_kept_in_order() -> None:
    found = WorstMaps(("heat",))
    reference = np.zeros((4, 1, 3, 5), np.float32)
    steps = np.random.default_rng(0).permutation(24).astype(np.float32) / 100
    for first in range(0, 24, 4):
        shift = steps[first : first + 4, None, None, None]
        names = [f"{value:.2f}" for value in steps[first : first + 4]]
        found.add({"heat": reference + shift}, {"heat": reference}, names)
    ranked = found.ranked()
    assert [case.image for case in ranked] == [f"0.{23 - k}" for k in range(KEPT)]
    assert ranked[0].mean == pytest.approx(0.23)
    told = ranked[0].to_dict()
    assert (told["image"], told["output"]) == ("0.23", "heat")
    assert told["max"] == pytest.approx(0.23)
    assert ranked[0].engine_map.shape == (1, 3, 5)


def test_a_value_that_is_not_finite_is_the_worst_and_no_number() -> None:
    found = WorstMaps(("heat",))
    engine = np.zeros((2, 1, 2, 2), np.float32)
    engine[0] = 0.5
    engine[1, 0, 0, 0] = np.nan
    found.add({"heat": engine}, {"heat": np.zeros((2, 1, 2, 2), np.float32)}, ["a", "b"])
    first, second = found.ranked()
    assert first.to_dict() == {"image": "b", "output": "heat", "mean": None, "max": None}
    assert second.image == "a"
