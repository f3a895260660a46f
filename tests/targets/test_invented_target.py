"""A new target is one folder and one line in the table: shared code needs no other change.

The folder is ``tests/support/abacus``: an engine format of its own, and a device that tests put on
the table and take away.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import abacus.target
import numpy as np
import pytest
from abacus.target import MAGIC, AbacusBackend, AbacusOptions
from build_options import make_options
from foreign_network import ForeignNetwork

import mahtrt
from mahtrt.benchmarks.bench import bench
from mahtrt.benchmarks.options import BenchOptions
from mahtrt.build.build import build
from mahtrt.build.compile import CompileOptions, compile
from mahtrt.build.result import BuildResult
from mahtrt.data.datasets import open_dataset
from mahtrt.errors import MissingComponentError, UsageError
from mahtrt.inspection.inspect import InspectOptions, inspect
from mahtrt.runtime.opening import open_session
from mahtrt.runtime.verify import VerifyOptions, verify
from mahtrt.targets.table import TARGETS
from mahtrt.verbs.diagnosis import doctor

pytestmark = pytest.mark.slow

PACKAGE = Path(mahtrt.__file__).parent


@pytest.fixture(scope="module", autouse=True)
def _in_the_table() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TARGETS, "abacus", "abacus.target:TARGET")
        yield


@pytest.fixture(scope="module")
def built(foreign_network: ForeignNetwork, tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    """With the device: FP32, FP16 and INT8 beside FP16, judged on the engines themselves."""
    out = tmp_path_factory.mktemp("abacus") / "with.mahtrt"
    asked = make_options(
        foreign_network,
        out,
        targets=("auto",),
        precisions=("fp32", "fp16", "int8"),
        target_options=(AbacusOptions(rods=13),),
    )
    return build(asked)


@pytest.fixture
def _no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abacus.target, "on_the_table", None)


def test_its_engines_are_built_and_judged(built: BuildResult) -> None:
    records = {record.name: record for record in built.manifest.engines}
    graphs = {name: records[f"abacus-{name}"].files["onnx"] for name in ("fp32", "fp16", "int8")}
    assert graphs == {
        "fp32": "model.onnx",
        "fp16": "model.fp16.onnx",
        "int8": "model.int8-fp16.onnx",
    }
    beads = (built.path / records["abacus-int8"].files["beads"]).read_bytes()
    assert beads.startswith(MAGIC)
    assert built.verdicts["abacus-int8"].passed
    assert {record.verdict.measured_on for record in records.values()} == {"engine"}
    assert {graph.name: graph.weight_bits for graph in built.manifest.graphs}["int8-fp16"] == 8
    assert "abacus-fp32: built with 5 beads a rod" in built.notes
    assert records["abacus-fp32"].device.settings["rods"] == "13"


def test_its_options_are_for_it_alone(foreign_network: ForeignNetwork, tmp_path: Path) -> None:
    few = {"target_options": (AbacusOptions(rods=0),)}
    with pytest.raises(UsageError, match=r"options for an abacus: .* expected --target abacus"):
        build(make_options(foreign_network, tmp_path / "b", **few))
    with pytest.raises(UsageError, match="rods: got 0"):
        build(make_options(foreign_network, tmp_path / "b", targets=("abacus",), **few))


def absent(built: BuildResult) -> dict[str, str]:
    """Why engines are not verified here, "" for those that are."""
    return {each.engine: each.absent for each in verify(VerifyOptions(built.path)).replays}


def test_its_engines_predict_and_are_verified(built: BuildResult) -> None:
    image = open_dataset("phantom:1@7")[0].image
    before = AbacusBackend.moves
    with (
        open_session(built.path, engine="abacus-fp32") as ours,
        open_session(built.path, engine="onnxruntime-fp32") as theirs,
    ):
        np.testing.assert_array_equal(ours.run(image).points, theirs.run(image).points)
    assert AbacusBackend.moves == before + 1
    assert absent(built)["abacus-int8"] == ""


def test_its_engine_files_are_known(built: BuildResult) -> None:
    (record,) = (each for each in built.manifest.engines if each.name == "abacus-int8")
    found = inspect(InspectOptions(built.path / record.files["beads"])).plan
    assert found is not None
    assert found.flavour == "abacus"
    assert found.layers is not None
    assert found.layers.int8_layers


def test_its_engines_are_compiled_from_a_bundle(built: BuildResult, tmp_path: Path) -> None:
    result = compile(CompileOptions(built.path, "abacus", tmp_path / "again.mahtrt"))
    names = [record.name for record in result.manifest.engines]
    assert names == ["abacus-fp32", "abacus-fp16", "abacus-int8"]
    assert all(verdict.passed for verdict in result.verdicts.values())


def test_its_engines_are_timed(built: BuildResult) -> None:
    report = bench(BenchOptions(built.path, engines=("abacus",), rounds=2))
    (row,) = (row for row in report.rows if row.scope == "engine" and not row.is_reference)
    assert row.name.startswith("abacus-")
    assert row.timings is not None


def test_a_plan_is_searched_for_on_it(foreign_network: ForeignNetwork, tmp_path: Path) -> None:
    """Not on a CPU that is there as well: its rank is higher."""
    asked = make_options(
        foreign_network,
        tmp_path / "b.mahtrt",
        targets=("onnxruntime", "abacus"),
        calib="phantom:12@1",
        plan="auto",
        plan_minutes=0.02,
    )
    result = build(asked)
    (note,) = (note for note in result.notes if note.startswith("plan: "))
    assert "abacus" in note
    assert "fp16" in note


@pytest.mark.usefixtures("_no_device")
def test_without_the_device_its_graph_is_judged(
    foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    asked = make_options(
        foreign_network, tmp_path / "b.mahtrt", targets=("abacus",), precisions=("fp32",)
    )
    result = build(asked)
    (record,) = result.manifest.engines
    assert "through ONNX Runtime" in record.verdict.measured_on
    with pytest.raises(MissingComponentError, match="no abacus on the table"):
        open_session(result.path)
    with pytest.raises(MissingComponentError, match="no abacus on the table"):
        build(make_options(foreign_network, tmp_path / "c", targets=("abacus",), plan="auto"))


def test_without_the_device_another_engine_runs(
    built: BuildResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = built.manifest
    monkeypatch.setattr(abacus.target, "on_the_table", None)
    assert absent(built)["abacus-fp32"] == "no abacus on the table"
    report = bench(BenchOptions(built.path, engines=("openvino",), rounds=1))
    assert report.rows
    if manifest.default_engine.startswith("abacus"):
        with open_session(built.path) as session:
            assert not session.name.startswith("abacus")
            assert "no abacus on the table" in session.engine_notes[0]


def test_doctor_tells_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    (check,) = (c for c in doctor().checks if c.name == "run abacus")
    assert (check.status, check.detail) == ("ok", "yes, on Soroban 23")
    monkeypatch.setattr(abacus.target, "on_the_table", None)
    (check,) = (c for c in doctor().checks if c.name == "run abacus")
    assert (check.status, check.fix) == ("missing", "Put one there.")


def _asks(tree: ast.AST) -> Iterator[int]:
    """Lines that compare something with a target's name, or ask what kind of target it is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            parts = [each for side in (node.left, *node.comparators) for each in ast.walk(side)]
            if any(isinstance(each, ast.Constant) and each.value in TARGETS for each in parts):
                yield node.lineno
        if isinstance(node, ast.MatchValue) and getattr(node.value, "value", None) in TARGETS:
            yield node.lineno
        if isinstance(node, ast.Attribute) and node.attr in ("typed", "needs_gpu"):
            yield node.lineno


def _shared_code() -> Iterator[tuple[str, ast.AST]]:
    folders = {name for name in (PACKAGE / "targets").iterdir() if name.is_dir()}
    for path in sorted(PACKAGE.rglob("*.py")):
        if not folders & set(path.parents):
            yield str(path.relative_to(PACKAGE)), ast.parse(path.read_text(encoding="utf-8"))


def test_shared_code_asks_for_no_target() -> None:
    assert [f"{path}:{line}" for path, tree in _shared_code() for line in _asks(tree)] == []


def test_shared_code_imports_no_target_but_one() -> None:
    """ONNX Runtime is also what graphs are computed with; options are for the user to give."""
    folder = re.compile(r"mahtrt\.targets\.\w+\.")
    found = {
        node.module
        for _, tree in _shared_code()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and folder.match(node.module or "")
    }
    assert found == {"mahtrt.targets.onnxruntime.run", "mahtrt.targets.tensorrt.options"}
