"""The few numbers that a monitor keeps of an image."""

from __future__ import annotations

import numpy as np
import pytest

from mahtrt.monitoring.facts import facts_of


def test_intensities_are_shares_of_the_types_range() -> None:
    ramp = np.tile(np.linspace(0, 65535, 500).astype(np.uint16), (300, 1))
    facts = facts_of(ramp, (0.1, 0.2))
    assert (facts.size, facts.bits, facts.channels) == ((300, 500), 16, 1)
    assert [facts.p5, facts.p50, facts.p95] == pytest.approx([0.05, 0.5, 0.95], abs=0.01)
    assert facts.contrast == pytest.approx(0.9, abs=0.02)
    assert facts.spacing_mm == (0.1, 0.2)


@pytest.mark.parametrize("shape", [(2, 2), (1, 2), (700, 3), (64, 64, 1), (48, 64, 3)])
def test_an_image_of_any_shape_has_facts(shape: tuple[int, ...]) -> None:
    facts = facts_of(np.zeros(shape, np.uint8))
    assert facts.size == shape[:2]
    assert facts.saturated == 1
    assert facts.detail == 0


def test_noise_has_more_detail_than_what_is_smooth() -> None:
    smooth = np.tile(np.linspace(20, 230, 400).astype(np.uint8), (400, 1))
    noise = np.random.default_rng(0).integers(0, 20, smooth.shape, np.uint8)
    assert facts_of(smooth + noise).detail > 5 * facts_of(smooth).detail


def test_an_image_of_one_column_has_facts_too() -> None:
    assert facts_of(np.full((50, 1), 7, np.uint8)).detail == 0
