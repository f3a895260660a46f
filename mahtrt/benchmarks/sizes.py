"""How many bytes a bundle and each of its engines take on disk."""

from __future__ import annotations

from mahtrt.benchmarks.measures import Sizes
from mahtrt.bundle.bundle import Bundle
from mahtrt.bundle.manifest import MANIFEST_NAME


def sizes_of(bundle: Bundle) -> Sizes:
    """Bytes of a bundle and of each engine's files, as the manifest lists them."""
    manifest = (bundle.path / MANIFEST_NAME).stat().st_size
    listed = {path: record.size for path, record in bundle.records.items()}
    engines = {
        engine.name: sum(listed[path] for path in dict.fromkeys(engine.files.values()))
        for engine in bundle.manifest.engines
    }
    return Sizes(manifest + sum(listed.values()), engines)
