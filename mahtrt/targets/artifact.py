"""What a target's builder hands back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mahtrt.bundle.manifest import EngineRecord
from mahtrt.bundle.records import BuildRecord, DeviceRecord
from mahtrt.targets.layers import EngineLayers


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
        network: The products of the network that the target's builder parsed, where it tells them.
    """

    files: Mapping[str, Path]
    batch: int
    device: DeviceRecord
    versions: Mapping[str, str]
    notes: tuple[str, ...] = ()
    build: BuildRecord | None = None
    network: EngineLayers | None = None

    def record(self, target: str, precision: str, root: Path | None = None) -> EngineRecord:
        """What a manifest says of the engine.

        Args:
            root: Folder that the paths start from; None keeps only the files' names.
        """
        return EngineRecord(
            name=f"{target}-{precision}",
            target=target,
            precision=precision,  # type: ignore[arg-type]
            files={
                role: place.relative_to(root or place.parent).as_posix()
                for role, place in self.files.items()
            },
            batch=self.batch,
            device=self.device,
            versions=self.versions,
            notes=self.notes,
            build=self.build,
        )
