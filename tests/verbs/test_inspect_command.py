"""``mahtrt inspect`` through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from tiny_network import make_model
from typer.testing import CliRunner

from mahtrt.cli import app

runner = CliRunner()


@pytest.fixture
def network(tmp_path: Path) -> Path:
    place = tmp_path / "net.onnx"
    onnx.save(make_model(), place)
    return place


def test_an_onnx_file_as_a_table(network: Path) -> None:
    result = runner.invoke(app, ["inspect", str(network)])
    assert result.exit_code == 0, result.output
    assert "net.onnx: " in result.output
    assert "image" in result.output
    assert "fp32" in result.output.lower()


def test_a_bundle_as_a_table_names_the_files_of_its_engines(tiny_bundle: Path) -> None:
    result = runner.invoke(app, ["inspect", str(tiny_bundle)])
    assert result.exit_code == 0, result.output
    for file in ("model.xml", "model.bin", "model.blob"):
        assert file in result.output


def test_a_bundle_as_json(tiny_bundle: Path) -> None:
    result = runner.invoke(app, ["inspect", str(tiny_bundle), "--json", "-", "--graphs"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["schema"] == "mahtrt.inspect/2"
    assert found["kind"] == "bundle"
    assert found["bundle"]["engines"]


@pytest.mark.parametrize(("content", "code"), [(None, 1), (b"no network", 1)])
def test_what_cannot_be_inspected(tmp_path: Path, content: bytes | None, code: int) -> None:
    place = tmp_path / "x.onnx"
    if content is not None:
        place.write_bytes(content)
    result = runner.invoke(app, ["inspect", str(place)])
    assert result.exit_code == code
    assert "x.onnx" in result.stderr
    assert "Traceback" not in result.output


def test_a_graph_that_reads_what_is_not_made_yet_is_refused(tmp_path: Path) -> None:
    shape = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    nodes = [
        onnx.helper.make_node("Identity", ["b"], ["a"], name="first"),
        onnx.helper.make_node("Identity", ["a"], ["b"], name="second"),
        onnx.helper.make_node("MatMul", ["a", "b"], ["y"], name="third"),
    ]
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], [shape]))
    onnx.save(model, tmp_path / "x.onnx")
    result = runner.invoke(app, ["inspect", str(tmp_path / "x.onnx")])
    assert result.exit_code == 1
    assert "node 'first' that reads 'b' before it is made" in result.stderr
