"""How much a command says: --quiet, --json -, colours, the width, and what a shell completes."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer
from foreign_network import run
from PIL import Image
from rich.table import Table
from signing_keys import write_keys
from tiny_bundle import write_tiny

from mahtrt.cli import VERBS, app
from mahtrt.verbs.choices import families, networks, one_target, peers, targets
from mahtrt.verbs.console import StageDisplay, Talk, clock, hint, say, show, talking

# Verbs that take no time, with what they need; the others are told of in their own tests.
QUICK = ("models", "doctor", "inspect", "pack", "sign", "verify", "predict", "bench", "evaluate")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("talk")
    write_tiny(folder / "a.mahtrt", golden=())
    write_tiny(folder / "signed.mahtrt")
    Image.new("L", (40, 50), 100).save(folder / "a.png")
    write_keys(folder, "test")
    return folder


def quick(verb: str, world: Path, out: Path) -> Sequence[object]:
    """A command of a verb that ends well."""
    bundle, threads = world / "a.mahtrt", "--threads=1"
    return (
        verb,
        *{
            "inspect": (bundle,),
            "pack": (bundle, f"--out={out / 'packed.mahtrt'}"),
            "sign": (world / "signed.mahtrt", f"--key={world / 'test.pem'}"),
            "verify": (bundle,),
            "predict": (bundle, world / "a.png", threads),
            "bench": (
                world / "signed.mahtrt",
                "--engine=onnxruntime-fp32",
                "--rounds=1",
                threads,
                *NO_STARTS,
            ),
            "evaluate": (bundle, "--data=phantom:2@1", "--points=0,1,2", threads),
        }.get(verb, ()),
    )


NO_STARTS = ("--cold-starts=0",)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_takes_quiet_debug_and_json(verb: str) -> None:
    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    options = {name for parameter in command.params for name in parameter.opts}
    assert {"--quiet", "--debug", "--json"} <= options


@pytest.mark.parametrize("verb", QUICK)
def test_a_quiet_command_gives_its_result_and_nothing_else(
    verb: str, world: Path, tmp_path: Path
) -> None:
    result = run("--quiet", *quick(verb, world, tmp_path))
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert result.stdout != ""


@pytest.mark.parametrize("verb", QUICK)
def test_json_in_stdout_is_all_that_stdout_holds(verb: str, world: Path, tmp_path: Path) -> None:
    result = run(*quick(verb, world, tmp_path), "--json=-")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert re.fullmatch(rf"mahtrt\.{verb.replace('evaluate', 'evaluation')}/\d", document["schema"])
    quiet = run(*quick(verb, world, tmp_path / "2"), "--json=-", "--quiet")
    assert json.loads(quiet.stdout)["schema"] == document["schema"]
    assert quiet.stderr == ""


def test_quiet_holds_no_error_back() -> None:
    for order in (("--quiet", "inspect", "nowhere"), ("inspect", "nowhere", "--quiet")):
        result = run(*order)
        assert result.exit_code == 1
        assert result.stderr.startswith("error: nowhere: got no such file")


def test_the_documents_are_listed_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs/json.md").read_text(encoding="utf-8")
    for verb in VERBS:
        assert re.search(rf"`mahtrt {verb}.*`mahtrt\.[\w-]+/\d`", page), verb


def test_talk_and_hints_are_left_out_where_it_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    hint("mahtrt verify a.mahtrt", "mahtrt bench a.mahtrt")
    assert capsys.readouterr().err.splitlines() == [
        "next: mahtrt verify a.mahtrt",
        "      mahtrt bench a.mahtrt",
    ]
    with talking(Talk(is_quiet=True)), StageDisplay() as display:
        say("talk")
        hint("mahtrt verify a.mahtrt")
        display("stage", 1, 2)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("columns", "width"), [("", 120), ("60", 60), ("0", 120), ("4", 20)])
def test_the_width_is_what_columns_says(
    columns: str, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    show("word " * 100)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines[0]) > width - 6


@pytest.mark.parametrize(
    ("environment", "colour"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": ""}, True),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, False),
    ],
)
def test_colours_follow_the_environment(
    environment: dict[str, str],
    colour: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    table = Table("a", style="red")
    table.add_row("b", style="red")
    show(table)
    assert bool(re.search(r"\x1b\[[\d;]*3\d", capsys.readouterr().out)) is colour


def in_terminal(*arguments: object, columns: int, **environment: str) -> str:
    """What a command writes to a pseudo-terminal of some width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    known = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR")}
    child = subprocess.Popen(
        [sys.executable, "-m", "mahtrt.cli", *map(str, arguments)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**known, "TERM": "xterm-256color", **environment},
    )
    os.close(theirs)
    told, end = b"", time.monotonic() + 60
    while time.monotonic() < end:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        told += part
    os.close(ours)
    assert child.wait(60) == 0, told
    return told.decode()


def lines_of(told: str) -> list[str]:
    """Lines without escape sequences."""
    return [re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", part) for part in re.split(r"[\r\n]+", told)]


@pytest.mark.slow
def test_in_a_terminal_tables_are_as_wide_and_progress_is_drawn(world: Path) -> None:
    command = quick("predict", world, world)
    told = in_terminal(*command, columns=60)
    drawn = [each for each in lines_of(told) if not each.startswith("note: ")]  # soft wraps
    assert max(map(len, drawn)) <= 60
    assert "\x1b[" in told
    assert "predicting" in told
    assert "…" not in told
    plain = in_terminal(*command, columns=60, TERM="dumb")
    assert "\x1b" not in plain
    assert re.search(r"\[ +\d\.\d s\] predicting", plain)
    assert "predicting" not in in_terminal(*command, "--quiet", columns=60)
    coloured = re.compile(r"\x1b\[[\d;]*3\d")
    assert not coloured.search(in_terminal("doctor", columns=80, NO_COLOR="1"))


def test_a_bar_tells_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [clock(seconds) for seconds in (0.4, 75, 3600)] == ["0:00", "1:15", "1:00:00"]
    drawn: list[dict[str, object]] = []
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    display = StageDisplay()

    class Progress:
        tasks = ()

        def add_task(self, *_: object, **fields: object) -> int:
            return 0

        def update(self, _: int, **fields: object) -> None:
            drawn.append(fields)

        def refresh(self) -> None:
            return

    display._progress = Progress()
    for second in range(5):
        now = float(second)
        display("calibrating", second, 10)
    assert [each["times"] for each in drawn[-2:]] == ["0:03, 0:07 left", "0:04, 0:06 left"]
    assert drawn[-1]["count"] == "4/10"
    now = 4.01
    display("calibrating", 5, 10)
    assert drawn[-1]["count"] == "4/10"  # too soon to draw again


def test_closed_lists_are_completed() -> None:
    assert peers("torch-fp") == ["torch-fp32", "torch-fp16"]
    assert families("u") == ["unet"]
    assert networks("unet/n") == ["unet/nano"]
    assert targets("") == ["auto", *one_target("")]
    words = {"COMP_WORDS": "mahtrt predict --require g", "COMP_CWORD": "3"}
    ended = subprocess.run(
        [sys.executable, "-c", "from mahtrt.cli import app; app(prog_name='mahtrt')"],
        env={**os.environ, "_MAHTRT_COMPLETE": "complete_bash", **words},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout.split() == ["gpu"]
