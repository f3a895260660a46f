"""Calibration inside a build: methods, scaled channels, biases, and what may not happen."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from build_options import make_options
from foreign_network import ForeignNetwork

from mahtrt.build import planned as planned_module
from mahtrt.build.build import build
from mahtrt.build.calibrated import Calibrated, OutputError, calibrate
from mahtrt.build.judge import AccuracyError
from mahtrt.build.options import CalibrationOptions
from mahtrt.bundle.bundle import read_bundle
from mahtrt.bundle.golden import read_golden
from mahtrt.calibration.bias_correction import METADATA_KEY as BIAS_KEY
from mahtrt.calibration.methods import METHODS
from mahtrt.calibration.plan import default_plan
from mahtrt.data.feed import stack
from mahtrt.data.phantom import PhantomDataset
from mahtrt.data.subset import NetworkTensors
from mahtrt.errors import DataError, UsageError
from mahtrt.graph.graph_file import GraphFile, read_graph

pytestmark = pytest.mark.slow

CALIB = PhantomDataset(4, 1)


@pytest.fixture(scope="module")
def graph(foreign_network: ForeignNetwork) -> GraphFile:
    return read_graph(foreign_network.onnx)


def look(graph: GraphFile, told: list[str] | None = None, **how: Any) -> Calibrated:
    plan = default_plan(graph.proto, graph.spec)
    asked = CalibrationOptions(threads=1, **how)
    said = [] if told is None else told
    images = NetworkTensors(CALIB, graph.spec)
    return calibrate(graph, images, plan, asked, lambda stage, *_: said.append(stage))


def run(graph: GraphFile, model: onnx.ModelProto) -> float:
    """Displacement of a model's landmarks from the export's, on other images."""
    feed = stack(list(NetworkTensors(PhantomDataset(3, 9), graph.spec)))
    return OutputError(graph, feed, 1)(model)


def test_the_error_of_the_export_itself_is_nothing(graph: GraphFile) -> None:
    assert run(graph, graph.proto) == 0.0
    found = look(graph)
    assert 0 < run(graph, found.quantized(graph.proto, 8)) < 2


def test_auto_chooses_a_method_for_each_class(graph: GraphFile) -> None:
    told: list[str] = []
    found = look(graph, told, method="auto")
    assert "choosing methods" in told
    assert found.choice is not None
    assert isinstance(found.method, dict)
    assert set(found.method.values()) <= set(METHODS)
    assert found.choice.error_px <= found.choice.uniform_px
    table = found.to_dict()
    assert table["method"] == "auto"
    assert table["method_choice"]["methods"] == dict(found.choice.methods)
    assert table["method_choice"]["error_px"] == found.choice.error_px
    json.dumps(table)


def test_bias_correction_is_in_the_graph_and_in_the_manifest(
    foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    with_it = build(make_options(foreign_network, tmp_path / "a.mahtrt"))
    without = build(make_options(foreign_network, tmp_path / "b.mahtrt", bias_correction=False))
    for result, images in ((with_it, 5), (without, 0)):
        keys = {e.key for e in onnx.load(result.path / "model.int8.onnx").metadata_props}
        assert (BIAS_KEY in keys) is bool(images)
        assert result.manifest.calibration.bias_correction_images == images


def test_the_card_travels_in_the_manifest(foreign_network: ForeignNetwork, tmp_path: Path) -> None:
    result = build(make_options(foreign_network, tmp_path / "a.mahtrt", calib="phantom:4@1"))
    card = result.manifest.calibration.card
    assert card.images == 3
    assert card.methods == {"minmax": len(result_ranges(result.path))}
    assert card.warnings
    assert any(card.warnings[0] in note for note in result.notes)


def result_ranges(bundle: Path) -> dict[str, Any]:
    tensors: dict[str, Any] = json.loads((bundle / "ranges.json").read_text())["tensors"]
    return tensors


def test_images_that_calibrate_do_not_judge(
    foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    asked = make_options(foreign_network, tmp_path / "a.mahtrt", eval="phantom:3@1")
    with pytest.raises(DataError, match="3 in both"):
        build(asked)
    assert not list(tmp_path.iterdir())


def test_a_plan_may_need_more_than_was_looked_at(graph: GraphFile) -> None:
    plan = default_plan(graph.proto, graph.spec)
    seen = look(graph).ranges
    fewer = dataclasses.replace(seen, tensors=dict(list(seen.tensors.items())[1:]))
    asked = CalibrationOptions(threads=1)
    images = NetworkTensors(CALIB, graph.spec)
    found = calibrate(graph, images, plan, asked, lambda *_: None, ranges=fewer)
    assert set(found.ranges.tensors) == set(seen.tensors)


def test_the_images_that_judge_are_spread_over_the_data(
    foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    asked = make_options(
        foreign_network,
        tmp_path / "a.mahtrt",
        precisions=("fp32",),
        calib=None,
        eval="phantom:9@3",
        check_images=3,
    )
    result = build(asked)
    names = PhantomDataset(9, 3).names
    golden = read_golden(read_bundle(result.path))
    assert [vector.name for vector in golden] == [names[i] for i in (0, 4, 8)]


def test_a_plan_without_int8_to_build_is_a_usage_error(
    foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    asked = make_options(foreign_network, tmp_path / "a", precisions=("fp32",), plan="auto")
    with pytest.raises(UsageError, match="no precision that a plan is about"):
        build(asked)


class Unnormalised(NetworkTensors):
    """What forgetting to normalise gives: grey levels up to 255."""

    def __iter__(self) -> Iterator[Any]:
        for feed in super().__iter__():
            yield {name: tensor * np.float32(255) for name, tensor in feed.items()}


def test_a_broken_calibration_is_caught(
    foreign_network: ForeignNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planned_module, "NetworkTensors", Unnormalised)
    with pytest.raises(AccuracyError) as caught:
        build(make_options(foreign_network, tmp_path / "a.mahtrt"))
    assert caught.value.exit_code == 3
    assert "onnxruntime-int8" in str(caught.value)
    assert not list(tmp_path.iterdir())
