"""What an engine file tells without being opened, which needs its device and trust in the file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mahtrt.bundle.bundle import Bundle, read_bundle
from mahtrt.bundle.manifest import MANIFEST_NAME, EngineRecord, as_integrity_error
from mahtrt.digest import sha256_of_file
from mahtrt.errors import MahtrtError
from mahtrt.schema import plain
from mahtrt.targets.layers import EngineLayers
from mahtrt.targets.table import all_targets, find_target
from mahtrt.targets.target import EngineHeader


@dataclass(frozen=True, slots=True)
class EngineFileSummary:
    """What is known of an engine file.

    Attributes:
        flavour: Name of the target that made it, "" where neither file nor manifest says.
        version: Version of the library that made it, "" where unknown.
        engine: Its record in the bundle's manifest, None for a file on its own.
        layers: What the target noted of its layers beside it, where it did.
    """

    size: int
    sha256: str
    flavour: str = ""
    version: str = ""
    engine: EngineRecord | None = None
    layers: EngineLayers | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "size": self.size,
            "sha256": self.sha256,
            "flavour": self.flavour,
            "version": self.version,
            "engine": plain(self.engine),
            "layers": None if self.layers is None else self.layers.to_dict(),
            "notes": list(self.notes),
        }


def recognise(path: Path) -> EngineHeader | None:
    """The header of an engine file, by the first target that knows such files; None for others.

    Raises:
        ModelError: The file is cut short.
    """
    found = (target.recognise(path) for target in all_targets())
    return next((header for header in found if header is not None), None)


def describe_engine_file(path: Path, header: EngineHeader) -> EngineFileSummary:
    """Describe an engine file, with what its bundle knows where it lies in one.

    Raises:
        IntegrityError: It lies in a bundle and is not the file that was built.
    """
    size, digest = path.stat().st_size, sha256_of_file(path)
    bundle, notes = bundle_around(path), [header.note]
    if bundle is None:
        if not header.target:
            notes.insert(0, "Its first bytes are of no header that mahtrt knows.")
        return EngineFileSummary(size, digest, header.target, header.version, notes=tuple(notes))
    relative = path.resolve().relative_to(bundle.path.resolve()).as_posix()
    record = next((r for r in bundle.manifest.engines if relative in r.files.values()), None)
    if record is None:
        notes.insert(0, f"It lies in {bundle.path.name}, whose manifest does not know it.")
        return EngineFileSummary(size, digest, header.target, header.version, notes=tuple(notes))
    bundle.file(relative).check()
    layers = layers_beside(bundle, record)
    return EngineFileSummary(
        size,
        digest,
        flavour=header.target or record.target,
        version=header.version or next(iter(record.versions.values()), ""),
        engine=record,
        layers=layers,
        notes=() if layers is not None and layers.detailed else tuple(notes),
    )


def layers_beside(bundle: Bundle, engine: EngineRecord) -> EngineLayers | None:
    """What a target noted of the layers of one of a bundle's engines, None where it did not.

    Raises:
        IntegrityError: The note was changed, or is another document.
    """
    with as_integrity_error():
        return find_target(engine.target).engine_layers(bundle.engine_files(engine))


def bundle_around(path: Path) -> Bundle | None:
    """The bundle that a file lies in, None where it lies in none that can be read."""
    for folder in path.resolve().parents:
        if (folder / MANIFEST_NAME).is_file():
            try:
                return read_bundle(folder, verify=False)
            except MahtrtError:
                return None
    return None
