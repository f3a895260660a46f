"""``mahtrt report`` and ``bench --html`` as commands, on a bundle of small engines."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_bundle import write_tiny
from typer.testing import CliRunner

from mahtrt.cli import app


def run(*words: str | Path) -> tuple[int, str]:
    """Exit code and everything that was printed, in one line."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle, its bench, and the page of that bench."""
    folder = tmp_path_factory.mktemp("measured")
    bundle = write_tiny(folder / "net.mahtrt")
    code, said = run(
        *("bench", bundle, "--rounds", "3", "--latency-budget-ms", "10000"),
        *(f"--json={folder / 'bench.json'}", f"--html={folder / 'bench.html'}"),
    )
    assert code == 0, said
    return folder


def test_a_bench_writes_its_page(measured: Path) -> None:
    html = (measured / "bench.html").read_text("utf-8")
    bench = json.loads((measured / "bench.json").read_text("utf-8"))
    row = next(row for row in bench["rows"] if row["name"] == "openvino-int8")
    assert f'value="{row["p50_ms"]!r}"' in html
    assert "Passed" in html
    assert html.count("data:image/jpeg") == 3 * len(bench["details"]["openvino-int8"]["cases"])


def test_a_page_is_made_of_a_bench(measured: Path, tmp_path: Path) -> None:
    page, document = tmp_path / "page.html", tmp_path / "report.json"
    code, said = run(
        *("report", measured / "net.mahtrt", "--measured", measured / "bench.json"),
        *("--html", page, "--json", document, "--no-pictures"),
    )
    assert (code, "page.html" in said) == (0, True)
    told = json.loads(document.read_text("utf-8"))
    assert told["schema"] == "mahtrt.report/1"
    assert told["bundles"][0]["bench"] == json.loads((measured / "bench.json").read_text("utf-8"))
    assert "data:image/jpeg" not in page.read_text("utf-8")


def test_several_bundles_are_compared(measured: Path, tmp_path: Path) -> None:
    bundle, bench = measured / "net.mahtrt", measured / "bench.json"
    copy = shutil.copytree(bundle, tmp_path / "copy.mahtrt")
    code, said = run(
        *("report", bundle, copy, "--html", tmp_path / "page.html"),
        *("--measured", bench, "--measured", bench),
    )
    assert code == 0, said
    html = (tmp_path / "page.html").read_text("utf-8")
    assert "2 bundles compared" in html
    assert html.count('<article id="bundle-') == 2


def test_bad_input_is_one_line_and_leaves_nothing(
    measured: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle, bench = measured / "net.mahtrt", measured / "bench.json"
    strange = tmp_path / "strange.json"
    newer = tmp_path / "newer.json"
    strange.write_text("[1]")
    newer.write_text('{"schema": "mahtrt.bench/9"}')
    half = tmp_path / "half.json"
    half.write_text('{"schema": "mahtrt.bench/1", "model": {}}')
    cases = {
        ("report", bundle): (2, "got neither --html nor --json"),
        ("report", bundle, "--html=p.html"): (1, "got a bundle without measurements"),
        ("report", bundle, "--html=p.html", f"--measured={strange}"): (1, "got [1]"),
        ("report", bundle, "--html=p.html", f"--measured={newer}"): (5, "mahtrt.bench/9"),
        ("report", bundle, "--html=p.html", f"--measured={half}"): (1, "half.json"),
        ("report", bundle, "--html=p.html", f"--measured={tmp_path / 'no.json'}"): (1, "no.json"),
        ("report", bundle, tiny_bundle, "--html=p.html", f"--measured={bench}"): (
            *(2, "got 1 file(s) for 2 bundle(s)"),
        ),
        ("report", bundle, "--html=p.html", f"--measured={bench}", f"--sensitivity={bench}"): (
            *(5, "mahtrt.bench/1"),
        ),
        ("report", tmp_path, "--html=p.html"): (5, "mahtrt bundle"),
    }
    for words, (code, said) in cases.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path)
            ended, output = run(*words)
        assert (ended, said in output) == (code, True), (words, ended, output)
        assert "Traceback" not in output
        assert not (tmp_path / "p.html").exists()


def test_a_bench_of_another_network_is_refused(
    tiny_bundle: Path, measured: Path, tmp_path: Path
) -> None:
    bench = json.loads((measured / "bench.json").read_text("utf-8"))
    bench["model"]["landmarks"][0] = "somewhere else"
    other = tmp_path / "other.json"
    other.write_text(json.dumps(bench))
    code, said = run("report", tiny_bundle, "--measured", other, "--html", tmp_path / "p.html")
    assert (code, "got a bench of another network" in said) == (1, True), said


def test_what_is_measured_now_is_judged_as_a_bench_judges(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its verdicts do not hang on a hundredth of a millisecond: no waiting for quiet times.
    monkeypatch.setattr("mahtrt.benchmarks.options.MOST_ROUNDS", 1)
    monkeypatch.setattr("mahtrt.measure.timing.wait_until_idle", lambda: True)
    images = tmp_path / "images"
    images.mkdir()
    for number in range(2):
        Image.fromarray(np.full((50, 40), 90 + number, np.uint8)).save(images / f"{number}.png")
    page = tmp_path / "page.html"
    words = ("report", measured / "net.mahtrt", "--data", images, "--html", page)
    code, said = run(*words, "--latency-budget-ms", "0.0001")
    assert code == 4
    assert "Verdict: not passed" in said
    assert "over its budget" in said
    assert "Not passed" in page.read_text("utf-8")
    code, said = run(*words, "--latency-budget-ms", "10000", "--budget-px", "0.01")
    assert (code, "Verdict: not passed" in said) == (3, True)


def test_the_page_goes_to_stdout_where_asked(measured: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        words = ("report", measured / "net.mahtrt", "--measured", measured / "bench.json")
        result = CliRunner().invoke(app, [*map(str, words), "--html", "-"])
    assert result.exit_code == 0
    assert result.stdout.startswith("<!doctype html>")
    assert result.stdout.endswith("</html>\n")
    assert list(tmp_path.iterdir()) == []
