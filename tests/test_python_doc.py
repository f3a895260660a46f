"""docs/python.md: its examples run, one after the other, and name every verb and option class."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import mahtrt
from mahtrt.cli import VERBS
from mahtrt.verbs import demo

DOCUMENT = Path(__file__).parents[1] / "docs" / "python.md"
EXAMPLES = re.findall(
    r"^```python\n(.*?)^```$", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL
)


@pytest.mark.slow
def test_the_examples_run_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # The demo's own data would take minutes.
    small = {"PARITY": ":1@3", "CALIBRATION": ":8@11", "CHECK": ":4@15", "BENCH": ":2@13"}
    for name, data in {**small, "SHOWN_CASES": 1, "BENCH_SECONDS": 1.0, "COLD_STARTS": 0}.items():
        monkeypatch.setattr(demo, name, data)
    names: dict[str, Any] = {}
    for example in EXAMPLES:
        exec(compile(example, str(DOCUMENT), "exec"), names)


def test_every_verb_and_every_public_name_is_told_of() -> None:
    text = "".join(EXAMPLES)
    assert all(f"mahtrt.{verb.replace('-', '_')}(" in text for verb in {*VERBS, "open"})
    options = {name for name in mahtrt.__all__ if name.endswith("Options")}
    told = DOCUMENT.read_text("utf-8")
    assert all(name in told for name in options)
