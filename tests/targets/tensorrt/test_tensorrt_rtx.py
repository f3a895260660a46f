"""TensorRT-RTX's real builder, which needs neither a GPU nor a driver.

A TensorRT-RTX build says that the graph parses and compiles; it says nothing about an engine of the
enterprise TensorRT.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_network as tiny
from onnx import TensorProto, helper, numpy_helper
from programs import run_python
from soft_argmax_graph import IMAGE, MAPS, OUTPUTS, make_model

from mahtrt.cuda.probe import CudaProbe
from mahtrt.errors import BuildError
from mahtrt.targets.artifact import EngineArtifact
from mahtrt.targets.kernel_decode.record import kernel_decode_from_json
from mahtrt.targets.table import find_target
from mahtrt.targets.target import EngineOptions
from mahtrt.targets.tensorrt import build as builder
from mahtrt.targets.tensorrt.child import Request, run_request
from mahtrt.targets.tensorrt.options import TensorRtOptions

pytestmark = pytest.mark.slow

pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed")

SM86 = ("SM86",)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return tiny.save(tiny.make_int8_model(batch=2), tmp_path)


def build(graph: Path, out: Path, **options: object) -> EngineArtifact:
    cache = bool(options.pop("cache", True))
    own = TensorRtOptions(**{"compute_capabilities": SM86, **options})  # type: ignore[arg-type]
    asked = EngineOptions(cache=cache, cache_dir=out.parent / "cache", target_options=(own,))
    return find_target("tensorrt-rtx").build(graph, "int8", out, asked)


def test_a_tiny_graph_builds_and_is_reused(graph: Path, tmp_path: Path) -> None:
    first = build(graph, tmp_path / "first")
    assert first.batch == 2
    assert first.device.capabilities == ("SM86",)
    assert list(first.versions) == ["tensorrt-rtx"]
    assert first.build is not None
    assert first.build.cached is False
    assert first.build.facts.timing_cache == "off"
    assert first.build.facts.plan_bytes == first.files["plan"].stat().st_size > 10_000
    assert first.build.facts.layers["QUANTIZE"] == 1
    assert first.build.facts.layers["DEQUANTIZE"] == 2
    # The child's own: this process, with what the tests imported, held another amount.
    assert first.build.facts.peak_memory_mib in range(50, 2000)
    second = build(graph, tmp_path / "second")
    assert second.build == dataclasses.replace(first.build, cached=True)
    assert second.files["plan"].read_bytes() == first.files["plan"].read_bytes()
    third = build(graph, tmp_path / "third", workspace_mib=64)
    assert third.build.cached is False
    assert third.notes == (
        "A cached engine of this ONNX was not used, it differs in: "
        "workspace_mib (64 wanted, default cached).",
    )


def test_an_engine_can_end_at_the_heatmaps(tmp_path: Path) -> None:
    graph = tmp_path / "model.onnx"
    onnx.save(make_model(), graph)
    first = build(graph, tmp_path / "first", fuse_soft_argmax=True)
    facts = first.build.facts
    assert [(each.name, each.shape) for each in facts.outputs] == [("heatmaps", MAPS)]
    text = first.files["decode"].read_text()
    record = kernel_decode_from_json(text, "decode.json")
    assert (record.heatmaps, record.shape, record.input_size) == ("heatmaps", MAPS, IMAGE)
    second = build(graph, tmp_path / "second", fuse_soft_argmax=True)
    assert second.build.cached is True
    assert second.files["decode"].read_text() == text
    whole = build(graph, tmp_path / "whole")
    assert "decode" not in whole.files
    assert [each.name for each in whole.build.facts.outputs] == list(OUTPUTS)


@pytest.mark.parametrize("patience", [3, 10**9])  # the first question comes before the build
def test_phases_are_told_and_a_cancelled_build_writes_nothing(
    graph: Path, tmp_path: Path, patience: int
) -> None:
    import tensorrt_rtx_bindings as trt

    request = Request("tensorrt-rtx", str(graph), str(tmp_path / "plan"), capabilities=SM86)
    told: list[str] = []
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > patience

    result = run_request(trt, request, lambda event: told.append(str(event["text"])), cancelled)
    assert told[0] == "parsing the ONNX"
    assert len(told) > 2
    if len(asked) > patience:
        assert result == {"status": "cancelled"}
        assert not (tmp_path / "plan").exists()
    else:
        assert result["status"] == "built"
        assert told[-1] == "writing the engine"


def test_without_a_driver_engines_are_for_every_architecture_and_not_inspected(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "probe_cuda", lambda: CudaProbe(problem="no NVIDIA driver"))
    artifact = build(graph, tmp_path / "out", compute_capabilities=())
    assert set(artifact.files) == {"onnx", "plan"}
    assert artifact.device.name == ""
    assert artifact.device.capabilities == ("SM86", "SM89", "SM120")
    assert list(artifact.versions) == ["tensorrt-rtx"]


def test_more_capabilities_make_a_larger_plan(graph: Path, tmp_path: Path) -> None:
    one = build(graph, tmp_path / "one", cache=False)
    two = build(graph, tmp_path / "two", cache=False, compute_capabilities=("SM86", "SM120"))
    assert two.build.facts.plan_bytes > one.build.facts.plan_bytes
    assert not (tmp_path / "cache").exists()


DEPLOYMENT_HOST = """
import sys
from pathlib import Path

