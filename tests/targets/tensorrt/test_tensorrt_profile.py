"""Layer times of an engine, with a fake TensorRT on a fake CUDA driver."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tensorrt_stage import Stage
from tiny_network import SPEC, make_image

from mahtrt.data.preprocess import preprocess
from mahtrt.errors import MahtrtError

VERSIONS = ("10.16.1", "11.4.0")


@pytest.fixture(params=VERSIONS)
def stage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(request.param, tmp_path, monkeypatch)


def tensor() -> np.ndarray:
    return preprocess(make_image(0)[0], SPEC.input)[0][None]


def test_each_run_has_its_own_times(stage: Stage) -> None:
    told = []

    def layer_ms(layer: dict[str, object]) -> float:
        told.append(layer["name"])
        return float(len(told))

    stage.trt.state.layer_ms = layer_ms
    backend = stage.open()
    runs = backend.layer_times(tensor(), 3)
    layers = len(runs[0])
    assert [sum(run.values()) for run in runs] == [
        sum(range(first + 1, first + layers + 1)) for first in range(0, 3 * layers, layers)
    ]
    backend.close()


def test_layers_of_the_same_name_are_added(stage: Stage) -> None:
    backend = stage.open()
    for layer in backend._engine._record["layers"]:
        layer["name"] = "one"
    count = len(backend._engine._record["layers"])
    assert backend.layer_times(tensor(), 1) == [{"one": 0.125 * count}]
    backend.close()


def test_plain_inferences_know_nothing_of_it(stage: Stage) -> None:
    backend = stage.open()
    expected = backend.infer(tensor())["landmarks"]
    backend.layer_times(tensor(), 2)
    assert backend._free[0]._context.profiler is None
    np.testing.assert_array_equal(backend.infer(tensor())["landmarks"], expected)
    assert len(stage.cuda.streams) == 1, "what the profile needed is given back"
    backend.close()
    assert (stage.cuda.memory, stage.cuda.streams, stage.cuda.retained) == ({}, set(), 0)


def test_a_failure_leaves_nothing_behind(stage: Stage) -> None:
    backend = stage.open()
    stage.trt.state.on_execute = lambda context: False
    with pytest.raises(MahtrtError, match="refuses the inference"):
        backend.layer_times(tensor(), 2)
    assert (stage.cuda.memory, stage.cuda.streams, stage.cuda.contexts) == ({}, set(), 0)
    backend.close()
    with pytest.raises(MahtrtError, match="after close"):
        backend.layer_times(tensor(), 2)
