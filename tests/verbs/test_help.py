"""What the command line says of itself, and ``--debug``."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import typer
from foreign_network import run

import mahtrt
from mahtrt.cli import VERBS, app
from mahtrt.verbs.command import GROUPS

# Names and meanings are a contract; more may be added.
CONTRACT = {"demo", "models", "export", "build", "bench", "predict", "verify", "doctor", "train"}


def test_every_verb_is_listed_with_a_whole_sentence() -> None:
    assert set(VERBS) >= CONTRACT
    result = run("--help")
    assert result.exit_code == 0
    commands = result.stdout.partition("Commands:")[2]
    listed = dict(re.findall(r"^  ([\w-]+) {2,}(.+)$", commands, re.M))
    assert list(listed) == list(VERBS)
    assert [text for text in listed.values() if not text.endswith(".") or "..." in text] == []


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_has_its_options_in_groups(verb: str) -> None:
    result = run(verb, "--help")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert f" {verb} " in result.stdout
    titles = re.findall(r"^(\S.*):$", result.stdout, re.M)
    assert titles == [group for group in GROUPS if group in titles]
    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    for parameter in command.params:
        assert parameter.help, parameter.name
        assert parameter.opts[0] in result.stdout


def test_what_only_experts_need_comes_last() -> None:
    text = run("build", "--help").stdout
    titles = re.findall(r"^(\S.*):$", text, re.M)
    assert titles[:3] == ["Arguments", "Engines", "Data"]
    assert titles[-2:] == ["INT8 (expert)", "TensorRT (expert)"]
    assert text.index("--optimization-level") > text.index("TensorRT (expert):")


@pytest.mark.parametrize("verb", ["build", "bench"])
def test_the_help_of_budgets_speaks_of_every_kind_of_output(verb: str) -> None:
    said = " ".join(run(verb, "--help").stdout.partition("Arguments:")[0].split())
    assert all(kind in said for kind in ("landmarks", "maps", "labels", "visible"))


def test_without_arguments_it_shows_the_help() -> None:
    assert "Commands:" in run().output


def test_version() -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout.strip()) == (0, mahtrt.__version__)


def test_an_unknown_command_or_option_is_a_usage_error() -> None:
    assert run("fly").exit_code == 2
    assert run("verify", "--fly", "x").exit_code == 2


@pytest.mark.parametrize("debug", [False, True])
def test_debug_shows_where_an_error_comes_from(debug: bool) -> None:
    command = [sys.executable, "-m", "mahtrt.cli", *(["--debug"] if debug else [])]
    ended = subprocess.run(
        [*command, "inspect", "nowhere.onnx"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ("Traceback" in ended.stderr) is debug
    assert ended.stderr.splitlines()[-1].startswith("error: nowhere.onnx: got no such file")
