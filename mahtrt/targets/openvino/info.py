"""What OpenVINO notes of the layers that it executes."""

from __future__ import annotations

from typing import Any


def noted(info: Any, key: str) -> str:
    """A note of a layer in the execution list, "" where there is none."""
    return str(info[key].astype(str)) if key in info else ""
