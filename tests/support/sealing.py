"""Bundles that say what they should not, with digests that are right."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def change_manifest(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Rewrite a manifest with a right digest, as another version of mahtrt would."""
    place = bundle / "manifest.json"
    data = json.loads(place.read_text())
    del data["sha256"]
    change(data)
    data["sha256"] = "0" * 64
    text = json.dumps(data, indent=2) + "\n"
    head, _, tail = text.rpartition("0" * 64)
    place.write_text(head + hashlib.sha256(text.encode()).hexdigest() + tail)


def seal(bundle: Path) -> None:
    """Give the manifest the sizes and digests that its files have by now."""

    def measure(data: dict[str, Any]) -> None:
        for record in data["files"]:
            content = (bundle / record["path"]).read_bytes()
            record["size"] = len(content)
            record["sha256"] = hashlib.sha256(content).hexdigest()

    change_manifest(bundle, measure)
