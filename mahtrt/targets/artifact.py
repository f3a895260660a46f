"""What a target's builder hands back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class EngineArtifact:
    """A built engine, before it gets its name in a bundle.

    Attributes:
        files: Role to place; ``onnx`` is the graph it was made from.
        batch: Images per inference.
        device: What it was compiled for, as the manifest records it.
        versions: Of the libraries that compiled it.
        notes: What the user should know, one sentence each.
        build: How it was built: cache key, seconds, memory, as the manifest records it.
    """

    files: Mapping[str, Path]
    batch: int
    device: Mapping[str, Any]
    versions: Mapping[str, str]
    notes: tuple[str, ...] = ()
    build: Mapping[str, Any] = field(default_factory=dict)
