"""manifest.json of a bundle: what was built, from what, on what, and the digest of every file.

The manifest carries its own SHA-256, taken over its bytes with the digest's place filled with
zeros, so that a changed byte anywhere in a bundle is found. Digests find accidents, not attackers:
who can write the bundle can write the digests. docs/bundle-format.md describes every field.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Annotated, Literal

from mahtrt.bundle import version1
from mahtrt.bundle.origin import CalibrationRecord, ProvenanceRecord, SourceRecord
from mahtrt.bundle.records import (
    AccuracyRecord,
    BuildRecord,
    DeviceRecord,
    GateRecord,
    LatencyRecord,
    Precision,
    VerdictRecord,
)
from mahtrt.data.preprocess_version import check_preprocess_version
from mahtrt.errors import IntegrityError, SpecError
from mahtrt.machine import Machine
from mahtrt.parsing import first_repeat, read_json
from mahtrt.schema import Batch, Between, Count, Pixels, check_schema, dataclass_from, plain
from mahtrt.spec import SCHEMA as SPEC_SCHEMA
from mahtrt.spec import ModelSpec, spec_from_dict, upgraded_spec

SCHEMA = "mahtrt.bundle/3"
MANIFEST_NAME = "manifest.json"
SIGNATURE_NAME = "model.sig"  # which no manifest lists: it is made afterwards
REBUILD = "Build the bundle again, or copy it again from where it was whole."

_ZEROS = "0" * 64
_DIGEST_LINE = re.compile(rb'"sha256": "([0-9a-f]{64})"\n\}\n\Z')


Millimetres = Annotated[float, Between(1e-9, 1e9)]


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file of the bundle; ``path`` is relative to it, with forward slashes."""

    path: str
    sha256: str
    size: Count


@dataclass(frozen=True, slots=True)
class GraphRecord:
    """One ONNX graph of the bundle, with what has to be known to compile it.

    Attributes:
        name: Unique in the bundle: ``fp32`` (the export), ``fp16``, ``bf16`` (FP32 that rounds to
            BF16), ``bf16-typed``, ``int8`` (INT8 beside FP32), ``int8-fp16``, ``int8-bf16``; and
            half precisions that follow a plan, whose names end in ``-planned``.
        file: Relative path.
        precision: Precision of the products that are reduced, ``fp32`` where none is.
        batch: Images per inference, static.
        opset: Opset of the ONNX domain; None where the bundle does not say.
        weight_bits: Bits that INT8 weights use, 7 or 8; None in a graph without INT8.
    """

    name: str
    file: str
    precision: Precision
    batch: Batch = 1
    opset: Count | None = None
    weight_bits: Annotated[int, Between(1, 64)] | None = None


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """One engine of the bundle.

    Attributes:
        name: Unique in the bundle, ``<target>-<precision>``.
        target: Which runtime runs it (a name of :mod:`mahtrt.targets.table`).
        files: Role to relative path; ``onnx`` is the graph the engine was made from.
        batch: Images per inference, static.
        device: What it was compiled for.
        versions: Versions of the libraries that compiled it.
        verdict: The accuracy gate's verdict, None where it was not judged.
        accuracy: What the verdict rests on.
        latency: Measured when it was built, None where the engine could not run there.
        notes: What the user should know, one sentence each.
        build: How it was built; TensorRT engines have it.
        golden: How far it was from the golden vectors where it was built; None without any, and in
            bundles of earlier versions.
    """

    name: str
    target: str
    precision: Precision
    files: Mapping[str, str]
    batch: Batch = 1
    device: DeviceRecord = field(default_factory=DeviceRecord)
    versions: Mapping[str, str] = field(default_factory=dict)
    verdict: VerdictRecord | None = None
    accuracy: AccuracyRecord | None = None
    latency: LatencyRecord | None = None
    notes: tuple[str, ...] = ()
    build: BuildRecord | None = None
    golden: AccuracyRecord | None = None


@dataclass(frozen=True, slots=True)
class GoldenPicture:
    """An image of a golden vector as it was given.

    Attributes:
        image: PNG file.
        shape: (rows, columns) of a gray image, (rows, columns, 3) of RGB.
        dtype: Type of a sample; the PNG has 8 or 16 bits.
    """

    image: str
    shape: tuple[Pixels, ...]
    dtype: Literal["uint8", "uint16"]


@dataclass(frozen=True, slots=True)
class GoldenOutput:
    """What the reference gave in an output of kind map, logits or visibility.

    Attributes:
        name: Name of the output.
        file: Raw little-endian float32, in the order of ``shape``.
        shape: (C, h, w) of what is kept of a map, (L,) of logits, (K,) of visibility.
        step: Every how many rows and columns of a map are kept, from the first.
    """

    name: str
    file: str
    shape: tuple[Pixels, ...]
    step: Pixels = 1


