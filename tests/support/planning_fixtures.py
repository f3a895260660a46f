"""The landmark network in miniature, ready to plan."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from sample_list import SampleList
from tiny_graphs import feeds, landmark_net, smooth_images, tiny_spec

from mahtrt.bundle.origin import SourceRecord
from mahtrt.bundle.records import AccuracyRecord, LandmarkRecord
from mahtrt.calibration.ranges import collect_ranges
from mahtrt.data.sample import Sample
from mahtrt.digest import sha256_of_file
from mahtrt.graph.graph_file import GraphFile
from mahtrt.planning.blocks import Candidate, find_candidates
from mahtrt.planning.matrix import BlockRow, Cell, Sensitivity
from mahtrt.planning.recipe import NetworkToPlan, Recipe, tensors_of_candidates


class Photographs(SampleList):
    """Smooth images as a data set, without annotations."""

    def __init__(self, count: int) -> None:
        bytes_of = ((255 * (i - i.min()) / np.ptp(i)) for i in smooth_images(count, seed=9))
        images = (each.astype(np.uint8).transpose(1, 2, 0) for each in bytes_of)
        super().__init__([Sample(f"{n}", image) for n, image in enumerate(images)], "waves")


def matrix(cells: tuple[Cell, ...] = (Cell(0.1, 0.05, 0.06, 0.2, 0.2),)) -> Sensitivity:
    rows = (
        BlockRow("a", ("n1",), 0.25, "", False, cells),
        BlockRow("b", ("n2", "n3"), 0.5, "head", False, (Cell(0.3, 0.3, 0.0, 0.3, 0.3, 1, 4.0),)),
    )
    return Sensitivity(("sella",), rows, 4, "i" * 64, "o" * 64, "r" * 64, "minmax", 7)


def moved_by(mean_px: float, worst_landmark_px: float) -> AccuracyRecord:
    """What a plan does that moves landmarks so far."""
    return AccuracyRecord(
        images=1,
        non_finite_points=0,
        mean_px=mean_px,
        p99_px=3 * mean_px,
        max_px=4 * mean_px,
        worst_landmark_mean_px=worst_landmark_px,
        per_landmark=(LandmarkRecord("a", worst_landmark_px, 4 * mean_px),),
        single_peak_p99_px=3 * mean_px,
        single_peak_max_px=4 * mean_px,
    )


@pytest.fixture(scope="session")
def graph(tmp_path_factory: pytest.TempPathFactory) -> GraphFile:
    """Its export. Not to be changed."""
    path = tmp_path_factory.mktemp("planning") / "model.onnx"
    model = landmark_net()
    onnx.save(model, path)
    spec = tiny_spec(exclude=["encoder"])
    return GraphFile(path, model, spec, SourceRecord(), None, sha256_of_file(path), 1)


@pytest.fixture(scope="session")
def candidates(graph: GraphFile) -> tuple[Candidate, ...]:
    return find_candidates(graph.proto, graph.spec)


@pytest.fixture(scope="session")
def recipe(graph: GraphFile, candidates: tuple[Candidate, ...]) -> Recipe:
    tensors = tensors_of_candidates(graph.proto, candidates)
    return Recipe(
        collect_ranges(graph.path, tensors, feeds(smooth_images(4)), threads=1), "minmax", 7
    )


@pytest.fixture(scope="session")
def network(graph: GraphFile, candidates: tuple[Candidate, ...], recipe: Recipe) -> NetworkToPlan:
    """What a plan is made of, as planning takes it."""
    return NetworkToPlan(graph, candidates, recipe)
