"""docs/training.md: its commands run, one after the other, on less than they say."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from foreign_network import run

from mahtrt.training.losses.options import WEIGHTS, LossOptions

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text("utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]
# What comes last counts.
LESS = ("--steps=2", "--batch-size=2", "--workers=0", "--input-size=64")


@pytest.mark.slow
def test_the_commands_run_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for command in COMMANDS:
        program, verb, *words = shlex.split(re.sub(r"phantom:\d+@", "phantom:4@", command))
        assert program == "mahtrt"
        told = run(verb, *words, *(LESS if verb == "train" else ()))
        assert told.exit_code == 0, (command, told.output)
    assert {path.name for path in tmp_path.iterdir()} >= {"scores.json", "scores.csv", "runs"}


def test_every_term_and_every_loss_is_told_of() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \|(.*)\|$", PAGE, re.MULTILINE))
    assert set(WEIGHTS) <= set(rows)
    for name, weight in WEIGHTS.items():
        assert float(rows[name].rpartition("|")[2]) == weight
    for name in ("heatmap", "coordinate", "map", "label"):
        choices = get_args(get_type_hints(LossOptions)[name])
        assert set(choices) <= set(re.findall(r"`([a-z0-9-]+)`", rows[name]))
