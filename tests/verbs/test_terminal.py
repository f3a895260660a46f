"""What reaches a terminal, and streams that are closed or know no UTF-8."""

from __future__ import annotations

import ast
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from foreign_network import run
from PIL import Image
from rich.table import Table
from tiny_bundle import write_tiny

from mahtrt.verbs import console
from mahtrt.verbs.console import StageDisplay, answer, say, show
from mahtrt.verbs.ending import show_logs

EVIL = "\x1b]0;owned\x07\x1b[2J[bold]:smile:\x9b1m"
SHOWN = r"\x1b]0;owned\x07\x1b[2J[bold]:smile:\x9b1m"
VERBS = Path(console.__file__).parent


def mahtrt(*arguments: object, redirect: str = "", **environment: str) -> tuple[int, str, str]:
    """The command in a shell, whose redirections the test chooses."""
    command = ["sh", "-c", f'exec "$@" {redirect}', "sh", sys.executable, "-m", "mahtrt.cli"]
    ended = subprocess.run(
        [*command, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
        timeout=120,
    )
    return ended.returncode, ended.stdout.decode("utf-8"), ended.stderr.decode("utf-8")


def test_lines_and_tables_show_escape_sequences(capsys: pytest.CaptureFixture[str]) -> None:
    say(EVIL, "second")
    answer(EVIL)
    table = Table(title=EVIL)
    table.add_column(EVIL, no_wrap=True)
    table.add_row(EVIL)
    show(table)
    with StageDisplay() as display:
        display("stage " + EVIL, 0, 1)
    told = capsys.readouterr()
    assert told.err.splitlines()[:2] == [SHOWN, "second"]
    assert told.out.splitlines()[0] == SHOWN
    assert told.out.count(SHOWN) == 4
    assert not set("\x1b\x07\x9b") & set(told.out + told.err)


def test_names_in_tables_and_errors_lose_no_character(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bundle, image = write_tiny(tmp_path / "a.mahtrt"), Path("1\r2\n3\a4\b5\v6\f7.png")
    shown = r"1\r2\n3\x074\x085\x0b6\x0c7.png"
    missing = run("predict", bundle, image, "--threads=1")
    assert f"error: {shown}: got no such file" in missing.stderr
    Image.new("L", (40, 50), 100).save(image)
    assert shown in run("predict", bundle, image, "--threads=1").stdout


def test_logs_show_escape_sequences(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "root", logging.RootLogger(logging.WARNING))
    show_logs()
    logging.root.warning("a\n%s", EVIL)
    assert capsys.readouterr().err == f"root: a\n{SHOWN}\n"


def test_errors_and_command_lines_show_escape_sequences(tmp_path: Path) -> None:
    for arguments in (("inspect", tmp_path / EVIL), ("inspect", "a", EVIL), (f"--{EVIL}",)):
        result = run(*arguments)
        assert result.exit_code in (1, 2)
        assert SHOWN in result.stderr
        assert "\x1b" not in result.output


def test_nothing_is_printed_past_the_console() -> None:
    for path in VERBS.glob("*.py"):
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        names = {ast.unparse(call.func) for call in calls}
        if path.name != "console.py":
            assert names.isdisjoint({"print", "typer.echo", "sys.stdout.write"}), path
            assert not any(name.endswith("Console") for name in names), path


def test_results_are_exact_where_the_terminal_is_not(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "\x1b[31mb.mahtrt")
    image = tmp_path / f"{EVIL.replace('/', '')}.png"
    Image.new("L", (40, 50), 100).save(image)
    shown, exact = (run("predict", bundle, image, "--threads=1", *o) for o in ((), ("--json=-",)))
    assert shown.exit_code == exact.exit_code == 0, shown.output
    assert "\x1b" not in shown.output
    document = json.loads(exact.stdout)
    assert document["bundle"] == bundle.name
    assert document["images"][0]["image"] == str(image)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("doctor", "--json="), "--json"),
        (("predict", "b", "i", "--overlay", ""), "--overlay"),
        (("pack", "b", "--out="), "--out"),
        (("inspect", ""), "an argument"),
        (("inspect", "--", ""), "an argument"),
    ],
)
def test_an_empty_value_is_refused(
    arguments: tuple[str, ...], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2
    assert f"{name}: got an empty value" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_empty_value_of_a_keyword_is_a_value(tmp_path: Path) -> None:
    for given in (("--kwarg", "name="), ("--kwarg=name=",)):
        result = run("export", "maht-net/no-such", *given, f"--out={tmp_path}/a.onnx")
        assert "empty value" not in result.stderr


@pytest.mark.parametrize("name", ["link.png", "a.png", "a.mahtrt/manifest.json", "a.mahtrt/new"])
def test_a_result_does_not_replace_what_is_read(tmp_path: Path, name: str) -> None:
    bundle, image = write_tiny(tmp_path / "a.mahtrt"), tmp_path / "a.png"
    Image.new("L", (40, 50), 100).save(image)
    (tmp_path / "link.png").symlink_to("a.png")
    place = tmp_path / name
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for option in ("--json", "--csv", "--overlay"):
        if option == "--overlay" and place.suffix == ".png":
            continue
        result = run("predict", bundle, image, "--threads=1", f"{option}={place}")
        assert result.exit_code == 2, result.output
        assert f"error: {option} {place}: got a" in result.stderr
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_list_of_images_is_not_replaced(tmp_path: Path) -> None:
    images = tmp_path / "images.csv"
    images.write_text("image\na.png\n")
    result = run("bench", "no bundle", f"--data={images}", f"--json={images}")
    assert result.exit_code == 2
    assert "got a file that is read" in result.stderr


def test_a_folder_for_results_is_named_before_the_work(tmp_path: Path) -> None:
    result = run("predict", "no bundle", "no image", f"--json={tmp_path}")
    assert result.exit_code == 1
    assert f"error: writing {tmp_path}: got a folder" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_two_results_have_two_places(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("a")
    for first, second in (("-", "-"), (tmp_path / "a", tmp_path / "link")):
        result = run("predict", "bundle", "image", f"--json={first}", f"--csv={second}")
        assert result.exit_code == 2
        assert "got two results for" in result.stderr


@pytest.mark.slow
def test_a_closed_stdout() -> None:
    status, _, said = mahtrt("doctor", "--json=-", redirect=">&-")
    assert (status, "got a closed stdout" in said) == (2, True)
    for redirect in (">&-", ">&- 2>&-", "<&- >&- 2>&-"):
        status, out, said = mahtrt("doctor", redirect=redirect)
        assert status in (0, 6)
        assert out + said == ""


@pytest.mark.slow
def test_stdout_without_utf_8(tmp_path: Path) -> None:
    missing = tmp_path / "é頭.onnx"
    for environment in ({"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}):
        status, _, said = mahtrt("inspect", missing, **environment)
        assert (status, "Traceback" in said) == (1, False)
        status, out, said = mahtrt("doctor", "--json=-", **environment)
        assert status in (0, 6), said
        assert json.loads(out)["schema"] == "mahtrt.doctor/1"
        status, out, said = mahtrt("doctor", **environment)
        assert status in (0, 6), said


@pytest.mark.slow
def test_a_result_in_stdout_by_name_comes_whole(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    status, _, said = mahtrt("doctor", "--json=/dev/stdout", redirect=f"> '{out}'")
    assert status in (0, 6), said
    assert json.loads(out.read_text())["schema"] == "mahtrt.doctor/1"


@pytest.mark.parametrize("arguments", [["--help"], ["predict", "--help"], ["--version"]])
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_help_that_cannot_be_written_is_an_error_in_a_line(arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "mahtrt.cli", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: writing: got No space left on device.")
