"""The builder's path where TensorRT-RTX's real builder cannot show it (``test_tensorrt_rtx.py``).

That is the enterprise flavour, 10.16-like and 11.4-like; machines with cards that are not here; and
a builder that fails. The parent's half and the child's half run in one process and talk JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tiny_network as tiny
from fake_tensorrt import make_fake
from soft_argmax_graph import MAPS, make_model

from mahtrt.bundle.records import DeviceRecord, TensorRecord
from mahtrt.cuda.probe import CudaProbe
from mahtrt.errors import BuildError, MissingComponentError, UsageError
from mahtrt.schema import plain
from mahtrt.spec import DECODING
from mahtrt.targets.artifact import EngineArtifact
from mahtrt.targets.kernel_decode.record import kernel_decode_from_json
from mahtrt.targets.target import EngineOptions
from mahtrt.targets.tensorrt import build as builder
from mahtrt.targets.tensorrt.child import Request, request_from_json, run_request
from mahtrt.targets.tensorrt.flavours import FLAVOURS
from mahtrt.targets.tensorrt.options import TensorRtOptions

A10 = CudaProbe("13.0", ("NVIDIA A10 (SM 8.6)",), names=("NVIDIA A10",), capabilities=("SM86",))
H100 = CudaProbe("13.0", ("NVIDIA H100 (SM 9.0)",), names=("NVIDIA H100",), capabilities=("SM90",))
NO_DRIVER = CudaProbe(problem="no NVIDIA driver (libcuda.so.1 cannot be loaded)")

Build = Callable[..., EngineArtifact]


@pytest.fixture(params=["10.16.1", "11.4.0"])
def fake(request: pytest.FixtureRequest) -> Any:
    return make_fake(str(request.param))


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return tiny.save(tiny.make_int8_model(), tmp_path)


@pytest.fixture
def build(fake: Any, graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    return make_build(fake, graph, tmp_path, monkeypatch)


def make_build(
    fake: Any,
    graph: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    flavour: str = "tensorrt",
    probe: CudaProbe = A10,
) -> Build:
    """``build_engine`` with the fake in place of the package, the driver and the child."""

    def run_here(
        request: Request, subject: str, title: str, tell: Callable[[str, float], None], **_: Any
    ) -> dict[str, Any]:
        text = request.to_json()
        no_integers(json.loads(text), allowed={"workspace_mib", "optimization_level", "threads"})
        again = request_from_json(text, "request")
        assert again == request
        result = run_request(fake, again, lambda event: tell(str(event["text"]), 0.0))
        return dict(json.loads(json.dumps({**result, "peak_memory_mib": 7})))

    monkeypatch.setattr(builder, "load_flavour", lambda flavour: fake)
    monkeypatch.setattr(builder, "probe_cuda", lambda: probe)
    monkeypatch.setattr(builder, "run_child", run_here)

    def build(onnx_path: Path = graph, out: str = "out", **options: Any) -> EngineArtifact:
        told: list[str] = options.pop("told", [])
        precision, threads = options.pop("precision", "int8"), options.pop("threads", None)
        asked = EngineOptions(
            threads,
            progress=told.append,
            cache=options.pop("cache", True),
            cache_dir=folder / "cache",
            target_options=(TensorRtOptions(**options),),
        )
        return builder.build_engine(onnx_path, precision, folder / out, FLAVOURS[flavour], asked)

    return build


def no_integers(data: Mapping[str, Any], allowed: set[str]) -> None:
    """No number but those that count something: an enumeration's would be one."""
    for name, value in data.items():
        if isinstance(value, Mapping):
            no_integers(value, allowed)
        elif name not in allowed:
            assert isinstance(value, bool) or not isinstance(value, int), (name, value)


def test_fp32_is_not_tf32_and_other_engines_may_use_it(fake: Any, build: Build) -> None:
    build(precision="fp32")
    assert fake.state.called("IBuilderConfig.clear_flag") == [("TF32",)]
    build(precision="int8")
    assert fake.state.called("IBuilderConfig.clear_flag") == [("TF32",)]


