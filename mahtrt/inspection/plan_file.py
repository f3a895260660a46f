"""What a TensorRT plan tells without being deserialised, which needs a GPU and trust in the file.

The header of TensorRT-RTX plans (seen with 1.7.1; not documented): ``vtrt``, four zero bytes, a
64-bit 2, the size of the whole file as 64 bits, then four bytes of version. It is believed only
where magic and size agree with the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mahtrt.bundle.bundle import Bundle, read_bundle
from mahtrt.bundle.manifest import MANIFEST_NAME, EngineRecord
from mahtrt.digest import sha256_of_file
from mahtrt.errors import IntegrityError, MahtrtError, ModelError
from mahtrt.schema import plain, read_json
from mahtrt.targets.tensorrt.inspector import EngineLayers, read_inspector

RTX_MAGIC = b"vtrt"
HEADER_BYTES = 28
NOT_DESERIALIZED = (
    "Layers, tensors and the GPU it is for are inside the plan; reading them means deserialising "
    "it, which needs a GPU and the TensorRT that made it."
)


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """What is known of a plan.

    Attributes:
        flavour: ``tensorrt-rtx`` or ``tensorrt`` where the header or the manifest says, else "".
        version: Of the library that made it, "" where unknown.
        engine: Its record in the bundle's manifest, None for a plan on its own.
        layers: The engine inspector's document beside it, where there is one.
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


def looks_like_plan(path: Path) -> bool:
    """Whether a file is a plan by its header, or else by its name."""
    with path.open("rb") as file:
        return file.read(len(RTX_MAGIC)) == RTX_MAGIC or path.suffix in (".plan", ".engine", ".trt")


def describe_plan(path: Path) -> PlanSummary:
    """Describe a plan, with what its bundle knows where it lies in one.

    Raises:
        ModelError: The file is empty, or shorter or longer than its header says.
        IntegrityError: It lies in a bundle and is not the file that was built.
    """
    flavour, version = _header(path)
    size, digest = path.stat().st_size, sha256_of_file(path)
    bundle, notes = bundle_around(path), [NOT_DESERIALIZED]
    if bundle is None:
        if not flavour:
            notes.insert(0, "Its first bytes are of no header that mahtrt knows.")
        return PlanSummary(size, digest, flavour, version, notes=tuple(notes))
    relative = path.resolve().relative_to(bundle.path.resolve()).as_posix()
    record = next((r for r in bundle.manifest.engines if relative in r.files.values()), None)
    if record is None:
        notes.insert(0, f"It lies in {bundle.path.name}, whose manifest does not know it.")
        return PlanSummary(size, digest, flavour, version, notes=tuple(notes))
    bundle.check([relative])
    layers = layers_beside(bundle, record.files)
    return PlanSummary(
        size,
        digest,
        flavour=flavour or record.target,
        version=version or next(iter(record.versions.values()), ""),
        engine=record,
        layers=layers,
        notes=() if layers is not None and layers.detailed else tuple(notes),
    )


def layers_beside(bundle: Bundle, files: Mapping[str, str]) -> EngineLayers | None:
    """The engine inspector's document of one of a bundle's engines, None where it has none.

    Raises:
        IntegrityError: It was changed.
        SpecError: It is no such document.
    """
    relative = files.get("layers")
    if relative is None:
        return None
    bundle.check([relative])
    place = bundle.file(relative)
    data = read_json(place.read_bytes(), str(place), "an engine's layers", error=IntegrityError)
    return read_inspector(data, str(place))


def bundle_around(path: Path) -> Bundle | None:
    """The bundle that a file lies in, None where it lies in none that can be read."""
    for folder in path.resolve().parents:
        if (folder / MANIFEST_NAME).is_file():
            try:
                return read_bundle(folder, verify=False)
            except MahtrtError:
                return None
    return None


def _header(path: Path) -> tuple[str, str]:
    """Flavour and version from a plan's first bytes, "" where they do not say.

    Raises:
        ModelError: The file is empty, or its size is not what its header says.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
    if not head:
        raise ModelError(str(path), got="an empty file", expected="a TensorRT plan")
    if not head.startswith(RTX_MAGIC):
        return "", ""
    said = int.from_bytes(head[16:24], "little")
    if len(head) < HEADER_BYTES or said != size:
        raise ModelError(
            str(path),
            got=f"{size} bytes" + (f" where its header says {said}" if said else ""),
            expected="a whole TensorRT-RTX plan",
            fix="Copy it again from where it was whole, or build it again.",
        )
    return "tensorrt-rtx", ".".join(str(byte) for byte in head[24:28])
