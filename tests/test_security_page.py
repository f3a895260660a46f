"""The limits that docs/security.md promises are those of the code."""

from __future__ import annotations

import importlib
import re
from operator import attrgetter
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "security.md"
ROW = re.compile(r"\| (\d+) \| `([a-z_/0-9]+)\.py` `([A-Za-z_.]+)` \|")


def test_every_limit_on_the_page_is_the_code_s() -> None:
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert len(rows) == 21
    for value, place, name in rows:
        module = importlib.import_module(f"mahtrt.{place.replace('/', '.')}")
        assert attrgetter(name)(module) == int(value), name