def test_what_decodes_is_not_tf32_in_any_engine(
    fake: Any, build: Build, graph: Path, tmp_path: Path
) -> None:
    model = onnx.load(graph)
    model.graph.node[-1].name = f"{DECODING}.{model.graph.node[-1].op_type}"
    decoding = tmp_path / "decoding.onnx"
    onnx.save(model, decoding)
    build(decoding, precision="int8")
    assert fake.state.called("IBuilderConfig.clear_flag") == [("TF32",)]


def test_an_engine_says_what_it_is(build: Build, fake: Any, graph: Path, tmp_path: Path) -> None:
    artifact = build()
    assert artifact.files == {
        "onnx": graph,
        "plan": tmp_path / "out" / "model.plan",
        "layers": tmp_path / "out" / "layers.json",
    }
    assert json.loads(artifact.files["layers"].read_text())["Layers"][0]["LayerType"]
    assert artifact.batch == 1
    assert artifact.device == DeviceRecord(
        name="NVIDIA A10",
        platform=artifact.build.key.platform,
        capabilities=("SM86",),
        settings={"hardware_compatibility": "none"},
    )
    assert artifact.versions == {"tensorrt": fake.__version__, "cuda_driver": "13.0"}
    assert artifact.notes == ()
    facts = artifact.build.facts
    assert artifact.build.cached is False
    assert (facts.timing_cache, facts.peak_memory_mib) == ("miss", 7)
    assert facts.plan_bytes == artifact.files["plan"].stat().st_size
    assert facts.layers["QUANTIZE"] == 1
    assert facts.inputs == (TensorRecord("image", (1, 3, 32, 48), "FLOAT"),)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["layers.json", "model.plan"]


def test_options_reach_the_builder(fake: Any, build: Build) -> None:
    artifact = build(
        workspace_mib=256, optimization_level=5, hardware_compatibility="ampere_plus", threads=2
    )
    assert fake.state.called("IBuilderConfig.builder_optimization_level") == [(5,)]
    level = fake.state.called("IBuilderConfig.hardware_compatibility_level")
    assert level == [("AMPERE_PLUS",)]
    assert fake.state.called("IBuilderConfig.set_memory_pool_limit") == [("WORKSPACE", 256 << 20)]
    assert fake.state.called("Builder.max_threads") == [(2,)]
    assert artifact.device.settings == {"hardware_compatibility": "ampere_plus"}
    assert artifact.build.key.workspace_mib == 256


def test_no_integer_of_an_enumeration_is_kept(build: Build, tmp_path: Path) -> None:
    counted = {"workspace_mib", "optimization_level", "plan_bytes", "peak_memory_mib"}
    artifact = build(hardware_compatibility="same_compute_capability")
    data = plain(artifact.build)
    assert all(isinstance(count, int) for count in data["facts"].pop("layers").values())
    no_integers(data, counted)
    no_integers(plain(artifact.device), set())
    (entry,) = (tmp_path / "cache" / "engines").iterdir()
    entry_data = json.loads(entry.read_text())
    assert entry_data["facts"].pop("layers")
    no_integers(entry_data, counted)
    assert entry_data["key"]["hardware_compatibility"] == "same_compute_capability"


def test_timings_serve_other_builds_on_the_same_gpu(fake: Any, build: Build) -> None:
    assert build().build.facts.timing_cache == "miss"
    other = build(out="other", optimization_level=1)
    assert other.build.facts.timing_cache == "hit"
    assert other.notes == (
        "A cached engine of this ONNX was not used, it differs in: "
        "optimization_level (1 wanted, default cached).",
    )
    used = fake.state.called("IBuilderConfig.set_timing_cache")
    assert [ignore_mismatch for _, ignore_mismatch in used] == [False, False]


def test_damaged_or_refused_timings_are_a_miss_or_off(
    fake: Any, build: Build, tmp_path: Path
) -> None:
    build()
    (place,) = (tmp_path / "cache" / "timing").iterdir()
    place.write_bytes(b"damaged")
    assert build(out="b", optimization_level=1).build.facts.timing_cache == "miss"
    fake.state.refuse_timing_cache = True
    assert build(out="c", optimization_level=2).build.facts.timing_cache == "off"


