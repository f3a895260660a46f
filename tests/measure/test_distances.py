"""One distance per case and target, whatever the output is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import tiny_maps

from mahtrt.measure.distances import (
    PX_OF,
    Target,
    common,
    mean_distance,
    other_distances,
    other_targets,
    unit_in_words,
)
from mahtrt.measure.limits import USUAL_PX, Limits
from mahtrt.spec import OutputSpec

SPEC = tiny_maps.spec_of("image")
BOTH = replace(SPEC, outputs=(*SPEC.outputs, OutputSpec("seen", "visibility")), landmarks=("nose",))
RNG = np.random.default_rng(0)
NOTHING = np.empty((2, 0, 2))


def outputs(channels: int = 1) -> dict[str, np.ndarray]:
    return {
        "change": RNG.random((2, channels, 4, 6)),
        "findings": RNG.normal(0, 1, (2, 2)),
        "seen": RNG.random((2, 1)),
    }


def test_each_kind_has_its_distance() -> None:
    theirs = outputs(channels=2)
    ours = {name: values.copy() for name, values in theirs.items()}
    ours["change"][0, 1] += np.where(np.arange(6) % 2, 0.02, -0.02)
    ours["findings"][1, 0] -= 0.5
    ours["seen"][0, 0] += 0.1
    found = other_distances(ours, theirs, BOTH)
    assert other_targets(BOTH, theirs) == (
        Target("change 0", "map"),
        Target("change 1", "map"),
        Target("mass", "logit"),
        Target("edema", "logit"),
        Target("nose visible", "visibility"),
    )
    np.testing.assert_allclose(found[..., 0], [[0, 0.02, 0, 0, 0.1], [0, 0, 0.5, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(found[..., 1], [[0, 0, 0, 0, 0.1], [0, 0, -0.5, 0, 0]], atol=1e-12)


def test_what_is_not_finite_is_infinitely_far() -> None:
    theirs = outputs()
    ours = {name: values.copy() for name, values in theirs.items()}
    ours["change"][1, 0, 2, 2] = math.nan
    found = other_distances(ours, theirs, SPEC)
    assert found[1, 0, 0] == math.inf
    assert np.isfinite(found[0]).all()
    assert mean_distance((NOTHING, NOTHING), (ours, theirs), SPEC) == math.inf


def test_one_unit_stays_and_several_become_pixels_within_the_usual_limits() -> None:
    assert PX_OF["map"] * Limits().map_mean == pytest.approx(USUAL_PX)
    np.testing.assert_array_equal(common(np.array([0.1, 0.3]), ("map", "map")), [0.1, 0.3])
    np.testing.assert_allclose(common(np.array([0.1, 0.01]), ("px", "map")), [0.1, 0.25])
    assert unit_in_words(()) == unit_in_words(("px", "px")) == "px"
    assert unit_in_words(("map",)) == "of the map"
    assert unit_in_words(("px", "map")) == "px or as far"


def test_the_mean_over_landmarks_alone_is_in_pixels() -> None:
    points = RNG.random((2, 3, 2))
    spec = replace(SPEC, outputs=(OutputSpec("landmarks", "landmarks", "network"),))
    assert mean_distance((points + np.array([3.0, 4.0]), points), ({}, {}), spec) == pytest.approx(
        5.0
    )
    theirs = outputs()
    ours = {**theirs, "change": theirs["change"] + 0.01, "findings": theirs["findings"] + 1.0}
    both = mean_distance((points + np.array([3.0, 4.0]), points), (ours, theirs), SPEC)
    assert both == pytest.approx((3 * 5 + 0.25 + 2 * 1.0) / 6)
