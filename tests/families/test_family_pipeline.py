"""Every family through every verb: export, build, gate, bench, predict, pack, verify, compile.

The last test takes its graphs through TensorRT-RTX's real builder, which needs no GPU.
"""

from __future__ import annotations

import importlib.util
import json
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from c_library import CSession, assert_same_landmarks
from family_table import FamilyCase

import mahtrt.targets.openvino.run as ov_runtime
from mahtrt.benchmarks.bench import bench
from mahtrt.benchmarks.options import BenchOptions
from mahtrt.build.build import build
from mahtrt.build.compile import CompileOptions
from mahtrt.build.compile import compile as compile_bundle
from mahtrt.build.options import BuildOptions
from mahtrt.build.result import BuildResult
from mahtrt.bundle.bundle import read_bundle
from mahtrt.bundle.pack import PackOptions, pack
from mahtrt.cuda.probe import probe_cuda
from mahtrt.data.datasets import open_dataset
from mahtrt.data.feed import Feed, prepare, stack
from mahtrt.export.onnx import ExportResult
from mahtrt.graph.graph_file import read_graph
from mahtrt.models.reference import load_model
from mahtrt.models.torch_reference import TorchBackend
from mahtrt.runtime.opening import open_session
from mahtrt.runtime.predict import PredictOptions, predict
from mahtrt.runtime.verify import VerifyOptions, verify
from mahtrt.spec import ModelSpec
from mahtrt.targets.backend import EngineToOpen, Tensor
from mahtrt.targets.openvino.ir import write_ir
from mahtrt.targets.openvino.run import OpenVinoBackend
from mahtrt.targets.tensorrt.options import TensorRtOptions

pytestmark = pytest.mark.slow

ON_CPUS = ("openvino", "onnxruntime")
PRECISIONS = ("fp32", "bf16", "int8")
ARCHITECTURES = ("SM86", "SM89", "SM120")


def one_feed(case: FamilyCase, spec: ModelSpec) -> Feed:
    """The feed of a case that nothing was calibrated or checked on."""
    return stack([prepare(open_dataset(case.data(1, 77))[0].images, spec)[0]])


def test_the_export_has_parity_and_says_where_it_is_from(
    case: FamilyCase, exported: ExportResult, checkpoint: Path
) -> None:
    assert exported.parity.passed
    assert exported.spec == case.network().spec
    graph = read_graph(exported.path)
    assert graph.spec == exported.spec
    assert [value.name for value in graph.proto.graph.input] == [i.name for i in graph.spec.inputs]
    assert [value.name for value in graph.proto.graph.output] == [
        output.name for output in graph.spec.outputs
    ]


def test_every_precision_is_built_for_both_targets(built: BuildResult) -> None:
    assert [engine.name for engine in built.manifest.engines] == [
        f"{target}-{precision}" for precision in PRECISIONS for target in ON_CPUS
    ]
    plan = json.loads((built.path / "plan.json").read_text())
    assert any(block["precision"] == "int8" for block in plan["blocks"])
    assert read_bundle(built.path).manifest.spec == built.manifest.spec


def test_every_engine_passes_its_gate(built: BuildResult) -> None:
    assert set(built.verdicts) == {engine.name for engine in built.manifest.engines}
    assert [name for name, verdict in built.verdicts.items() if not verdict.passed] == []


