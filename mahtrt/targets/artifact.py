"""What a target's builder hands back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mahtrt.bundle.records import BuildRecord, DeviceRecord


@dataclass(frozen=True, slots=True)
class EngineArtifact:
    """A built engine, before it gets its name in a bundle.

    Attributes:
        files: Role to place; ``onnx`` is the graph it was made from.
        batch: Images per inference.
        device: What it was compiled for.
        versions: Versions of the libraries that compiled it.
        notes: What the user should know, one sentence each.
        build: How it was built, where the target keeps that.
    """

    files: Mapping[str, Path]
    batch: int
    device: DeviceRecord
    versions: Mapping[str, str]
    notes: tuple[str, ...] = ()
    build: BuildRecord | None = None
