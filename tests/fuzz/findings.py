"""Cases that went wrong once, a line each: the function that tries it, and the case."""

from __future__ import annotations

from typing import Any

from fuzz_works import GraphCase

FINDINGS: tuple[tuple[str, Any], ...] = (
    # A graph that opens and cannot be run.
    ("graph", GraphCase(seed=1, changes=((342, 0),))),
)