@pytest.mark.parametrize("target", ON_CPUS)
def test_fp32_engines_give_what_pytorch_gives(
    case: FamilyCase, built: BuildResult, checkpoint: Path, target: str
) -> None:
    module, spec = load_model(case.source(checkpoint))
    feed = one_feed(case, spec)
    expected = TorchBackend(module, spec).infer(feed)
    with open_session(built.path, engine=f"{target}-fp32", threads=1) as session:
        found = session.infer(feed)
    for output in spec.outputs:
        np.testing.assert_allclose(found[output.name], expected[output.name], rtol=1e-3, atol=5e-3)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_blob_ir_and_onnx_of_an_engine_compute_the_same(
    case: FamilyCase,
    built: BuildResult,
    precision: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = read_bundle(built.path, verify=False)
    record, feed = bundle.engine(f"openvino-{precision}"), one_feed(case, bundle.spec)
    places = bundle.engine_files(record)

    def infer(*roles: str) -> dict[str, Tensor]:
        one = replace(record, files={role: record.files[role] for role in roles})
        files = {role: places[role] for role in roles}
        return OpenVinoBackend.open(EngineToOpen(one, files, bundle.spec, threads=1)).infer(feed)

    again = write_ir(ov_runtime.read_model(places["onnx"]), tmp_path)
    assert all(place.read_bytes() == places[role].read_bytes() for role, place in again.items())
    from_onnx = infer("onnx")
    monkeypatch.setattr(ov_runtime, "compile_model", None)  # nothing to fall back on
    for found in (infer("ir", "weights", "onnx"), infer("blob", "onnx")):
        for name, array in from_onnx.items():
            np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_bench_compares_every_engine(case: FamilyCase, built: BuildResult) -> None:
    report = bench(BenchOptions(built.path, case.data(3, 13), rounds=1, threads=1))
    engines = {engine.name for engine in built.manifest.engines}
    assert engines <= {row.name for row in report.rows}
    json.dumps(report.to_dict())


def test_predict_gives_all_that_the_network_finds(
    case: FamilyCase, built: BuildResult, tmp_path: Path
) -> None:
    spec = built.manifest.spec
    kinds = {output.kind for output in spec.outputs}
    files: list[Path] = []
    for sample in open_dataset(case.data(2, 77)):
        for image in sample.images:
            files.append(tmp_path / f"{len(files)}.png")
            assert cv2.imwrite(str(files[-1]), image)
    maps = tmp_path / "maps" if "map" in kinds else None
    result = predict(PredictOptions(built.path, files, engine="openvino-int8", maps=maps))
    assert len(result.predictions) == 2
    for prediction in result.predictions:
        found = prediction.landmarks
        assert found.points.shape == (spec.num_landmarks, 2)
        assert bool(np.isfinite(found.points).all())
        assert (found.visibility is not None) == ("visibility" in kinds)
        assert set(prediction.maps) == {each.name for each in spec.outputs if each.kind == "map"}
        assert set(found.labels) == {each.name for each in spec.outputs if each.kind == "logits"}
    assert len(json.loads(result.to_json())["images"]) == 2
    assert maps is None or len(list(maps.glob("*.png"))) == 2


def test_verify_replays_golden_vectors_through_every_engine(built: BuildResult) -> None:
    replays = verify(VerifyOptions(built.path)).replays
    assert {each.engine for each in replays} == {engine.name for engine in built.manifest.engines}
    assert all(each.absent == "" for each in replays)
    recorded = {engine.name: engine.golden for engine in built.manifest.engines}
    for each in replays:
        then, now = recorded[each.engine], each.accuracy
        assert then is not None
        assert now is not None
        assert then.images == now.images
        assert then.mean_px == pytest.approx(now.mean_px, abs=1e-3)
        assert [m.mean for m in then.maps] == pytest.approx([m.mean for m in now.maps], abs=1e-4)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_c_library_gives_the_same_bits(
    case: FamilyCase, built: BuildResult, precision: str
) -> None:
    name = f"openvino-{precision}"
    samples = [sample.images for sample in open_dataset(case.data(2, 77))]
    outputs = [output.name for output in built.manifest.spec.outputs]
    with open_session(built.path, engine=name, threads=1) as session:
        expected = [
            session.run(*images, spacing_mm=(0.1, 0.15), outputs=True) for images in samples
        ]
    with CSession(built.path, name, threads=1) as session_in_c:
        found = session_in_c.run(samples, spacing_mm=(0.1, 0.15), wanted=outputs)
        assert session_in_c.name == name
    for i, landmarks in enumerate(expected):
        assert_same_landmarks(found.landmarks[i], landmarks)
        for output in outputs:
            assert landmarks.outputs is not None
            np.testing.assert_array_equal(found.outputs[output][i], landmarks.outputs[output])


def test_the_c_library_replays_golden_vectors(built: BuildResult) -> None:
    for engine in built.manifest.engines:
        if engine.target == "openvino":
            with CSession(built.path, engine.name) as session:
                worst_px = session.replay()
            assert engine.golden is not None
            expected = math.nan if engine.golden.max_px is None else engine.golden.max_px
            assert worst_px == pytest.approx(expected, abs=1e-3, nan_ok=True)


def test_a_packed_bundle_gives_the_same(
    case: FamilyCase, built: BuildResult, tmp_path: Path
) -> None:
    packed = pack(PackOptions(built.path, tmp_path / "one.mahtrt", "onnxruntime-int8"))
    assert packed.bytes_after < packed.bytes_before
    with (
        open_session(built.path, engine="onnxruntime-int8", threads=1) as whole,
        open_session(packed.path, threads=1) as alone,
    ):
        assert alone.name == "onnxruntime-int8"
        feed = one_feed(case, alone.spec)
        first, second = whole.infer(feed), alone.infer(feed)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_engines_are_compiled_anew_from_a_bundle(built: BuildResult, tmp_path: Path) -> None:
    out = tmp_path / "compiled.mahtrt"
    compile_bundle(CompileOptions(built.path, "onnxruntime", out, threads=1))
    names = {engine.name for engine in read_bundle(out).manifest.engines}
    assert "onnxruntime-int8" in names


@pytest.mark.skipif(
    bool(probe_cuda().devices), reason="says what happens without a GPU, and here is one"
)
@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx_bindings") is None,
    reason="TensorRT-RTX is not installed",
)
def test_tensorrt_rtx_builds_for_every_architecture(
    case: FamilyCase, exported: ExportResult, checkpoint: Path, tmp_path: Path
) -> None:
    asked = BuildOptions(
        exported.path,
        tmp_path / "net.mahtrt",
        ("fp32", "fp16", "int8"),
        targets=("tensorrt-rtx",),
        calib=case.data(6, 11),
        eval=case.data(3, 12),
        reference=checkpoint,
        threads=1,
        limits=case.limits,
        cache=False,
        target_options=(TensorRtOptions(compute_capabilities=ARCHITECTURES),),
    )
    result = build(asked)
    assert [engine.precision for engine in result.manifest.engines] == ["fp32", "fp16", "int8"]
    for engine in result.manifest.engines:
        assert engine.device.capabilities == ARCHITECTURES
        assert (result.path / engine.files["plan"]).stat().st_size > 10_000
        assert engine.verdict is not None
        assert engine.verdict.passed
