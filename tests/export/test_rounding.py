"""Parity of networks whose heatmaps are too large for float32."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from networks import HEATMAPS, SIZE, SqueezeExciteNet, images, settle, spec_for
from numpy.typing import NDArray
from rendering import text_of
from tiny_graphs import feeds

from mahtrt.export.parity import ParityError, ParityTable, compare, reference_outputs
from mahtrt.models.foreign import AdaptedModule, adapt
from mahtrt.models.soft_argmax import SoftArgmax2d
from mahtrt.verbs.export import parity_table

Outputs = dict[str, NDArray[np.float32]]
MILLIONS = 3e6


def network(magnitude: float) -> AdaptedModule:
    """A network whose raw heatmaps reach about ``magnitude``."""
    torch.manual_seed(1)
    module = SqueezeExciteNet()
    settle(module)
    spec = spec_for(HEATMAPS, method="soft_argmax")
    largest = np.abs(reference_outputs(module, spec, feeds(images(2)), 1)["heatmaps"]).max()
    with torch.no_grad():
        for parameter in module.head.parameters():
            parameter.mul_(float(magnitude / largest))
    return adapt(module.eval(), spec)


def decoded(maps: NDArray[np.float32]) -> Outputs:
    with torch.no_grad():
        points, confidence, spread = SoftArgmax2d(0.1, SIZE, SIZE)(torch.from_numpy(maps))
    arrays = {"landmarks": points, "confidence": confidence, "spread": spread}
    return {"heatmaps": maps, **{name: tensor.numpy() for name, tensor in arrays.items()}}


def with_a_tie(magnitude: float, rise: float) -> tuple[Outputs, Outputs, AdaptedModule]:
    """Outputs with two equal highest cells in one map, and the same with one of them raised.

    Args:
        rise: How much, as a share of the magnitude.
    """
    module = network(magnitude)
    maps = reference_outputs(module, module.spec, feeds(images(2)), 1)["heatmaps"]
    maps[1, 2, 4, 6] = maps[1, 2, 20, 40] = np.abs(maps[1]).max() * np.float32(1.1)
    raised = maps.copy()
    raised[1, 2, 4, 6] += np.float32(rise) * np.abs(maps).max()
    return decoded(maps), decoded(raised), module


def table_of(magnitude: float, rise: float) -> ParityTable:
    reference, got, module = with_a_tie(magnitude, rise)
    return compare(reference, got, module.spec, runtime="test")


def test_a_tie_between_two_cells_is_said_to_be_one() -> None:
    table = table_of(MILLIONS, 1e-6)
    landmarks = next(row for row in table.rows if row.kind == "landmarks")
    assert landmarks.error == pytest.approx(np.hypot(34, 16) / 2, rel=0.2)
    assert not table.passed
    assert "'ear' lies on image 2" in table.reason
    assert "34 px apart" in table.reason
    text = text_of(parity_table(table))
    assert "FAIL, by rounding" in text
    assert "raise decode.temperature" in text
    assert table.to_dict()["reason"] == table.reason
    error = ParityError("net", table)
    assert error.exit_code == 3
    assert "since rounding decides" in str(error)


def test_a_graph_that_changes_the_heatmaps_is_not_excused() -> None:
    table = table_of(MILLIONS, 1e-4)
    assert not table.passed
    assert table.reason == ""
    assert "FAIL" in text_of(parity_table(table))
    assert "rounding" not in str(ParityError("net", table))


def test_landmarks_that_rounding_cannot_reach_are_not_excused() -> None:
    reference, got, module = with_a_tie(MILLIONS, 1e-6)
    got["landmarks"][0, 0] += 3.0
    assert compare(reference, got, module.spec, runtime="test").reason == ""


def test_heatmaps_of_a_usual_size_excuse_nothing() -> None:
    reference, got, module = with_a_tie(1.0, 1e-6)
    got["landmarks"] += np.float32(0.1)
    table = compare(reference, got, module.spec, runtime="test")
    assert not table.passed
    assert table.reason == ""


def test_nan_is_not_called_rounding() -> None:
    reference, got, module = with_a_tie(MILLIONS, 1e-6)
    got["landmarks"][0, 0, 0] = np.nan
    assert compare(reference, got, module.spec, runtime="test").reason == ""


def test_a_network_that_reads_its_landmarks_itself_is_not_excused() -> None:
    reference, got, module = with_a_tie(MILLIONS, 1e-6)
    spec = replace(module.spec, decode=replace(module.spec.decode, method="regression"))
    assert compare(reference, got, spec, runtime="test").reason == ""
