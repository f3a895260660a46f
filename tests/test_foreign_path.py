"""A network that mahtrt does not know goes through every verb, by a spec and nothing else."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from foreign_network import CODE, LANDMARKS, POINTS, ForeignNetwork, run
from PIL import Image
from typer.testing import Result

import mahtrt
from mahtrt.build import judge as judge_module
from mahtrt.bundle.bundle import read_bundle
from mahtrt.data.phantom import make_phantom
from mahtrt.spec import load_spec, spec_from_dict

pytestmark = pytest.mark.slow

DOCUMENT = Path(__file__).parents[1] / "docs" / "foreign-models.md"
ENGINES = {"openvino-fp32", "openvino-int8", "onnxruntime-fp32", "onnxruntime-int8"}


@dataclass(frozen=True, slots=True)
class Built:
    bundle: Path
    result: Result


@pytest.fixture(scope="module")
def built(foreign_network: ForeignNetwork, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The bundle, by the command that docs/foreign-models.md gives."""
    bundle = tmp_path_factory.mktemp("built") / "net.mahtrt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge_module, "TIMED_ROUNDS", 2)
        result = run(
            "build",
            foreign_network.onnx,
            "--fp32",
            "--int8",
            "--calib=phantom:8@1",
            f"--points={POINTS}",
            "--threads=1",
            *foreign_network.reference,
            f"--out={bundle}",
        )
    assert result.exit_code == 0, result.output
    return Built(bundle, result)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of another size and aspect than the network's input."""
    place = tmp_path_factory.mktemp("picture") / "a[b].png"  # brackets are rich's markup
    Image.fromarray(np.asarray(make_phantom(6, size=(160, 120)).image)).save(place)
    return place


def test_export_completes_the_spec_and_holds_parity(foreign_network: ForeignNetwork) -> None:
    exported = foreign_network.exported
    assert exported.exit_code == 0, exported.output
    assert exported.stdout.count("pass") == 4
    metadata = {e.key: json.loads(e.value) for e in onnx.load(foreign_network.onnx).metadata_props}
    kinds = {output["kind"] for output in metadata["mahtrt.spec"]["outputs"]}
    assert kinds == {"heatmaps", "landmarks", "confidence", "spread"}
    assert metadata["mahtrt.spec"]["decode"]["heatmap_size"] == [64, 64]
    source = metadata["mahtrt.source"]
    assert (source["model"], source["checkpoint"]) == ("net.py:make", "weights.pt")
    assert str(foreign_network.folder) not in json.dumps(metadata), "folders leaked"


def test_the_concat_blocks_are_int8(built: Built) -> None:
    plan = json.loads((built.bundle / "plan.json").read_text())
    blocks = {block["name"]: block for block in plan["blocks"]}
    assert blocks["join.0"]["precision"] == blocks["join.1"]["precision"] == "int8"
    # The stem, the head and the stage before it stay, and what is too small to pay.
    kept = {name: b["reason"] for name, b in blocks.items() if b["precision"] == "float"}
    assert set(kept) == {"down.0", "down.3", "up.0", "join.2", "head"}
    assert all("does not pay" in kept[name] for name in ("down.3", "up.0"))
    graph = onnx.load(built.bundle / "model.int8.onnx").graph
    maker = {name: node for node in graph.node for name in node.output}
    joins = [node for node in graph.node if node.name in ("join.0.0.Conv", "join.1.0.Conv")]
    assert len(joins) == 2
    for join in joins:
        dequantize = maker[join.input[0]]
        assert dequantize.op_type == "DequantizeLinear"
        quantize = maker[dequantize.input[0]]
        assert maker[quantize.input[0]].op_type == "Concat"


def test_the_build_compares_with_the_networks_own_pytorch(built: Built) -> None:
    manifest = read_bundle(built.bundle).manifest
    assert {engine.name for engine in manifest.engines} == ENGINES
    assert manifest.passed
    assert manifest.gate.reference.endswith("eager fp32 (weights.pt)")
    moved: dict[str, Any] = {engine.name: engine.accuracy.mean_px for engine in manifest.engines}
    # The weights of weights.pt and no others: random ones would be pixels away.
    assert moved["openvino-fp32"] <= 0.001
    # Quantised, and so not the same; the usual budget holds although the weights are random.
    assert 0.001 < moved["openvino-int8"] <= 0.25
    assert 0.001 < moved["onnxruntime-int8"] <= 0.25


def test_bench(foreign_network: ForeignNetwork, built: Built) -> None:
    result = run(
        "bench",
        built.bundle,
        "--data=phantom:3@2",
        f"--points={POINTS}",
        "--rounds=2",
        "--threads=1",
        "--latency-budget-ms=1e9",
        *foreign_network.reference,
        "--json=-",
    )
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)  # one document, the table went to stderr
    assert report["schema"] == "mahtrt.bench/1"
    assert {(row["backend"], row["precision"]) for row in report["rows"]} == {
        ("pytorch", "fp32"),
        *(tuple(name.split("-")) for name in ENGINES),
    }
    assert "(weights.pt), " in report["conditions"]["reference"]
    assert report["model"]["landmarks"] == list(LANDMARKS)
    assert "PASS" in result.stderr