@dataclass(frozen=True, slots=True)
class GoldenImage:
    """One golden vector: an image as it was given, and what the reference gave.

    Attributes:
        name: Name of the image in its data set.
        image: PNG file.
        points: Landmarks, raw little-endian float32, (K, 2) x, y in the image's pixels.
        shape: (rows, columns) of a gray image, (rows, columns, 3) of RGB.
        dtype: Type of a sample; the PNG has 8 or 16 bits.
        spacing_mm: (row, column) mm per pixel, None where unknown.
        others: Images of the network's further inputs, in the order of the spec.
        outputs: Maps, logits and visibility; none in bundles of earlier versions.
    """

    name: str
    image: str
    points: str
    shape: tuple[Pixels, ...]
    dtype: Literal["uint8", "uint16"]
    spacing_mm: tuple[Millimetres, Millimetres] | None = None
    others: tuple[GoldenPicture, ...] = ()
    outputs: tuple[GoldenOutput, ...] = ()

    @property
    def pictures(self) -> tuple[GoldenPicture, ...]:
        """Every image of the vector, the first input's first."""
        return (GoldenPicture(self.image, self.shape, self.dtype), *self.others)

    @property
    def paths(self) -> tuple[str, ...]:
        """Every file of the vector."""
        pictures = (picture.image for picture in self.pictures)
        return (self.points, *pictures, *(output.file for output in self.outputs))


