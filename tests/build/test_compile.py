"""Engines for this host from the graphs of a bundle."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from build_options import make_options
from foreign_network import ForeignNetwork
from programs import run_python

from mahtrt.build.build import build
from mahtrt.build.compile import CompileOptions, compile
from mahtrt.build.judge import AccuracyError
from mahtrt.bundle.bundle import BundleWriter, read_bundle, verify_bundle, write_bundle
from mahtrt.bundle.golden import read_golden
from mahtrt.bundle.manifest import Manifest
from mahtrt.bundle.pack import PackOptions, pack
from mahtrt.data.phantom import PhantomDataset
from mahtrt.errors import DataError, MissingComponentError, UsageError
from mahtrt.runtime.opening import open_session
from mahtrt.runtime.verify import VerifyOptions, verify
from mahtrt.targets.table import find_target

pytestmark = pytest.mark.slow

WITHOUT_EXPORT = """
import sys
sys.modules.update(torch=None, onnx=None, onnx_ir=None, onnxruntime=None, timm=None)
from mahtrt.cli import main
sys.argv = ["mahtrt", *sys.argv[1:]]
main()
"""


DATA = "phantom:5@9"


@pytest.fixture(scope="module")
def whole(foreign_network: ForeignNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with the graphs of FP32 and INT8, and engines of ONNX Runtime."""
    out = tmp_path_factory.mktemp("whole") / "whole.mahtrt"
    asked = make_options(foreign_network, out, precisions=("fp32", "int8"), eval="phantom:3@8")
    return build(asked).path


def image() -> np.ndarray:
    return PhantomDataset(1, 4)[0].image


def options(bundle: Path, out: Path, **changed: object) -> CompileOptions:
    asked = CompileOptions(bundle, "openvino", out, points=(0, 1, 2), threads=1)
    return dataclasses.replace(asked, **changed)  # type: ignore[arg-type]


def rewritten(bundle: Path, out: Path, **changed: object) -> Path:
    """A bundle with another manifest."""
    old = read_bundle(bundle)

    def finish(writer: BundleWriter, manifest: Manifest) -> None:
        writer.take(old, [record.path for record in manifest.files])
        writer.finish(manifest)

    with write_bundle(out) as writer:
        finish(writer, dataclasses.replace(old.manifest, **changed))  # type: ignore[arg-type]
    return out


def test_every_graph_is_compiled_checked_and_kept(whole: Path, tmp_path: Path) -> None:
    result = compile(options(whole, tmp_path / "here.mahtrt"))
    assert [engine.name for engine in result.manifest.engines] == ["openvino-fp32", "openvino-int8"]
    assert all(verdict.passed for verdict in result.verdicts.values())
    assert result.manifest.gate is not None
    assert "golden landmarks of" in result.manifest.gate.reference
    old = read_bundle(whole).manifest
    assert result.manifest.graphs == old.graphs
    assert (result.manifest.provenance, result.manifest.spec) == (old.provenance, old.spec)
    assert verify(VerifyOptions(result.path)).files == len(result.manifest.files)
    for engine in result.manifest.engines:
        assert engine.accuracy is not None
        assert engine.accuracy.images == 3
        assert engine.latency is not None
    found = []
    for place, engine_name in ((whole, "onnxruntime-fp32"), (result.path, "openvino-fp32")):
        with open_session(place, engine=engine_name, threads=1) as session:
            found.append(session.run(image()))
    np.testing.assert_allclose(found[0].points, found[1].points, atol=0.05)
    # How wide a map usually is was measured by the build; golden images cannot tell.
    assert found[0].two_peaks is not None
    np.testing.assert_array_equal(found[0].two_peaks, found[1].two_peaks)


def test_a_packed_bundle_is_compiled_without_the_export_packages(
    whole: Path, tmp_path: Path
) -> None:
    packed = pack(PackOptions(whole, tmp_path / "packed.mahtrt", "onnxruntime-int8"))
    command = ["compile", str(packed.path), "--target", "openvino", "--threads", "1"]
    ended = run_python("-c", WITHOUT_EXPORT, *command, OMP_NUM_THREADS="1")
    assert ended.returncode == 0, ended.stderr
    made = read_bundle(tmp_path / "packed.openvino.mahtrt")
    (engine,) = made.manifest.engines
    assert engine.name == "openvino-int8"
    assert engine.verdict is not None
    assert engine.verdict.passed