def test_bench_finds_the_checkpoint_beside_the_bundle(
    foreign_network: ForeignNetwork, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given the code, the weights are found by their recorded digest, not made up at random."""
    monkeypatch.chdir(foreign_network.folder)
    code = [part for part in foreign_network.reference if not part.startswith("--reference")]
    result = run(
        "bench",
        built.bundle,
        "--rounds=1",
        "--engine=onnxruntime-fp32",
        "--latency-budget-ms=1e9",
        *code,
    )
    assert result.exit_code == 0, result.output
    assert "(weights.pt)" in result.stdout


def test_predict(built: Built, picture: Path, tmp_path: Path) -> None:
    overlays = tmp_path / "overlays"
    result = run(
        "predict",
        built.bundle,
        picture,
        f"--json={tmp_path / 'found.json'}",
        f"--csv={tmp_path / 'found.csv'}",
        f"--overlay={overlays}",
        "--spacing-mm=0.5",
    )
    assert result.exit_code == 0, result.output
    (image,) = json.loads((tmp_path / "found.json").read_text())["images"]
    with (tmp_path / "found.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["landmark"] for row in rows] == list(LANDMARKS)
    assert [landmark["name"] for landmark in image["landmarks"]] == list(LANDMARKS)
    with mahtrt.open(built.bundle) as session:
        points = session.run(np.asarray(Image.open(picture))).points
    found = np.array([[float(row["x"]), float(row["y"])] for row in rows])
    np.testing.assert_allclose(found, points, atol=1e-3)
    assert (found >= 0).all()
    assert (found < (120, 160)).all()
    assert [place.name for place in overlays.iterdir()] == ["a[b].overlay.png"]
    assert image["overlay"] == str(overlays / "a[b].overlay.png")
    with Image.open(overlays / "a[b].overlay.png") as drawn:
        assert drawn.mode == "RGB"


def test_predict_without_files_shows_a_table(built: Built, picture: Path) -> None:
    result = run("predict", built.bundle, picture)
    assert result.exit_code == 0, result.output
    assert "a[b].png" in "".join(result.stdout.split())
    assert all(name in result.stdout for name in LANDMARKS)


def test_verify(built: Built) -> None:
    result = run("verify", built.bundle)
    assert result.exit_code == 0, result.output
    assert all(f"{name}: golden landmarks moved by" in result.stdout for name in ENGINES)


def test_an_input_size_belongs_into_the_spec(
    foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    result = run(
        "export",
        f"{foreign_network.code}:make",
        f"--spec={foreign_network.spec}",
        "--input-size=32",
        f"--out={tmp_path / 'net.onnx'}",
    )
    assert result.exit_code == 2
    assert "Change the size of the input in the spec" in result.stderr
    assert not list(tmp_path.iterdir())


def test_the_console_script_ends_with_the_exit_code(built: Built, picture: Path) -> None:
    command = [sys.executable, "-m", "mahtrt.cli", "predict", str(built.bundle), str(picture)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    good = subprocess.run(
        [*command, "--csv=-"], capture_output=True, text=True, env=environment, check=False
    )
    assert good.returncode == 0, good.stderr
    assert good.stdout.startswith("image,landmark,x,y")
    assert len(good.stdout.splitlines()) == 1 + len(LANDMARKS)
    bad = subprocess.run(
        [*command, "--engine=nothing"], capture_output=True, text=True, env=environment, check=False
    )
    assert bad.returncode == 2
    assert bad.stdout == ""
    assert bad.stderr.startswith("error: engine 'nothing'")
    assert len(bad.stderr.splitlines()) == 1


def blocks(language: str) -> list[str]:
    """The fenced blocks of the document in a language."""
    parts = DOCUMENT.read_text(encoding="utf-8").split("```")[1::2]
    return [part.partition("\n")[2] for part in parts if part.partition("\n")[0] == language]


def test_the_documented_specs_can_be_read() -> None:
    specs = [spec_from_dict(tomllib.loads(block)) for block in blocks("toml")]
    assert specs
    full = specs[-1]
    # The complete example shows every field that the spec has.
    told = tomllib.loads(blocks("toml")[-1])
    assert set(told["inputs"][0]) == set(full.to_dict()["inputs"][0])
    assert set(told["decode"]) == set(full.to_dict()["decode"])
    assert set(told["quantize"]) == set(full.to_dict()["quantize"])


def test_the_documented_network_and_commands_are_the_tested_ones(tmp_path: Path) -> None:
    (code,) = blocks("python")
    assert code.strip() == CODE.strip()
    (tmp_path / "spec.toml").write_text(blocks("toml")[0])
    assert load_spec(tmp_path / "spec.toml").landmarks == LANDMARKS