@dataclass(frozen=True, slots=True)
class GoldenRecord:
    """The golden vectors.

    Attributes:
        reference: What made the landmarks, e.g. ``PyTorch 2.9.0 eager fp32``.
        images: The vectors; a bundle ``/1`` keeps them in ``golden.npz`` and lists none.
    """

    reference: str
    images: tuple[GoldenImage, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything a bundle says about itself.

    Attributes:
        precision: What was asked of the build.
        graphs: The ONNX graphs.
        preprocess_version: Which definition of preprocessing the numbers were measured with.
        created: When it was built, ISO 8601 with UTC offset.
        versions: Versions of mahtrt, Python and the packages that built it.
        host: The machine that built it.
        files: Every file but the manifest; filled in by the bundle writer.
        schema: The version of the format that the bundle was read from.
    """

    spec: ModelSpec
    precision: Precision
    graphs: tuple[GraphRecord, ...]
    engines: tuple[EngineRecord, ...]
    default_engine: str
    preprocess_version: int
    created: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    host: Machine | None = None
    provenance: ProvenanceRecord | None = None
    calibration: CalibrationRecord | None = None
    gate: GateRecord | None = None
    golden: GoldenRecord | None = None
    files: tuple[FileRecord, ...] = ()
    schema: str = SCHEMA

    def graph(self, name: str) -> GraphRecord | None:
        """A graph by its name, None where the bundle has none of that name."""
        return next((graph for graph in self.graphs if graph.name == name), None)

    @property
    def passed(self) -> bool:
        """Whether every engine that was judged passed its accuracy gate."""
        return all(engine.verdict.passed for engine in self.engines if engine.verdict)

    @property
    def source(self) -> SourceRecord:
        """The network that was exported, as far as the bundle says."""
        return self.provenance.source if self.provenance else SourceRecord()

    @property
    def pointed(self) -> tuple[str, ...]:
        """Every path that a graph, an engine or a golden vector points to, each once."""
        paths = (
            *(graph.file for graph in self.graphs),
            *(path for engine in self.engines for path in engine.files.values()),
            *(path for image in _golden(self) for path in image.paths),
        )
        return tuple(dict.fromkeys(paths))

    def renamed(self, names: Mapping[str, str]) -> Manifest:
        """The same with other paths of files: old path to new path."""

        def new(path: str) -> str:
            return names.get(path, path)

        images = (_moved(each, new) for each in _golden(self))
        return replace(
            self,
            graphs=tuple(replace(graph, file=new(graph.file)) for graph in self.graphs),
            engines=tuple(
                replace(engine, files={role: new(path) for role, path in engine.files.items()})
                for engine in self.engines
            ),
            golden=replace(self.golden, images=tuple(images)) if self.golden else None,
        )


def _moved(vector: GoldenImage, new: Callable[[str], str]) -> GoldenImage:
    """A golden vector whose files have new paths."""
    others = tuple(replace(other, image=new(other.image)) for other in vector.others)
    outputs = tuple(replace(each, file=new(each.file)) for each in vector.outputs)
    image, points = new(vector.image), new(vector.points)
    return replace(vector, image=image, points=points, others=others, outputs=outputs)


def _golden(manifest: Manifest) -> tuple[GoldenImage, ...]:
    return manifest.golden.images if manifest.golden else ()


def text_of_manifest(manifest: Manifest) -> str:
    """The manifest as indented JSON that ends with its own digest."""
    data = plain(manifest)
    text = json.dumps({"schema": data.pop("schema"), **data, "sha256": _ZEROS}, indent=2) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    at = text.rindex(_ZEROS)
    return text[:at] + digest + text[at + len(_ZEROS) :]


def manifest_from_bytes(raw: bytes, where: str) -> Manifest:
    """Read what :func:`text_of_manifest` wrote, in this version of the format or an older one.

    Raises:
        IntegrityError: Changed, newer than this version reads, or contradicting itself.
    """
    data = read_json(raw, where, "a manifest", error=IntegrityError, fix=REBUILD)
    if not isinstance(data, dict):
        raise IntegrityError(where, got="no table", expected="a manifest", fix=REBUILD)
    schema = str(data.get("schema"))
    check_schema(schema, SCHEMA, where)
    _check_own_digest(raw, where)
    del data["sha256"]
    if schema == version1.SCHEMA:
        data = version1.upgraded(data, where)
    if isinstance(data.get("spec"), dict):
        with as_integrity_error():
            check_schema(str(data["spec"].get("schema")), SPEC_SCHEMA, f"{where}: spec")
        data["spec"] = upgraded_spec(data["spec"])
    manifest = dataclass_from(Manifest, data, where, error=IntegrityError)
    with as_integrity_error():
        spec_from_dict(data["spec"], where=f"{where}: spec")
    check_manifest(manifest, where)
    check_preprocess_version(manifest.preprocess_version, where)
    return manifest


@contextlib.contextmanager
def as_integrity_error() -> Iterator[None]:
    """Turn an error about what a file of a bundle says into one about the bundle.

    Raises:
        IntegrityError: The block raised a SpecError.
    """
    try:
        yield
    except SpecError as error:
        raise IntegrityError(
            error.subject, got=error.got, expected=error.expected, fix=REBUILD
        ) from error


def check_manifest(manifest: Manifest, where: str) -> None:
    """Refuse a manifest that contradicts itself or points outside the bundle.

    Raises:
        IntegrityError: It does.
    """
    listed, pointed = {record.path for record in manifest.files}, set(manifest.pointed)
    for path in sorted(listed | pointed):
        check_relative(path, where)
    reserved = listed & {MANIFEST_NAME, SIGNATURE_NAME}
    if reserved:
        expected = "a name that is not reserved"
        raise IntegrityError(where, got=f"file {reserved.pop()}", expected=expected)
    if pointed - listed:
        missing = ", ".join(sorted(pointed - listed))
        raise IntegrityError(where, got=f"no digest for {missing}", expected="one for every file")
    engines = [engine.name for engine in manifest.engines]
    if manifest.default_engine not in engines:
        got = f"engines {', '.join(engines) or 'none'}; default {manifest.default_engine!r}"
        raise IntegrityError(where, got=got, expected="the default among the engines")
    graphs = [graph.name for graph in manifest.graphs]
    files = [record.path for record in manifest.files]
    for what, names in (("engine", engines), ("graph", graphs), ("file", files)):
        repeated = first_repeat(names)
        if repeated is not None:
            raise IntegrityError(where, got=f"{what} {repeated} twice", expected="it once")


def check_relative(path: str, where: str) -> None:
    """Refuse a path that is not plainly inside the bundle.

    Raises:
        IntegrityError: Absolute, with ``..``, a drive or a backslash.
    """
    parts = PurePosixPath(path).parts
    plainly = parts and str(PurePosixPath(path)) == path and not path.startswith("/")
    if not plainly or ".." in parts or any(c in path for c in "\\:\0"):
        raise IntegrityError(where, got=f"path {path!r}", expected="a path inside the bundle")


def _check_own_digest(raw: bytes, where: str) -> None:
    found = _DIGEST_LINE.search(raw)
    if found is None:
        raise IntegrityError(
            where, got="no digest of its own at the end", expected="one", fix=REBUILD
        )
    zeroed = raw[: found.start(1)] + _ZEROS.encode() + raw[found.end(1) :]
    got = hashlib.sha256(zeroed).hexdigest()
    if got != found[1].decode():
        raise IntegrityError(
            where, got=f"SHA-256 {got}", expected=f"{found[1].decode()}, as it says", fix=REBUILD
        )
