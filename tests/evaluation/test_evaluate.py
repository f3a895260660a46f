"""The verb: checkpoints and bundles on the same cases, and folds."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_network import run
from small_maht_net import TRAINED, small_net

import mahtrt
from mahtrt.errors import CheckpointError, DataError, UsageError
from mahtrt.evaluation.evaluate import evaluate
from mahtrt.evaluation.options import EvaluateOptions
from mahtrt.models.checkpoint import save_checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two networks of random weights."""
    folder = tmp_path_factory.mktemp("checkpoints")
    paths = []
    for seed in range(2):
        net = small_net(seed, **TRAINED)
        paths.append(folder / f"net{seed}.safetensors")
        save_checkpoint(paths[-1], net.state_dict(), net.spec)
    return paths


def test_a_bundle_answers_as_its_checkpoint_does(checkpoints: list[Path], tmp_path: Path) -> None:
    source = mahtrt.ModelSource("maht-net", checkpoints[0])
    exported = mahtrt.export(mahtrt.ExportOptions(source, tmp_path / "net.onnx", data="phantom:2"))
    bundle = tmp_path / "net.mahtrt"
    mahtrt.build(
        mahtrt.BuildOptions(
            exported.path, bundle, ("fp32",), targets=("onnxruntime",), eval="phantom:2@5"
        )
    )
    models: list[Path | str] = [*checkpoints, bundle, f"{bundle}@onnxruntime"]
    result = evaluate(EvaluateOptions(models, "phantom:9@7"))
    eager, other, default, named = result.networks
    assert eager.scores.mm is not None
    np.testing.assert_allclose(default.answers.errors_px, eager.answers.errors_px, atol=0.02)
    assert (np.abs(other.answers.errors_px - eager.answers.errors_px) > 0.05).any()
    assert default.scores.to_dict() == named.scores.to_dict()
    assert len(result.comparisons) == 6
    first = result.comparisons[0]
    assert first.difference == pytest.approx((other.scores.mm or 0) - eager.scores.mm)
    assert first.interval is not None
    assert first.interval[0] <= first.difference <= first.interval[1]


def test_folds_judge_every_case_once(checkpoints: list[Path]) -> None:
    pooled = evaluate(EvaluateOptions(checkpoints, "phantom:5@7", folds=2))
    (network,) = pooled.networks
    assert sorted(network.answers.names) == [f"phantom-7-{i}" for i in range(5)]
    assert network.runs == ("net0", "net1")
    parts = [
        evaluate(EvaluateOptions([path], "phantom:5@7", folds=2, fold=number))
        for number, path in enumerate(checkpoints, start=1)
    ]
    expected = [e for part in parts for e in part.networks[0].answers.errors_px.tolist()]
    assert network.answers.errors_px.tolist() == expected


def test_a_document_and_a_table_tell_the_same(checkpoints: list[Path], tmp_path: Path) -> None:
    outputs = (f"--json={tmp_path / 'a.json'}", f"--csv={tmp_path / 'a.csv'}")
    other = shutil.copy(checkpoints[1], tmp_path / "net[b].safetensors")  # no markup in a table
    told = run("evaluate", checkpoints[0], other, "--data=phantom:3@7", *outputs)
    assert told.exit_code == 0, told.output
    assert "Pairs" in told.stdout
    assert "net[b]" in told.stdout
    document = json.loads((tmp_path / "a.json").read_text())
    rows = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text())))
    assert document["schema"] == "mahtrt.evaluation/1"
    assert [row["landmark"] for row in rows[:2]] == ["all", "sella"]
    for network in document["networks"]:
        (whole,) = (r for r in rows if (r["network"], r["landmark"]) == (network["name"], "all"))
        assert float(whole["mre_mm"]) == pytest.approx(network["overall"]["mm"], rel=1e-5)
        assert len(network["case_mre_mm"]) == len(document["cases"]) == 3
        assert f"{network['overall']['mm']:.3f}" in told.stdout


def test_what_cannot_be_judged_is_refused(checkpoints: list[Path], tmp_path: Path) -> None:
    def refused(error: type[Exception], match: str, *models: Path, **changes: object) -> None:
        with pytest.raises(error, match=match):
            evaluate(EvaluateOptions(models, **{"data": "phantom:3", **changes}))  # type: ignore[arg-type]

    refused(UsageError, "models: got none")
    refused(UsageError, "--fold: got no --folds", checkpoints[0], fold=1)
    of_checkpoint = checkpoints[0].with_name(f"{checkpoints[0].name}@openvino-int8")
    refused(UsageError, "got engine 'openvino-int8'; expected none: a checkpoint", of_checkpoint)
    refused(UsageError, "got 1 for 2 folds", checkpoints[0], folds=2)
    refused(UsageError, "--fold: got 3; expected 1 to 2", checkpoints[0], folds=2, fold=3)
    refused(DataError, "got 2 landmarks per image; expected 7", checkpoints[0], points=(0, 1))
    refused(DataError, r"got 3 case\(s\); expected 4", checkpoints[0], folds=4, fold=1)
    refused(CheckpointError, "no such file", tmp_path / "none.safetensors")
    refused(DataError, "none.mahtrt", tmp_path / "none.mahtrt")
    bare = tmp_path / "bare.pt"
    torch.save({"a": torch.zeros(2)}, bare)
    refused(CheckpointError, "weights without a spec", bare)