def test_images_of_the_callers_are_judged_against_the_fp32_graph(
    whole: Path, tmp_path: Path
) -> None:
    asked = options(whole, tmp_path / "here.mahtrt", eval=DATA, check_images=5)
    manifest = compile(asked).manifest
    assert manifest.gate is not None
    assert "the FP32 export through" in manifest.gate.reference
    assert {e.accuracy.images for e in manifest.engines if e.accuracy} == {5}


def test_a_precision_without_its_graph_is_left_out_and_said(whole: Path, tmp_path: Path) -> None:
    graphs = tuple(g for g in read_bundle(whole).manifest.graphs if g.name == "fp32")
    result = compile(
        options(rewritten(whole, tmp_path / "w.mahtrt", graphs=graphs), tmp_path / "here.mahtrt")
    )
    assert [engine.name for engine in result.manifest.engines] == ["openvino-fp32"]
    assert result.notes[0].startswith("int8: left out, its graph is not here.")
    assert "--int8 --calib DATA --target openvino" in result.notes[0]


def test_over_the_limits_nothing_is_written(whole: Path, tmp_path: Path) -> None:
    gate = read_bundle(whole).manifest.gate
    assert gate is not None
    narrow = dataclasses.replace(gate.budgets, budget_px=0.0, worst_landmark_px=0.0)
    strict = rewritten(
        whole, tmp_path / "strict.mahtrt", gate=dataclasses.replace(gate, budgets=narrow)
    )
    with pytest.raises(AccuracyError, match="openvino-int8") as caught:
        compile(options(strict, tmp_path / "here.mahtrt"))
    assert "--keep-failed" in str(caught.value)
    assert not (tmp_path / "here.mahtrt").exists()
    kept = compile(options(strict, tmp_path / "here.mahtrt", keep_failed=True))
    assert not kept.verdicts["openvino-int8"].passed
    assert kept.manifest.default_engine == "openvino-fp32"
    recorded = {engine.name: engine.golden for engine in kept.manifest.engines}
    assert recorded["openvino-fp32"] is not None
    assert recorded["openvino-int8"] is None  # which would excuse it in verify


def test_what_cannot_be_compiled_is_refused(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "here.mahtrt"
    for place in (whole, whole / "inside.mahtrt"):
        with pytest.raises(UsageError, match="the bundle itself"):
            compile(options(whole, place))
    packed = pack(PackOptions(whole, tmp_path / "p.mahtrt", "onnxruntime-int8")).path
    with pytest.raises(UsageError, match="without its FP32 graph"):
        compile(options(packed, out, eval=DATA))
    silent = rewritten(packed, tmp_path / "silent.mahtrt", golden=None)
    with pytest.raises(DataError, match="no golden images in the bundle"):
        compile(options(silent, out))
    rtx = find_target("tensorrt-rtx")
    if not rtx.runs_here:
        with pytest.raises(MissingComponentError, match="a target whose engines run"):
            compile(options(whole, out, target="tensorrt-rtx"))
    with pytest.raises(UsageError, match="--int8 --calib DATA --target tensorrt-rtx"):
        compile(options(packed, out, target="tensorrt-rtx"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.mahtrt", "silent.mahtrt"]


def test_a_pack_is_one_engine_and_nothing_else(whole: Path, tmp_path: Path) -> None:
    result = pack(PackOptions(whole, tmp_path / "packed.mahtrt", "onnxruntime-int8"))
    names = {p.relative_to(result.path).as_posix() for p in result.path.rglob("*") if p.is_file()}
    golden = {f"golden/{i}.{kind}" for i in range(3) for kind in ("png", "f32")}
    assert names == {"manifest.json", "model.int8.onnx", "reference-statistics.json", *golden}
    assert result.bytes_after < result.bytes_before
    old = read_bundle(whole)
    assert result.manifest.engines == (old.engine("onnxruntime-int8"),)
    verify_bundle(result.path)
    for before, after in zip(read_golden(old), read_golden(read_bundle(result.path)), strict=True):
        np.testing.assert_array_equal(before.image, after.image)
        np.testing.assert_array_equal(before.points_px, after.points_px)
    found = []
    for place in (whole, result.path):
        with open_session(place, engine="onnxruntime-int8", threads=1) as session:
            found.append(session.run(image()).points)
            assert session.verdict
    np.testing.assert_array_equal(found[0], found[1])
    with pytest.raises(UsageError, match=r"expected one of onnxruntime-int8\. A packed bundle"):
        open_session(result.path, engine="onnxruntime-fp32")
    with pytest.raises(UsageError, match="the bundle itself"):
        pack(PackOptions(whole, whole))
