"""``mahtrt calibrate`` through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from foreign_network import ForeignNetwork
from PIL import Image
from typer.testing import CliRunner, Result

from mahtrt.bundle.plan import load_plan
from mahtrt.cli import app

pytestmark = pytest.mark.slow


def calibrate(network: ForeignNetwork, out: Path, *options: str) -> Result:
    asked = ["calibrate", str(network.onnx), "--calib=phantom:4@1", "--threads=1", f"--out={out}"]
    return CliRunner().invoke(app, [*asked, *options])


def test_the_card_and_its_files(foreign_network: ForeignNetwork, tmp_path: Path) -> None:
    result = calibrate(foreign_network, tmp_path / "c")
    assert result.exit_code == 0, result.output
    assert "calibrated on 4 images" in result.stdout
    assert {place.name for place in (tmp_path / "c").iterdir()} == {
        "card.json",
        "plan.json",
        "ranges.json",
    }
    card = json.loads((tmp_path / "c/card.json").read_text())
    assert card["card"]["images"] == 4
    assert json.loads((tmp_path / "c/ranges.json").read_text())["images"] == 4
    assert load_plan(tmp_path / "c/plan.json").int8_nodes


def test_the_sensitivity_by_block(
    foreign_network: ForeignNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")  # a narrower table wraps its headings
    result = calibrate(foreign_network, tmp_path / "c", "--sensitivity", "--images=2")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "c/sensitivity.json").read_text())
    assert found["blocks"]
    assert found["half"] == "bf16"
    assert {each["name"] for each in found["blocks"]} <= {e["name"] for e in found["half_blocks"]}
    assert "in bf16" in result.stdout
    for block in found["blocks"]:
        assert block["name"] in result.stdout
        assert len(block["cells"]) == len(found["landmarks"]) == 3
    with Image.open(tmp_path / "c/sensitivity.png") as picture:
        assert min(picture.size) > 50
    assert load_plan(tmp_path / "c/plan.json").int8_nodes


def test_a_usual_cache_that_others_may_write_is_noted(
    foreign_network: ForeignNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mahtrt").mkdir()
    (tmp_path / "mahtrt").chmod(0o775)
    monkeypatch.delenv("MAHTRT_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    result = calibrate(foreign_network, tmp_path / "c", "--sensitivity", "--images=1")
    assert result.exit_code == 0, result.output
    assert "Sensitivities are not kept" in result.stderr


def test_another_half_precision_is_refused(foreign_network: ForeignNetwork, tmp_path: Path) -> None:
    result = calibrate(foreign_network, tmp_path / "c", "--sensitivity", "--half=tf32")
    assert result.exit_code == 2
    assert "--half: got 'tf32'; expected fp16 or bf16" in result.stderr
    assert not (tmp_path / "c").exists()


def test_what_is_no_export_is_refused(foreign_network: ForeignNetwork, tmp_path: Path) -> None:
    place = tmp_path / "x.onnx"
    place.write_bytes(b"no network")
    out = tmp_path / "c"
    asked = ["calibrate", str(place), "--calib=phantom:4@1", f"--out={out}"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 1
    assert "x.onnx" in result.stderr
    assert not out.exists()


def test_options_are_judged_before_the_work(
    foreign_network: ForeignNetwork, tmp_path: Path
) -> None:
    result = calibrate(foreign_network, tmp_path / "c", "--method=magic")
    assert result.exit_code == 2
    assert "magic" in result.stderr
    (tmp_path / "f").write_text("mine")
    assert calibrate(foreign_network, tmp_path / "f").exit_code == 2
    assert (tmp_path / "f").read_text() == "mine"
