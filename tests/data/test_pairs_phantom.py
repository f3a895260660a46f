"""Pairs of visits: what is drawn, what counts as a change, and what is labelled."""

from __future__ import annotations

import numpy as np
import pytest

from mahtrt.data.datasets import open_dataset
from mahtrt.data.pairs_chest import CHEST_LABELS, ZONE_LABELS, add_finding, draw_chest, draw_finding
from mahtrt.data.pairs_phantom import make_chest, make_pair
from mahtrt.errors import DataError


def test_a_pair_is_two_visits_with_a_map_and_labels() -> None:
    pair = make_pair(3)
    assert len(pair.images) == 2
    assert all(image.dtype == np.uint8 and image.shape == pair.image.shape for image in pair.images)
    assert pair.points_px is None
    assert pair.target_map is not None
    assert pair.target_map.shape == (1, *pair.image.shape)
    assert pair.target_map.dtype == np.float32
    assert pair.target_map.min() == 0
    assert 0 < pair.target_map.max() <= 1
    assert pair.labels is not None
    assert pair.labels.shape == (len(CHEST_LABELS),) == (14,)
    assert set(np.unique(pair.labels)) <= {0, 1}
    assert pair.image.std() > 40  # contrast that a network can use


def test_seed_decides_and_seeds_differ() -> None:
    first, again, other = make_pair(4), make_pair(4), make_pair(5)
    for one, two in zip(first.images, again.images, strict=True):
        assert np.array_equal(one, two)
    assert np.array_equal(first.target_map, again.target_map)  # type: ignore[arg-type]
    assert first.image.shape != other.image.shape or not np.array_equal(first.image, other.image)
    assert not np.array_equal(first.image, first.others[0])


def test_the_map_is_where_the_visits_differ_and_not_where_they_do_not() -> None:
    ratios = []
    for seed in range(12):
        pair = make_pair(seed, size=(192, 192))
        assert pair.target_map is not None
        baseline, followup = (image.astype(np.float32) for image in pair.images)
        # Exposure differs between visits: compare what is left of the image's own mean.
        difference = np.abs((followup - followup.mean()) - (baseline - baseline.mean()))
        changed = pair.target_map[0] > 0.5
        if changed.sum() > 100:
            ratios.append(difference[changed].mean() / difference[~changed].mean())
    assert len(ratios) > 6
    assert np.mean(ratios) > 2.5


def test_some_pairs_do_not_change_and_most_do() -> None:
    maps = [make_pair(seed, size=(64, 64)).target_map for seed in range(60)]
    changed = [float(change.max()) for change in maps if change is not None]
    assert 2 <= changed.count(0.0) < 30


def test_every_label_occurs_and_none_always() -> None:
    labels = [make_pair(seed, size=(64, 64)).labels for seed in range(150)]
    share = np.mean([given for given in labels if given is not None], axis=0)
    assert (share > 0.04).all()
    assert (share < 0.5).all()


def test_a_chest_is_the_first_visit_and_its_own_map() -> None:
    chest, pair = make_chest(7), make_pair(7)
    assert chest.others == ()
    assert np.array_equal(chest.image, pair.image)
    assert np.array_equal(chest.labels, pair.labels)  # type: ignore[arg-type]
    assert chest.target_map is not None
    assert np.array_equal(np.rint(chest.target_map[0] * 255), chest.image)


@pytest.mark.parametrize("label", range(len(ZONE_LABELS)))
def test_a_finding_lies_in_the_lung_that_its_label_names(label: int) -> None:
    rng = np.random.default_rng(label)
    for _ in range(20):
        finding = draw_finding(rng, label)
        x, y = finding.center
        assert (x < 0.5) == ZONE_LABELS[label].startswith("right")  # as the viewer sees it
        assert 0.18 < min(x, 1 - x) < 0.42
        level = ZONE_LABELS[label].split("_")[1]
        assert abs(y - {"upper": 0.28, "middle": 0.46, "lower": 0.62}[level]) < 0.07


def test_a_finding_adds_its_strength_in_its_middle_and_nothing_far_away() -> None:
    plane = np.zeros((200, 200), np.float32)
    finding = draw_finding(np.random.default_rng(0), ZONE_LABELS.index("right_upper_nodule"))
    add_finding(plane, finding, 0.0, 1.0)
    assert not plane.any()
    add_finding(plane, finding, 1.0, 0.5)
    row, column = round(finding.center[1] * 200 - 0.5), round(finding.center[0] * 200 - 0.5)
    assert plane[row, column] == pytest.approx(0.5)
    assert plane[:, 110:].max() == 0
    add_finding(plane, finding, 1.0, -0.5)
    assert np.abs(plane).max() < 1e-6


def test_an_enlarged_heart_takes_more_of_the_chest() -> None:
    usual = draw_chest(np.random.default_rng(1), (128, 128), 0.1)
    enlarged = draw_chest(np.random.default_rng(1), (128, 128), 0.17)
    assert (enlarged - usual)[60:100].sum() > 50


def test_phantoms_are_data() -> None:
    pairs = open_dataset("phantom-pairs:5@9")
    assert pairs.source == "phantom-pairs:5@9"
    assert len(pairs) == 5
    assert pairs[1].name == pairs.names[1] == "phantom-pairs-9-1"
    assert len(pairs[0].images) == 2
    assert len(open_dataset("phantom-chest:2")[0].images) == 1
    with pytest.raises(DataError, match="points"):
        open_dataset("phantom-pairs", points=[0])


@pytest.mark.parametrize(("seed", "size"), [(-1, None), (0, (63, 100))])
def test_what_cannot_be_drawn_is_refused(seed: int, size: tuple[int, int] | None) -> None:
    with pytest.raises(DataError, match="phantom"):
        make_pair(seed, size=size)
