"""Cases that went wrong once, a line each: the function that tries it, and the case."""

from __future__ import annotations

from typing import Any

FINDINGS: tuple[tuple[str, Any], ...] = ()
