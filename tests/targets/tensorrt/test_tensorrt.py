"""Loading and running engines, with a fake TensorRT on a fake CUDA driver."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from programs import run_python
from tensorrt_stage import Stage, make_plan, record
from tiny_network import SIZE, SPEC, make_image, make_model

from mahtrt.cuda.probe import probe_cuda
from mahtrt.data.preprocess import preprocess
from mahtrt.errors import BuildError, MahtrtError, ModelError
from mahtrt.runtime.session import Session
from mahtrt.targets.backend import EngineToOpen
from mahtrt.targets.table import find_target
from mahtrt.targets.tensorrt.compatible import Here, check_compatible
from mahtrt.targets.tensorrt.run import TensorRtBackend

HERE = Here("tensorrt", "10.16.1", "linux_x86_64", "NVIDIA RTX 4090", "SM89")


@pytest.fixture(params=["10.16.1", "11.4.0"])
def stage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(request.param, tmp_path, monkeypatch)


def feed_of(seed: int) -> dict[str, np.ndarray]:
    return {SPEC.input.name: preprocess(make_image(seed)[0], SPEC.input)[0][None]}


def test_images_become_landmarks(stage: Stage) -> None:
    session = Session(stage.open(), SPEC, stage.engine)
    for seed in range(3):
        image, points = make_image(seed)
        np.testing.assert_allclose(session.run(image).points, points, atol=1e-3)
    session.close()
    stage.cuda.check()


def test_the_context_is_set_up_once_and_every_tensor_has_an_address(stage: Stage) -> None:
    backend, state = stage.open(), stage.trt.state
    for seed in range(3):
        backend.infer(feed_of(seed))
    assert state.called("IExecutionContext.set_input_shape") == [("image", (1, 3, *SIZE))]
    names = {name for name, _ in state.called("IExecutionContext.set_tensor_address")}
    assert names == {"image", *(output.name for output in SPEC.outputs)}
    streams = {stream for (stream,) in state.called("IExecutionContext.execute_async_v3")}
    assert streams == set(stage.cuda.scheduler.streams), "a stream of its own, not the default one"
    assert 0 not in streams
    assert len(state.called("Runtime.deserialize_cuda_engine")) == 1
    backend.close()


def test_outputs_are_the_callers_own_and_only_those_asked_for(stage: Stage) -> None:
    backend = stage.open()
    first = backend.infer(feed_of(0), ["landmarks"])
    before = first["landmarks"].copy()
    copies = stage.cuda.calls.count("cuMemcpyDtoHAsync")
    backend.infer(feed_of(1))
    assert list(first) == ["landmarks"]
    assert copies == 1
    assert first["landmarks"].dtype == np.float32
    np.testing.assert_array_equal(first["landmarks"], before)
    backend.close()


def test_threads_have_contexts_of_their_own(stage: Stage) -> None:
    backend = stage.open()
    both_inside = threading.Barrier(2, timeout=10)
    seen, results = set(), {}

    def wait(context: Any) -> bool:
        seen.add(id(context))
        both_inside.wait()
        return True

    def work(seed: int) -> None:
        results[seed] = backend.infer(feed_of(seed))

    stage.trt.state.on_enqueue = wait
    threads = [threading.Thread(target=work, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == len(stage.cuda.scheduler.streams) == 2
    stage.trt.state.on_enqueue = lambda context: True
    for seed in (0, 1):
        again = backend.infer(feed_of(seed))
        np.testing.assert_array_equal(results[seed]["landmarks"], again["landmarks"])
    assert len(stage.cuda.scheduler.streams) == 2, "lanes are used again"
    backend.close()


def test_closing_while_a_call_is_under_way(stage: Stage) -> None:
    backend = stage.open()

    def close_first(context: Any) -> bool:
        backend.close()
        return True

    stage.trt.state.on_enqueue = close_first
    assert "landmarks" in backend.infer(feed_of(0))
    stage.cuda.check()
    with pytest.raises(MahtrtError, match="after close"):
        backend.infer(feed_of(0))
    backend.close()


def test_an_execution_that_fails_is_an_error_and_its_context_is_gone(stage: Stage) -> None:
    backend = stage.open()
    stage.trt.state.on_enqueue = lambda context: False
    with pytest.raises(MahtrtError, match="TensorRT refuses the inference"):
        backend.infer(feed_of(0))
    assert not stage.cuda.leaks(is_open=True)
    stage.trt.state.on_enqueue = lambda context: True
    assert "landmarks" in backend.infer(feed_of(0))
    backend.close()


def test_memory_that_runs_out_leaves_nothing_behind(stage: Stage) -> None:
    backend = stage.open()
    stage.cuda.fail("cuMemHostAlloc", 2)
    with pytest.raises(MahtrtError, match="CUDA_ERROR_OUT_OF_MEMORY"):
        backend.infer(feed_of(0))
    assert not stage.cuda.leaks(is_open=True)
    backend.close()
    stage.cuda.check()


def test_no_memory_for_one_more_context(stage: Stage) -> None:
    backend = stage.open()
    stage.trt.state.refuse_contexts = True
    with pytest.raises(MahtrtError, match="no execution context"):
        backend.infer(feed_of(0))
    stage.trt.state.refuse_contexts = False
    assert "landmarks" in backend.infer(feed_of(0))
    backend.close()


def test_shapes_that_cannot_be_inferred_are_named(stage: Stage) -> None:
    stage.trt.state.infer_shapes_missing = ["image"]
    backend = stage.open()
    with pytest.raises(MahtrtError, match="no shape for image"):
        backend.infer(feed_of(0))
    backend.close()


def test_a_plan_that_is_none(stage: Stage) -> None:
    stage.plan.write_bytes(b"no plan")
    with pytest.raises(BuildError, match="Magic tag does not match"):
        stage.open()
    stage.cuda.check()


def test_a_plan_of_another_network(stage: Stage) -> None:
    other = make_model()
    other.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    cast = onnx.helper.make_node("Cast", ["image"], ["single"], to=onnx.TensorProto.FLOAT)
    other.graph.node[0].input[0] = "single"
    other.graph.node.insert(0, cast)
    stage.plan.write_bytes(make_plan(stage.trt, other))
    with pytest.raises(ModelError, match="expected float32 of static shape"):
        stage.open()
    stage.plan.write_bytes(make_plan(stage.trt, make_model(batch=1)))
    wrong = dataclasses.replace(SPEC, inputs=(dataclasses.replace(SPEC.input, size=(64, 64)),))
    with pytest.raises(ModelError, match="64, 64"):
        TensorRtBackend.open(EngineToOpen(stage.engine, {"plan": stage.plan}, wrong))
    stage.cuda.check()


def test_nothing_is_deserialized_before_a_mismatch_is_found(stage: Stage) -> None:
    stage.engine = record(versions={"tensorrt": "10.12.0"})
    with pytest.raises(BuildError, match=r"10\.12\.0, which it was built for"):
        stage.open()
    assert stage.trt.state.runtimes == 0
    stage.cuda.check()


def test_the_engine_that_was_built_here_is_accepted() -> None:
    check_compatible(record(), HERE)


RTX = {
    "target": "tensorrt-rtx",
    "versions": {"tensorrt-rtx": "1.7.1"},
    "device": {"name": "", "capabilities": ("SM86", "SM89", "SM120")},
}
AMPERE_PLUS, SAME_CAPABILITY = (
    {"device": {"settings": {"hardware_compatibility": level}}}
    for level in ("ampere_plus", "same_compute_capability")
)
RTX_HERE = {"flavour": "tensorrt-rtx", "version": "1.7.1"}


@pytest.mark.parametrize(
    ("engine", "here", "built", "found"),
    [
        ({}, {"version": "11.4.0"}, "10.16.1", "11.4.0"),
        ({"versions": {}}, {}, "of unknown version", "10.16.1"),
        ({}, {"platform": "linux_aarch64"}, "linux_x86_64", "linux_aarch64"),
        ({}, {"capability": "SM120"}, "SM89", "NVIDIA RTX 4090 (SM120)"),
        ({}, {"gpu": "NVIDIA L4"}, "NVIDIA RTX 4090", "NVIDIA L4"),
        ({}, {"flavour": "tensorrt-rtx"}, "tensorrt", "tensorrt-rtx"),
        (AMPERE_PLUS, {"capability": "SM75"}, "SM80 or newer", "(SM75)"),
        (SAME_CAPABILITY, {"capability": "SM90"}, "SM89", "(SM90)"),
        (RTX, RTX_HERE | {"version": "1.7.2"}, "1.7.1", "1.7.2"),
        (RTX, RTX_HERE | {"capability": "SM75"}, "SM86, SM89, SM120", "(SM75)"),
        (RTX, {}, "tensorrt-rtx", "tensorrt"),
    ],
)
def test_a_mismatch_shows_both_values_and_the_command(
    engine: dict[str, Any], here: dict[str, str], built: str, found: str
) -> None:
    built_here = record(**engine)
    with pytest.raises(BuildError) as caught:
        check_compatible(built_here, dataclasses.replace(HERE, **here))
    assert built in caught.value.expected
    assert found in caught.value.got
    assert f"mahtrt compile BUNDLE --target {built_here.target}" in caught.value.fix


@pytest.mark.parametrize(
    ("engine", "here"),
    [
        (AMPERE_PLUS, {"capability": "SM120"}),
        (AMPERE_PLUS, {"gpu": "NVIDIA L4"}),
        (SAME_CAPABILITY, {"gpu": "NVIDIA L4"}),
        (RTX, RTX_HERE | {"capability": "SM120"}),
        (RTX, RTX_HERE | {"gpu": "NVIDIA RTX A6000"}),
    ],
)
def test_what_hardware_compatibility_allows(engine: dict[str, Any], here: dict[str, str]) -> None:
    check_compatible(record(**engine), dataclasses.replace(HERE, **here))


def test_each_run_has_its_own_times(stage: Stage) -> None:
    told = []

    def layer_ms(layer: dict[str, object]) -> float:
        told.append(layer["name"])
        return float(len(told))

    stage.trt.state.layer_ms = layer_ms
    backend = stage.open()
    runs = backend.layer_times(feed_of(0), 3)
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
    assert backend.layer_times(feed_of(0), 1) == [{"one": 0.125 * count}]
    backend.close()


def test_plain_inferences_know_nothing_of_it(stage: Stage) -> None:
    backend = stage.open()
    expected = backend.infer(feed_of(0))["landmarks"]
    backend.layer_times(feed_of(0), 2)
    context: Any = backend.pool._free[0].engine
    assert context._context.profiler is None
    np.testing.assert_array_equal(backend.infer(feed_of(0))["landmarks"], expected)
    assert len(stage.cuda.scheduler.streams) == 1, "what the profile needed is given back"
    backend.close()
    stage.cuda.check()


def test_a_failure_leaves_nothing_behind(stage: Stage) -> None:
    backend = stage.open()
    stage.trt.state.on_enqueue = lambda context: False
    with pytest.raises(MahtrtError, match="refuses the inference"):
        backend.layer_times(feed_of(0), 2)
    assert not stage.cuda.leaks(is_open=True)
    backend.close()
    with pytest.raises(MahtrtError, match="after close"):
        backend.layer_times(feed_of(0), 2)


def test_importing_the_backend_loads_nothing_heavy() -> None:
    heavy = {"torch", "onnx", "tensorrt", "tensorrt_rtx_bindings", "pycuda"}
    program = f"import sys, mahtrt.targets.tensorrt.run; print({heavy!r} & {{*sys.modules}})"
    assert run_python("-c", program).stdout.strip() == "set()"


@pytest.mark.gpu
@pytest.mark.skipif(bool(probe_cuda().problem), reason=probe_cuda().problem or "a GPU is here")
def test_a_tensorrt_rtx_build_runs_on_a_real_gpu(tmp_path: Path) -> None:
    trt = pytest.importorskip("tensorrt_rtx_bindings", reason="needs the extra tensorrt-rtx")
    probe = probe_cuda()
    if not hasattr(trt.ComputeCapability, probe.capabilities[0]):
        pytest.skip(f"TensorRT-RTX {trt.__version__} has no kernels for {probe.devices[0]}")
    onnx_path = tmp_path / "model.onnx"
    onnx.save(make_model(), onnx_path)
    built = find_target("tensorrt-rtx").build(onnx_path, "fp32", tmp_path / "engine")
    engine = built.record("tensorrt-rtx", "fp32")
    backend = TensorRtBackend.open(EngineToOpen(engine, built.files, SPEC))
    session = Session(backend, SPEC, engine)
    for seed in range(3):
        image, points = make_image(seed)
        np.testing.assert_allclose(session.run(image).points, points, atol=0.05)
    session.close()
