from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_maps
from bench_fakes import FakeDataset
from dossiers import IMAGES, Written, quick
from tiny_bundle import write_tiny

from mahtrt.bundle.bundle import read_bundle
from mahtrt.data.facts import pixel_digest
from mahtrt.dossier import change
from mahtrt.dossier import dossier as dossier_module
from mahtrt.dossier.dossier import write_dossier
from mahtrt.dossier.options import DossierOptions
from mahtrt.dossier.rendering import TO_FILL_IN
from mahtrt.errors import DataError, MissingComponentError, UsageError
from mahtrt.measure.limits import Limits
from mahtrt.runtime.opening import open_engine

ENGINES = ("openvino-int8", "openvino-fp32", "onnxruntime-int8", "onnxruntime-fp32")


def sha256_of(place: Path) -> str:
    return hashlib.sha256(place.read_bytes()).hexdigest()


def test_every_file_is_listed_with_its_digest(dossier: Written) -> None:
    folder = dossier.result.folder
    names = {place.name for place in folder.iterdir()}
    assert names == set(dossier.result.files)
    listed = {each["path"]: each["sha256"] for each in dossier.json("manifest.json")["files"]}
    assert set(listed) == names - {"manifest.json", "SHA256SUMS"}
    assert all(sha256_of(folder / name) == digest for name, digest in listed.items())
    lines = [line.split("  ") for line in dossier.text("SHA256SUMS").splitlines()]
    sums = {name: digest for digest, name in lines}
    assert sums == listed | {"manifest.json": sha256_of(folder / "manifest.json")}


def test_the_result_names_the_protocol_that_was_fixed_before(dossier: Written) -> None:
    protocol, result = dossier.json("protocol.json"), dossier.json("verification.json")
    assert result["protocol"]["sha256"] == sha256_of(dossier.result.folder / "protocol.json")
    assert protocol["fixed_at"] <= result["started"] <= result["finished"]
    assert protocol["limits"]["accuracy"]["budget_px"] == 0.25
    assert protocol["limits"]["latency_p99_ms"] == 100.0
    assert dossier.json("equivalence.json")["protocol_sha256"] == result["protocol"]["sha256"]
    assert result["protocol"]["sha256"] in dossier.text("verification.md")


