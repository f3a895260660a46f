"""The landmark network in miniature, ready to plan."""

from __future__ import annotations

import json

import onnx
import pytest
from tiny_graphs import landmark_net, smooth_images, tiny_spec

from mahtrt.calibration.ranges import collect_ranges
from mahtrt.digest import sha256_of_file
from mahtrt.graph.graph_file import GraphFile
from mahtrt.planning.blocks import Candidate, find_candidates
from mahtrt.planning.recipe import NetworkToPlan, Recipe, tensors_of_candidates


@pytest.fixture(scope="session")
def graph(tmp_path_factory: pytest.TempPathFactory) -> GraphFile:
    """Its export. Not to be changed."""
    path = tmp_path_factory.mktemp("planning") / "model.onnx"
    model = landmark_net()
    onnx.save(model, path)
    spec = tiny_spec(exclude=["encoder"])
    return GraphFile(path, model, spec, {}, json.loads("{}"), sha256_of_file(path), 1)


@pytest.fixture(scope="session")
def candidates(graph: GraphFile) -> tuple[Candidate, ...]:
    return find_candidates(graph.proto, graph.spec)


@pytest.fixture(scope="session")
def recipe(graph: GraphFile, candidates: tuple[Candidate, ...]) -> Recipe:
    tensors = tensors_of_candidates(graph.proto, candidates)
    return Recipe(collect_ranges(graph.path, tensors, smooth_images(4), threads=1), "minmax", 7)


@pytest.fixture(scope="session")
def network(graph: GraphFile, candidates: tuple[Candidate, ...], recipe: Recipe) -> NetworkToPlan:
    """What a plan is made of, as planning takes it."""
    return NetworkToPlan(graph, candidates, recipe)
