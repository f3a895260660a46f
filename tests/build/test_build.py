"""Build through its Python function: what it writes, decides and refuses."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from build_options import make_options
from foreign_network import SEED, ForeignNetwork

import mahtrt
from mahtrt.build import request as request_module
from mahtrt.build.build import build
from mahtrt.build.images import ImageSets
from mahtrt.build.judge import AccuracyError, default_engine
from mahtrt.build.result import BuildResult
from mahtrt.build.watched import describe_images
from mahtrt.bundle.bundle import read_bundle
from mahtrt.bundle.golden import read_golden
from mahtrt.bundle.reference_statistics import read_reference
from mahtrt.data.phantom import PhantomDataset
from mahtrt.data.preprocess_version import PREPROCESS_VERSION
from mahtrt.data.subset import NetworkTensors, hold_back
from mahtrt.digest import sha256_of_file
from mahtrt.errors import MissingComponentError, UsageError
from mahtrt.machine import describe_machine, package_versions
from mahtrt.measure.limits import Limits
from mahtrt.models.reference import ModelSource
from mahtrt.monitoring.drift import DriftMonitor
from mahtrt.progress import silent
from mahtrt.targets.cpu import weight_bits_here
from mahtrt.targets.openvino.run import has_native_bf16
from mahtrt.targets.tensorrt.options import TensorRtOptions

pytestmark = pytest.mark.slow

CALIB, POINTS = "phantom:6@1", (0, 1, 2)
PRECISIONS = ("fp32", "bf16", "int8")
ON_CPUS = ("openvino", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Built:
    result: BuildResult
    stages: tuple[str, ...]

    @property
    def path(self) -> Path:
        return self.result.path


def in_pytorch(network: ForeignNetwork) -> dict[str, Any]:
    source = ModelSource(f"{network.code}:make", network.checkpoint, {}, network.spec)
    return {"model": source, "reference": network.checkpoint}


@pytest.fixture(scope="module")
def built(foreign_network: ForeignNetwork, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """All precisions for both targets, without PyTorch weights at hand."""
    stages: list[str] = []
    out = tmp_path_factory.mktemp("build") / "net.mahtrt"
    asked = make_options(foreign_network, out, precisions=PRECISIONS, targets=("auto",))
    result = build(asked, lambda stage, done, of, detail="": stages.append(stage))
    return Built(result, tuple(dict.fromkeys(stages)))


def test_every_stage_is_told(built: Built) -> None:
    assert built.stages[:5] == (
        "reading",
        "comparing calibration and check",
        "calibrating",
        "correcting biases",
        "opening the reference",
    )
    assert built.stages[-3:] == ("checking engines", "describing images", "writing")
    assert {f"building {target}-{p}" for target in ON_CPUS for p in PRECISIONS} <= {*built.stages}


def test_what_the_bundle_holds(built: Built) -> None:
    names = {place.name for place in built.path.iterdir()}
    assert names == {
        "engines",
        "golden",
        "manifest.json",
        "model.bf16.onnx",
        "model.int8.onnx",
        "model.onnx",
        "plan.json",
        "ranges.json",
        "reference-statistics.json",
        "report.json",
    }
    read_bundle(built.path)  # hashes everything
    report = json.loads((built.path / "report.json").read_text())
    assert report == json.loads(json.dumps(built.result.report.to_dict()))


def test_images_and_results_are_described_for_a_service(built: Built) -> None:
    bundle = read_bundle(built.path)
    found = read_reference(bundle)
    assert found is not None
    assert (found.engine, found.images) == (bundle.manifest.default_engine, 6)
    named = {each.name: each for each in found.statistics}
    assert {"image.p50", "landmarks.spread", "landmarks.extent_mm"} <= set(named)
    assert f"landmark.{bundle.spec.landmarks[0]}.two_peaks" in named
    assert named["image.bits"].mean == 8
    assert DriftMonitor.of_bundle(bundle) is not None


def test_images_that_stand_in_for_the_callers_are_not_described(built: Built) -> None:
    report, record = built.result.report, read_bundle(built.path).engine()
    stand_in = ImageSets(None, PhantomDataset(2), given=False)
    assert describe_images((), record, report, stand_in, silent) is None


def test_the_manifest(built: Built, foreign_network: ForeignNetwork) -> None:
    manifest = read_bundle(built.path).manifest
    assert manifest.files == built.result.manifest.files
    assert [engine.name for engine in manifest.engines] == [
        f"{target}-{precision}" for precision in PRECISIONS for target in ON_CPUS
    ]
    assert manifest.precision == "int8"
    assert manifest.spec.family == "my-unet"
    assert manifest.provenance.onnx_sha256 == sha256_of_file(foreign_network.onnx)
    assert manifest.provenance.source.checkpoint == "weights.pt"
    assert manifest.provenance.parity.passed is True
    assert manifest.versions["mahtrt"] == mahtrt.__version__
    assert {"python", "numpy"} <= set(manifest.versions)
    assert manifest.host.architecture
    assert manifest.preprocess_version == PREPROCESS_VERSION
    assert [(g.name, g.precision, g.file, g.weight_bits) for g in manifest.graphs] == [
        ("fp32", "fp32", "model.onnx", None),
        ("bf16", "bf16", "model.bf16.onnx", None),
        ("int8", "int8", "model.int8.onnx", weight_bits_here(describe_machine())),
    ]
    for graph in manifest.graphs:
        found = onnx.load(built.path / graph.file)
        assert graph.opset == found.opset_import[0].version
        assert graph.batch == found.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    assert manifest.created.endswith("+00:00")
    for engine in manifest.engines:
        assert engine.accuracy.images == 1
        assert engine.latency.p50_ms > 0
    assert str(foreign_network.folder) not in (built.path / "manifest.json").read_text()


def test_the_gate_is_written_down(built: Built) -> None:
    manifest = built.result.manifest
    assert dataclasses.asdict(manifest.gate.budgets) == Limits().to_dict()
    assert all(engine.verdict.passed for engine in manifest.engines)
    assert manifest.passed


def test_images_are_held_back_from_calibration(built: Built) -> None:
    calibrated, held = hold_back(PhantomDataset(6, 1), 1)
    record = built.result.manifest.calibration
    assert record.card.images == len(calibrated) == 5
    tensors = NetworkTensors(calibrated, built.result.manifest.spec)
    assert record.images_digest == tensors.images_digest
    assert json.loads((built.path / "ranges.json").read_text())["images"] == 5
    (golden,) = read_golden(read_bundle(built.path))
    assert golden.name == held.names[0]
    np.testing.assert_array_equal(golden.image, held[0].image)


def test_golden_landmarks_are_the_references(built: Built) -> None:
    info = built.result.manifest.golden
    vectors = read_golden(read_bundle(built.path))
    assert info is not None
    assert len(info.images) == len(vectors)
    with mahtrt.open(built.path, engine="onnxruntime-fp32") as session:
        for vector in vectors:
            found = session.run(vector.image).points
            np.testing.assert_allclose(found, vector.points_px, atol=0.01)


def test_all_held_back_images_are_golden_even_if_fewer_are_checked(
    foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    asked = make_options(
        foreign_network, tmp_path / "b", precisions=("fp32",), eval="phantom:5@3", check_images=1
    )
    result = build(asked)
    assert result.report.conditions["images"] == 1
    assert len(read_golden(read_bundle(result.path))) == 3


def test_the_export_is_the_reference_where_pytorch_is_not_at_hand(built: Built) -> None:
    described = built.result.manifest.gate.reference
    assert described.startswith("the FP32 export through onnxruntime")
    assert "px from PyTorch at export" in described
    assert described.endswith("PyTorch weights were not at hand")


def test_pytorch_is_the_reference_where_it_is(
    foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    asked = make_options(
        foreign_network, tmp_path / "b", precisions=("fp32",), **in_pytorch(foreign_network)
    )
    result = build(asked)
    torch = package_versions()["torch"]
    assert result.manifest.gate.reference == f"PyTorch {torch} eager fp32 (weights.pt)"
    assert result.verdicts["onnxruntime-fp32"].passed


def test_the_code_alone_finds_the_weights_beside_the_onnx(
    foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    """By recorded name and digest; not the random weights that the code would make."""
    source = ModelSource(f"{foreign_network.code}:make", None, {}, foreign_network.spec)
    result = build(
        make_options(foreign_network, tmp_path / "b", precisions=("fp32",), model=source)
    )
    assert "(weights.pt)" in result.manifest.gate.reference
    assert result.verdicts["onnxruntime-fp32"].passed


def test_the_default_engine_is_the_fastest_that_passed(
    built: Built, foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    rows = {
        row.name: row.timings.p50_ms
        for row in built.result.report.rows
        if row.scope == "engine" and not row.is_reference
    }
    assert built.result.manifest.default_engine == min(rows, key=lambda name: rows[name])
    report = built.result.report
    slowest = max(rows, key=lambda name: rows[name])
    verdicts = {
        row.name: Limits(budget_px=-1, fp32_px=-1).judge(row.accuracy, row.precision)
        for row in report.rows
        if not row.is_reference
    }
    assert not any(verdict.passed for verdict in verdicts.values())
    verdicts[slowest] = built.result.verdicts[slowest]
    assert default_engine(report, verdicts) == slowest


IMPOSSIBLE = Limits(budget_px=0.0)


def test_an_engine_over_budget_leaves_no_bundle(
    foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    with pytest.raises(AccuracyError) as caught:
        build(make_options(foreign_network, tmp_path / "b", limits=IMPOSSIBLE))
    assert caught.value.exit_code == 3
    assert "onnxruntime-int8: mean displacement" in str(caught.value)
    assert caught.value.report.rows
    assert not list(tmp_path.iterdir())


def test_keep_failed_writes_it_and_says_that_it_failed(
    foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    asked = make_options(foreign_network, tmp_path / "b", limits=IMPOSSIBLE, keep_failed=True)
    result = build(asked)
    assert not result.verdicts["onnxruntime-int8"].passed
    bundle = read_bundle(result.path)
    assert not bundle.manifest.passed
    verdict = bundle.engine("onnxruntime-int8").verdict
    assert verdict is not None
    assert verdict.passed is False
    assert verdict.reasons


def test_same_inputs_give_the_same_graph(
    built: Built, foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    again = build(make_options(foreign_network, tmp_path / "b"))
    for name in ("model.int8.onnx", "plan.json", "ranges.json"):
        assert (again.path / name).read_bytes() == (built.path / name).read_bytes(), name
    first, second = (read_golden(read_bundle(p)) for p in (again.path, built.path))
    np.testing.assert_array_equal(first[0].points_px, second[0].points_px)


def test_bf16_engines_are_made_of_the_right_graph(built: Built) -> None:
    files = {engine.name: engine.files["onnx"] for engine in built.result.manifest.engines}
    native = has_native_bf16()
    assert files["openvino-bf16"] == ("model.onnx" if native else "model.bf16.onnx")
    assert files["onnxruntime-bf16"] == "model.bf16.onnx"
    (engine,) = (e for e in built.result.manifest.engines if e.name == "openvino-bf16")
    assert bool(engine.notes) is not native


def test_fp32_needs_no_images_whatever_the_landmarks(
    foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    """Three landmarks, although the phantoms that stand in have seven points."""
    asked = make_options(
        foreign_network,
        tmp_path / "b",
        precisions=("fp32",),
        calib=None,
        points=None,
        check_images=2,
    )
    result = build(asked)
    accuracy = result.manifest.engines[0].accuracy
    assert accuracy.images == 2
    assert accuracy.mre_px is None


def test_an_export_with_random_weights_is_made_again_by_its_seed(
    foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    proto = onnx.load(foreign_network.onnx)
    entry = next(e for e in proto.metadata_props if e.key == "mahtrt.source")
    source = {**json.loads(entry.value), "checkpoint": None, "checkpoint_sha256": None}
    entry.value = json.dumps({**source, "seed": SEED})
    onnx.save(proto, tmp_path / "net.onnx")
    model = ModelSource(f"{foreign_network.code}:make", None, {}, foreign_network.spec)
    asked = make_options(foreign_network, tmp_path / "b", precisions=("fp32",), model=model)
    result = build(dataclasses.replace(asked, onnx=tmp_path / "net.onnx"))
    assert f"random weights, seed {SEED}" in result.manifest.gate.reference
    assert result.verdicts["onnxruntime-fp32"].passed


def test_without_any_target_it_says_so(
    foreign_network: ForeignNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_module, "all_targets", list)
    with pytest.raises(MissingComponentError, match="mahtrt doctor"):
        build(make_options(foreign_network, tmp_path / "b", targets=("auto",)))


def test_a_limit_of_outputs_that_are_not_there_is_refused_before_the_work(
    foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    options = make_options(foreign_network, tmp_path / "b", limits=Limits(map_mean=0.1))
    told: list[str] = []
    with pytest.raises(UsageError, match="--budget-map: got a network that gives landmarks;"):
        build(options, lambda stage, *_: told.append(stage))
    assert told == ["reading"]
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("changed", "error", "says"),
    [
        (
            {"precisions": ("fp16",), "targets": ("openvino",)},
            MissingComponentError,
            "onnxruntime, onnxruntime-cuda, tensorrt, tensorrt-rtx",
        ),
        ({"int8_float": "fp8"}, UsageError, "--int8-float"),
        ({"target_options": (TensorRtOptions(workspace_mib=64),)}, UsageError, "--target tensorrt"),
        (
            {
                "targets": ("tensorrt-rtx",),
                "target_options": (TensorRtOptions(compute_capabilities=("SM1",)),),
            },
            UsageError,
            "SM1",
        ),
        ({"precisions": ("fp8",)}, UsageError, "fp8"),
        ({"precisions": ()}, UsageError, "none"),
        ({"calib": None}, UsageError, "--calib"),
        ({"targets": ("abacus",)}, UsageError, "abacus"),
        ({"targets": ("auto", "abacus")}, UsageError, "abacus"),
        ({"method": "magic"}, UsageError, "magic"),
        ({"percentile": 101.0}, UsageError, "101"),
        ({"limits": Limits(budget_px=-1)}, UsageError, "--budget-px: got -1"),
        ({"limits": Limits(budget_px=float("nan"))}, UsageError, "--budget-px: got nan"),
    ],
)
def test_options_are_judged_before_the_work(
    foreign_network: ForeignNetwork,
    tmp_path: Path,
    changed: dict[str, Any],
    error: type[Exception],
    says: str,
) -> None:
    told: list[str] = []
    with pytest.raises(error, match=says):
        build(
            make_options(foreign_network, tmp_path / "b", **changed),
            lambda stage, *_: told.append(stage),
        )
    assert told == []
    assert not list(tmp_path.iterdir())