sys.modules.update(dict.fromkeys(("torch", "onnx", "onnx_ir", "onnxruntime", "tensorrt")))
from mahtrt.targets.kernel_decode.record import kernel_decode_from_json
from mahtrt.targets.table import find_target

target = find_target("tensorrt-rtx")
assert "tensorrt_rtx_bindings" not in sys.modules
artifact = target.build(Path(sys.argv[1]), "int8", Path(sys.argv[2]))
assert artifact.build.cached is False
print(artifact.files["plan"])
"""


def test_building_needs_no_torch_and_no_onnx(graph: Path, tmp_path: Path) -> None:
    command = ("-W", "error", "-c", DEPLOYMENT_HOST, graph, tmp_path / "out")
    result = run_python(*command, MAHTRT_CACHE_DIR=str(tmp_path / "cache"))
    assert result.stdout == f"{tmp_path / 'out' / 'model.plan'}\n", result.stderr
    assert result.stderr == ""
    assert list((tmp_path / "cache" / "engines").iterdir())


def wide_network(folder: Path) -> Path:
    """A graph that takes seconds to build."""
    rng = np.random.default_rng(0)
    nodes, weights, last = [], [], "image"
    for index in range(60):
        channels = 3 if index == 0 else 64
        kernel = rng.standard_normal((64, channels, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"kernel{index}"))
        inputs = [last, f"kernel{index}"]
        nodes.append(helper.make_node("Conv", inputs, [f"c{index}"], pads=[1] * 4))
        nodes.append(helper.make_node("Gelu", [f"c{index}"], [f"g{index}"]))
        last = f"g{index}"
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "wide",
        [value("image", TensorProto.FLOAT, [1, 3, 64, 64])],
        [value(last, TensorProto.FLOAT, None)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, folder / "wide.onnx")
    return folder / "wide.onnx"


def test_a_build_over_its_time_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"expected one within 0\.3 s"):
        build(wide_network(tmp_path), tmp_path / "out", timeout_s=0.3)
    assert not (tmp_path / "out").exists()


INTERRUPTED = """
import sys
from pathlib import Path
from mahtrt.targets.kernel_decode.record import kernel_decode_from_json
from mahtrt.targets.table import find_target
from mahtrt.targets.target import EngineOptions

options = EngineOptions(
    progress=lambda line: print(line, flush=True), cache=False
)
try:
    find_target("tensorrt-rtx").build(Path(sys.argv[1]), "fp32", Path(sys.argv[2]), options)
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_ctrl_c_ends_the_build_and_leaves_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(wide_network(tmp_path)), str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("starting TensorRT-RTX, 0 s")
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130, errors
    assert errors == ""
    assert not (tmp_path / "out").exists()


def test_a_child_without_a_parent_ends(tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    plan = tmp_path / "model.plan"
    text = Request("tensorrt-rtx", str(wide_network(tmp_path)), str(plan), capabilities=SM86)
    request.write_text(text.to_json())
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "mahtrt.targets.tensorrt.child", str(request)],
        stdin=read,
        stdout=subprocess.PIPE,
        text=True,
    )
    os.close(read)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["event"] == "phase"
    os.close(write)
    output, _ = process.communicate(timeout=20)
    if process.returncode == 0:  # else it did not heed in time, and ended itself
        assert json.loads(output.splitlines()[-1])["status"] == "cancelled"
    assert not plan.exists()
