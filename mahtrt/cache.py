"""The folder in which mahtrt keeps what is expensive to make again: engines and sensitivities."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

ENVIRONMENT = "MAHTRT_CACHE_DIR"


def cache_folder(given: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """The folder: as given, else $MAHTRT_CACHE_DIR, $XDG_CACHE_HOME/mahtrt, ~/.cache/mahtrt."""
    if given is not None:
        return given
    if environment.get(ENVIRONMENT):
        return Path(environment[ENVIRONMENT])
    base = environment.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "mahtrt"