def test_the_protocol_is_written_before_anything_is_measured(
    bundles: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    def no_bench(*_: object) -> None:
        folders = tmp_path.rglob("protocol.json")
        written.extend(json.loads(p.read_text())["schema"] for p in folders)
        raise RuntimeError("measured")

    monkeypatch.setattr(dossier_module, "bench", no_bench)
    with pytest.raises(RuntimeError, match="measured"):
        write_dossier(DossierOptions(quick(bundles[1]), tmp_path / "dossier", pdf=False))
    assert written == ["mahtrt.protocol/1"]
    assert list(tmp_path.iterdir()) == []  # nothing half-written


def test_the_protocol_names_every_image_and_every_engine_file(dossier: Written) -> None:
    protocol, data = dossier.json("protocol.json"), FakeDataset(IMAGES)
    assert [case["name"] for case in protocol["data"]["cases"]] == list(data.names)
    assert [case["sha256"] for case in protocol["data"]["cases"]] == [
        [pixel_digest(sample.image)] for sample in data
    ]
    for engine in protocol["engines"]:
        for path, digest in engine["files"].items():
            assert sha256_of(dossier.bundle / path) == digest


def test_the_verdict_on_each_limit_is_told(dossier: Written) -> None:
    result = dossier.json("verification.json")
    engines = {each["name"]: each for each in result["engines"]}
    assert set(engines) == set(ENGINES)
    int8 = {each["what"]: each for each in engines["openvino-int8"]["limits"]}
    mean = int8["mean displacement"]
    assert mean["value"] == pytest.approx(0.1, abs=1e-4)
    assert mean["interval"] == pytest.approx([0.1, 0.1], abs=1e-4)
    assert (mean["limit"], mean["unit"], mean["passed"]) == (0.25, "px", True)
    assert result["latency"]["engine"] == "openvino-int8"
    assert result["passed"]
    assert dossier.result.exit_code == 0


def test_the_certificate_compares_each_engine_with_each(dossier: Written) -> None:
    found = dossier.json("equivalence.json")
    assert len(found["pairs"]) == 4 + 6
    pairs = {(each["first"], each["second"]): each for each in found["pairs"]}
    among = pairs["openvino-int8", "openvino-fp32"]
    # 0.1 network pixels are 0.2 image pixels of 0.5 mm.
    for name, value in (("mean_px", 0.1), ("p99_px", 0.1), ("max_px", 0.1)):
        assert among[name] == pytest.approx(value, abs=1e-4)
    for name in ("mean_mm", "p99_mm", "max_mm"):
        assert among[name] == pytest.approx(0.1, abs=1e-4)
    same = pairs["openvino-int8", "onnxruntime-int8"]
    assert same["max_px"] == pytest.approx(0.0, abs=1e-4)
    assert found["complete"]
    assert found["passed"]
    assert {engine["name"] for engine in found["engines"]} == set(ENGINES)
    assert all(sentence in dossier.text("equivalence.md") for sentence in found["scope"])


def test_a_change_is_measured_and_named(dossier: Written) -> None:
    found = dossier.json("change.json")
    changed = {each["what"] for each in found["changed"]}
    assert {"bundle", "graph int8", "engine openvino-int8"} <= changed
    assert {"graph fp32", "engine openvino-fp32", "precision"} <= set(found["unchanged"])
    default, *others = found["engines"]
    assert (default["first"], default["second"]) == ("old openvino-int8", "new openvino-int8")
    assert default["displacement"]["mean_px"] == pytest.approx(0.2, abs=1e-4)
    assert default["displacement"]["max_mm"] == pytest.approx(0.2, abs=1e-4)
    assert default["passed"]
    fp32 = next(each for each in others if each["second"] == "new openvino-fp32")
    assert fp32["displacement"]["identical"]
    assert found["complete"]
    # Neither of the two bundles says what its weights were.
    assert "weights" in found["not_known"]
    assert "weights" not in found["unchanged"]


def test_a_change_is_not_within_its_limits_where_an_engine_did_not_run(
    bundles: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def opened(bundle: Any, *, engine: str, threads: int | None) -> Any:
        if engine == "openvino-int8":
            raise MissingComponentError("openvino-int8", got="another CPU")
        return open_engine(bundle, engine=engine, threads=threads)

    monkeypatch.setattr(change, "open_engine", opened)
    old, new = bundles
    options = DossierOptions(quick(new), tmp_path / "dossier", pdf=False, changed_from=old)
    result = write_dossier(options)
    found = json.loads((tmp_path / "dossier" / "change.json").read_text())
    assert (found["complete"], found["passed"], result.accuracy_pass) == (False, False, False)
    assert "NOT COMPLETE" in (tmp_path / "dossier" / "change.md").read_text()


def test_builds_that_are_the_same_move_nothing(dossier: Written) -> None:
    found = dossier.json("rebuild.json")
    assert len(found["builds"]) == 2
    assert found["largest_between_builds"]["max_px"] == 0.0
    assert all(each["displacement"]["max_px"] < 1e-4 for each in found["builds"])
    assert "to the last bit" in dossier.text("rebuild.md")


def test_what_only_the_team_knows_is_marked(dossier: Written) -> None:
    card = dossier.text("model_card.md")
    assert card.count(TO_FILL_IN) > 10
    assert "sella, nasion, menton" in card
    assert "openvino-int8" in card


def test_third_party_software_has_versions_and_licences(dossier: Written) -> None:
    rows = list(csv.DictReader(dossier.text("third_party.csv").splitlines()))
    found = {row["name"]: row for row in rows}
    assert {"numpy", "openvino", "onnxruntime", "Python"} <= set(found)
    assert "mahtrt" not in found
    assert found["numpy"]["version"] == np.__version__
    assert all(row["licence"] for row in rows if row["name"] in ("numpy", "openvino"))


def test_what_is_over_a_limit_is_filed_and_said(bundles: tuple[Path, Path], tmp_path: Path) -> None:
    asked = quick(bundles[1], limits=Limits(budget_px=0.05), latency_budget_ms=1e-6)
    result = write_dossier(DossierOptions(asked, tmp_path / "dossier", pdf=False))
    assert result.exit_code == 3
    assert any(each.startswith("verification of openvino-int8: mean") for each in result.reasons)
    assert any(each.startswith("equivalence of openvino-int8 and") for each in result.reasons)
    assert "end_to_end p99" in result.reasons[-1]
    written = json.loads((tmp_path / "dossier" / "verification.json").read_text())
    assert not written["passed"]
    assert "FAILED" in (tmp_path / "dossier" / "verification.md").read_text()
    assert "change.json" not in result.files


@pytest.mark.parametrize("what", ["file", "folder", "in the bundle"])
def test_a_place_that_holds_something_else_is_refused(
    bundles: tuple[Path, Path], tmp_path: Path, what: str
) -> None:
    place = tmp_path / "place"
    if what == "file":
        place.write_text("mine")
    elif what == "folder":
        place.mkdir()
        (place / "notes.txt").write_text("mine")
    else:
        place = bundles[1] / "dossier"
    with pytest.raises(UsageError, match="--dossier"):
        write_dossier(DossierOptions(quick(bundles[1]), place, pdf=False))
    left = sorted(p.name for p in tmp_path.rglob("*"))
    assert left == {"file": ["place"], "folder": ["notes.txt", "place"]}.get(what, [])


def test_a_dossier_is_replaced_whole(dossier: Written, tmp_path: Path) -> None:
    place = Path(shutil.copytree(dossier.result.folder, tmp_path / "dossier"))
    assert (place / "change.json").exists()
    write_dossier(DossierOptions(quick(dossier.bundle), place, pdf=False))
    assert not (place / "change.json").exists()
    assert (place / "SHA256SUMS").exists()


@pytest.mark.parametrize("name", ["model_card.md", "protocol.json.tsr"])
def test_what_a_team_wrote_into_a_dossier_is_not_lost(
    dossier: Written, tmp_path: Path, name: str
) -> None:
    place = Path(shutil.copytree(dossier.result.folder, tmp_path / "dossier"))
    (place / name).write_text("the team's")
    with pytest.raises(UsageError, match=f"edited or added since: {re.escape(name)}"):
        write_dossier(DossierOptions(quick(dossier.bundle), place, pdf=False))
    assert (place / name).read_text() == "the team's"


def test_a_bundle_without_images_is_refused(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "none.mahtrt", golden=())
    with pytest.raises(DataError, match=r"Give --data"):
        write_dossier(DossierOptions(quick(bundle, data=None), tmp_path / "dossier", pdf=False))
    assert [p.name for p in tmp_path.iterdir()] == ["none.mahtrt"]


def test_bundles_of_other_networks_are_refused(
    bundles: tuple[Path, Path], tiny_bundle: Path, tmp_path: Path
) -> None:
    asked = DossierOptions(
        quick(bundles[1]), tmp_path / "dossier", pdf=False, changed_from=tiny_bundle
    )
    with pytest.raises(DataError, match=r"other networks \(tiny\) than new.mahtrt \(fake\)"):
        write_dossier(asked)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["browser", "graph"])
def test_what_is_missing_is_said_before_the_work(
    bundles: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setattr(dossier_module, "bench", lambda *_: pytest.fail("measured"))
    options: dict[str, Any] = {"pdf": False, "rebuild": -1}
    if missing == "browser":
        monkeypatch.setenv("MAHTRT_BROWSER", str(tmp_path / "none"))
        options = {"pdf": True}
    error = MissingComponentError if missing == "browser" else UsageError
    with pytest.raises(error):
        write_dossier(DossierOptions(quick(bundles[1]), tmp_path / "dossier", **options))
    assert list(tmp_path.iterdir()) == []


def test_the_bundle_is_not_touched(dossier: Written) -> None:
    read_bundle(dossier.bundle)
    assert (
        subprocess.run(
            ["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=dossier.result.folder, check=False
        ).returncode
        == 0
    )


def test_a_network_without_landmarks_has_its_outputs_judged(tmp_path: Path) -> None:
    spec = tiny_maps.spec_of("image")
    bundle = tiny_maps.build_bundle(tmp_path / "maps.mahtrt", spec, golden=2)
    folder = tmp_path / "dossier"
    result = write_dossier(DossierOptions(quick(bundle, data=None), folder, pdf=False, rebuild=1))
    assert result.accuracy_pass, result.reasons
    certificate = json.loads((folder / "equivalence.json").read_text())
    assert certificate["pairs"] == []
    held = {each["what"] for one in certificate["outputs"] for each in one["limits"]}
    assert {"values of change that are NaN or infinite", "SSIM of change"} <= held
    assert "SSIM of change" in (folder / "equivalence.md").read_text()


def test_a_browser_that_fails_leaves_nothing(
    bundles: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = tmp_path / "browser"
    browser.write_text("#!/bin/sh\necho no display >&2\nexit 1\n")
    browser.chmod(0o755)
    monkeypatch.setenv("MAHTRT_BROWSER", str(browser))
    with pytest.raises(MissingComponentError, match="no PDF \\(exit code 1: no display\\)"):
        write_dossier(DossierOptions(quick(bundles[1]), tmp_path / "dossier"))
    assert list(tmp_path.iterdir()) == [browser]
