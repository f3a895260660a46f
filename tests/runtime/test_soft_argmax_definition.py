"""The definition of soft-argmax, against the module of the networks and PyTorch's resize."""

from __future__ import annotations

import numpy as np
import pytest

from mahtrt.data.preprocess import Placement
from mahtrt.runtime.soft_argmax import heatmaps_from_logits, soft_argmax


def test_definition_is_the_module_of_the_network() -> None:
    torch = pytest.importorskip("torch", reason="the module is PyTorch's")
    from mahtrt.models.soft_argmax import SoftArgmax2d

    maps = np.random.default_rng(1).random((2, 3, 24, 32), np.float32)
    module = SoftArgmax2d(0.07, (24, 32), (96, 256))
    with torch.no_grad():
        wanted = [output.numpy() for output in module(torch.from_numpy(maps))]
    for a, b in zip(soft_argmax(maps, 0.07, (96, 256)), wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)


@pytest.mark.parametrize(
    ("given", "size"),
    [((8, 12), (4, 6)), ((8, 12), (8, 12)), ((7, 5), (16, 9)), ((9, 13), (3, 5)), ((1, 1), (2, 3))],
)
def test_heatmaps_are_those_of_the_head(given: tuple[int, int], size: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch", reason="the head is PyTorch's")
    logits = torch.from_numpy(np.random.default_rng(2).normal(-4, 3, (2, 3, *given)))
    wanted = logits.sigmoid()
    if given != size:
        wanted = torch.nn.functional.interpolate(
            wanted, size=size, mode="bilinear", align_corners=False
        )
    got = heatmaps_from_logits(logits.numpy(), size)
    np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-12)


def test_affine_gives_what_the_placement_of_an_image_gives() -> None:
    maps = np.random.default_rng(3).random((2, 4, 16, 16))
    placements = [Placement((0.25, 0.25), (0.0, 31.5)), Placement((0.5, 0.48), (3.0, 0.0))]
    affine = []
    for placement in placements:
        corner, other = placement.image_from_network(np.array([[0, 0], [100, 100]]))
        scale = (other - corner) / 100
        affine.append([scale[0], corner[0], scale[1], corner[1]])
    plain = soft_argmax(maps, 0.1, (64, 64))
    moved = soft_argmax(maps, 0.1, (64, 64), np.array(affine))
    np.testing.assert_array_equal(plain[1], moved[1])
    for index, placement in enumerate(placements):
        wanted = placement.image_from_network(plain[0][index])
        np.testing.assert_allclose(moved[0][index], wanted, atol=1e-4)
        wanted = placement.image_length_from_network(plain[2][index])
        np.testing.assert_allclose(moved[2][index], wanted, rtol=1e-5)


def test_values_that_are_no_heatmap() -> None:
    maps = np.zeros((1, 5, 4, 4))
    maps[0, 0, 1, 2] = np.nan
    maps[0, 1, 1, 2] = np.inf
    maps[0, 2] = -np.inf
    maps[0, 3, :, 1:] = -np.inf
    landmarks, confidence, spread = soft_argmax(maps, 1.0, (4, 4))
    np.testing.assert_array_equal(np.isnan(landmarks[0, :, 0]), [True, True, True, False, False])
    np.testing.assert_array_equal(np.isnan(spread[0]), [True, True, True, False, False])
    np.testing.assert_array_equal(confidence[0], [np.nan, np.inf, -np.inf, 0, 0])
    np.testing.assert_allclose(landmarks[0, 3], [0, 1.5])


def test_large_logits_are_one_and_none() -> None:
    maps = heatmaps_from_logits(np.array([[1e4, -1e4, np.inf, -np.inf]]), (1, 4))
    np.testing.assert_array_equal(maps, [[1, 0, 1, 0]])
