from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mahtrt.cli import app
from mahtrt.dossier import dossier as dossier_module
from mahtrt.dossier.options import DossierOptions, DossierResult


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[DossierOptions]:
    """What the command asks of :func:`write_dossier`, which writes nothing."""
    found: list[DossierOptions] = []

    def write(options: DossierOptions, _progress: object) -> DossierResult:
        found.append(options)
        return DossierResult(options.folder, ("a", "b"), {}, True, False, ("too slow",))

    monkeypatch.setattr(dossier_module, "write_dossier", write)
    return found


def test_the_options_reach_the_dossier(asked: list[DossierOptions], tmp_path: Path) -> None:
    given = ["report", "new.mahtrt", "--dossier", "d", "--changed-from", "old.mahtrt"]
    given += ["--rebuild", "3", "--no-pdf", "--no-pictures", "--data", "phantom:4"]
    given += ["--images", "2", "--budget-px", "0.5", "--latency-budget-ms", "20", "--json", "-"]
    result = CliRunner().invoke(app, given)
    (options,) = asked
    assert (options.folder, options.changed_from) == (Path("d"), Path("old.mahtrt"))
    assert (options.rebuild, options.pdf, options.pictures) == (3, False, False)
    bench = options.bench
    assert (bench.bundle, bench.data, bench.images) == (Path("new.mahtrt"), "phantom:4", 2)
    assert (bench.limits.budget_px, bench.latency_budget_ms) == (0.5, 20.0)
    assert result.exit_code == 4
    assert json.loads(result.stdout)["reasons"] == ["too slow"]
    assert "Dossier: d (2 files)" in result.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["a", "b", "--dossier", "d"], "2 bundles"),
        (["a", "--dossier", "d", "--measured", "m.json"], "before the protocol"),
        (["a", "--dossier", "d", "--html", "p.html"], "a page beside"),
        (["a", "--json", "-", "--rebuild", "2"], "--rebuild: got no dossier"),
        (["a", "--json", "-", "--no-pdf"], "--no-pdf: got no dossier"),
        (["a", "--json", "-", "--changed-from", "b"], "--changed-from: got no dossier"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    asked: list[DossierOptions], given: list[str], said: str
) -> None:
    result = CliRunner().invoke(app, ["report", *given])
    assert result.exit_code == 2
    assert said in result.stderr
    assert asked == []