def test_a_damaged_engine_is_built_again(build: Build, tmp_path: Path) -> None:
    first = build()
    (tmp_path / "cache" / "files" / first.build.facts.plan_sha256).write_bytes(b"damaged")
    told: list[str] = []
    second = build(out="again", told=told)
    assert second.build.cached is False
    assert second.notes == ("The cached engine was damaged: built again.",)
    assert second.files["plan"].read_bytes() == first.files["plan"].read_bytes()
    assert told[0].endswith("; the last build of this engine took 0 s")
    assert build(out="third").build.cached is True


def test_a_parser_error_names_the_node(build: Build, graph: Path) -> None:
    model = onnx.load(graph)
    zero = next(each for each in model.graph.initializer if each.name == "image_zero")
    zero.CopyFrom(onnx.numpy_helper.from_array(np.array(5, np.int8), "image_zero"))
    onnx.save(model, graph)
    with pytest.raises(BuildError, match=r"node number 0 \(QuantizeLinear\).*asymmetric"):
        build()


def test_a_failed_build_says_what_was_logged_and_leaves_the_engine_that_was_there(
    fake: Any, build: Build
) -> None:
    first = build(cache=False)
    before = first.files["plan"].read_bytes()
    fake.state.build_errors.append(
        "IBuilder::buildSerializedNetwork: Error Code 10: Internal Error (Could not find any "
        "implementation for node {ForeignNode[decoder/0/conv]}.)"
    )
    with pytest.raises(BuildError, match="no kernel for this node") as caught:
        build(cache=False)
    assert "decoder/0/conv" in str(caught.value)
    assert first.files["plan"].read_bytes() == before


def test_no_driver_is_said_before_a_builder_is_made(
    fake: Any, graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = make_build(fake, graph, tmp_path, monkeypatch, probe=NO_DRIVER)
    with pytest.raises(MissingComponentError, match="got no NVIDIA driver") as caught:
        build()
    assert caught.value.exit_code == 6
    assert fake.state.calls == []


def test_rtx_builds_for_the_gpu_that_is_here(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = make_fake("1.7.1")
    build = make_build(fake, graph, tmp_path, monkeypatch, flavour="tensorrt-rtx")
    artifact = build()
    assert artifact.device.name == "NVIDIA A10"
    assert artifact.device.capabilities == ("SM86",)
    assert "layers" in artifact.files
    named = build(out="named", compute_capabilities=("sm120", "SM89"))
    assert named.device.name == ""
    assert named.device.capabilities == ("SM89", "SM120")
    assert "Built for SM89, SM120, which NVIDIA A10 here (SM86) cannot run." in named.notes
    with pytest.raises(UsageError, match="got SM90; expected of SM75, SM80, SM86"):
        build(compute_capabilities=("SM90", "SM86"))


def test_rtx_says_what_of_a_request_has_no_effect_here(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = make_fake("1.7.1")
    build = make_build(fake, graph, tmp_path, monkeypatch, flavour="tensorrt-rtx", probe=H100)
    artifact = build(optimization_level=5)
    assert artifact.device.capabilities == ("SM86", "SM89", "SM120")
    kernels, level = artifact.notes
    assert kernels == "Built for SM86, SM89, SM120, which NVIDIA H100 here (SM90) cannot run."
    assert "makes the same engine at every level" in level


def test_an_engine_that_ends_at_the_heatmaps_has_a_record_and_a_key_of_its_own(
    fake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = tmp_path / "soft_argmax.onnx"
    onnx.save(make_model(), graph)
    build = make_build(fake, graph, tmp_path, monkeypatch)
    artifact = build(fuse_soft_argmax=True)
    ((parsed,),) = fake.state.called("OnnxParser.parse_from_file")
    assert parsed != str(graph)
    assert not Path(parsed).exists()
    assert artifact.files["onnx"] == graph
    assert [each.name for each in artifact.build.facts.outputs] == ["heatmaps"]
    record = kernel_decode_from_json(artifact.files["decode"].read_text(), "decode.json")
    assert record.shape == MAPS
    assert len(artifact.build.key.plugin_sha256) == 64
    again = build(fuse_soft_argmax=True, out="again")
    assert again.build.cached
    assert again.files["decode"].read_bytes() == artifact.files["decode"].read_bytes()
    assert build(out="plain").notes[0].startswith("A cached engine of this ONNX was not used")
