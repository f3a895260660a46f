"""manifest.json of a bundle: what was built, from what, on what, and the digest of every file.

The manifest carries its own SHA-256, taken over its bytes with the digest's place filled with
zeros, so that a changed byte anywhere in a bundle is found. Digests find accidents, not attackers:
who can write the bundle can write the digests.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal

from mahtrt.errors import IntegrityError, SpecError
from mahtrt.schema import check_schema, dataclass_from
from mahtrt.spec import ModelSpec, spec_from_dict

SCHEMA = "mahtrt.bundle/1"
MANIFEST_NAME = "manifest.json"
REBUILD = "Build the bundle again, or copy it again from where it was whole."

Precision = Literal["fp32", "fp16", "bf16", "int8"]

_ZEROS = "0" * 64
_DIGEST_LINE = re.compile(rb'"sha256": "([0-9a-f]{64})"\n\}\n\Z')


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file of the bundle; ``path`` is relative to it, with forward slashes."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """One engine of the bundle.

    Attributes:
        name: Unique in the bundle, ``<target>-<precision>``.
        target: Which runtime runs it (a name of :mod:`mahtrt.targets.table`).
        files: Role to relative path; ``onnx`` is the graph the engine was made from.
        batch: Images per inference, static.
        device: What it was compiled for: ``name``, ``capabilities``, ``inference_precision``; of
            an engine that was tuned by measurement also ``threads``, ``cores`` and what was
            ``tried``.
        versions: Of the libraries that compiled it.
        accuracy: Against PyTorch, measured by the build's gate; ``measured_on`` says on what: the
            engine itself, or what stood in for one that could not run where it was built.
        build: How it was built, where that is a long story: cache key, seconds, memory.
        latency_ms: Measured when it was built.
        notes: What the user should know, one sentence each.
    """

    name: str
    target: str
    precision: Precision
    files: Mapping[str, str]
    batch: int = 1
    device: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    accuracy: Mapping[str, Any] = field(default_factory=dict)
    latency_ms: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    build: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GoldenInfo:
    """What golden.npz holds: images with the landmarks the reference gave, in image pixels.

    Attributes:
        reference: What made the landmarks, e.g. ``torch 2.9.0 eager fp32``.
        images: Number of images.
    """

    reference: str
    images: int
    file: str = "golden.npz"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything a bundle says about itself.

    Attributes:
        precision: What was asked of the build.
        models: Precision to the ONNX file that holds it, relative.
        provenance: Where the ONNX came from (model reference, checkpoint and its digest).
        plan: The precision plan that was used.
        calibration: Digest of the images, their number, method, preprocessing version.
        gate: Verdict, budgets and numbers of the accuracy gate.
        host: The machine that built it.
        files: Every file but the manifest; filled in by the bundle writer.
    """

    spec: ModelSpec
    precision: Precision
    models: Mapping[str, str]
    engines: tuple[EngineRecord, ...]
    default_engine: str
    created: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    host: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    gate: Mapping[str, Any] = field(default_factory=dict)
    golden: GoldenInfo | None = None
    files: tuple[FileRecord, ...] = ()
    schema: str = SCHEMA


def text_of_manifest(manifest: Manifest) -> str:
    """The manifest as indented JSON that ends with its own digest."""
    data = _without_nan(dataclasses.asdict(manifest))
    schema = data.pop("schema")
    text = json.dumps({"schema": schema, **data, "sha256": _ZEROS}, indent=2) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    return text[: text.rindex(_ZEROS)] + digest + text[text.rindex(_ZEROS) + len(_ZEROS) :]


def manifest_from_bytes(raw: bytes, where: str) -> Manifest:
    """Read what :func:`text_of_manifest` wrote.

    Raises:
        IntegrityError: Changed, newer than this version reads, or contradicting itself.
    """
    try:
        data = json.loads(raw)
    except ValueError as error:  # both bad UTF-8 and bad JSON
        raise IntegrityError(
            where, got=f"text that is not JSON ({error})", expected="a manifest", fix=REBUILD
        ) from error
    if not isinstance(data, dict):
        raise IntegrityError(where, got="no table", expected="a manifest", fix=REBUILD)
    check_schema(str(data.get("schema")), SCHEMA, where)
    _check_own_digest(raw, where)
    del data["sha256"]
    manifest = dataclass_from(Manifest, data, where, error=IntegrityError)
    try:
        spec_from_dict(data["spec"], where=f"{where}: spec")
    except SpecError as error:
        raise IntegrityError(error.subject, got=error.got, expected=error.expected) from error
    check_manifest(manifest, where)
    return manifest


def check_manifest(manifest: Manifest, where: str) -> None:
    """Refuse a manifest that contradicts itself or points outside the bundle.

    Raises:
        IntegrityError: It does.
    """
    listed = {record.path for record in manifest.files}
    pointed = set(manifest.models.values())
    pointed |= {path for engine in manifest.engines for path in engine.files.values()}
    if manifest.golden:
        pointed.add(manifest.golden.file)
    for path in sorted(listed | pointed):
        check_relative(path, where)
    if pointed - listed:
        missing = ", ".join(sorted(pointed - listed))
        raise IntegrityError(where, got=f"no digest for {missing}", expected="one for every file")
    names = [engine.name for engine in manifest.engines]
    if len(set(names)) != len(names) or manifest.default_engine not in names:
        raise IntegrityError(
            where,
            got=f"engines {', '.join(names) or 'none'}; default {manifest.default_engine!r}",
            expected="names that differ, and the default among them",
        )


def check_relative(path: str, where: str) -> None:
    """Refuse a path that is not plainly inside the bundle.

    Raises:
        IntegrityError: Absolute, with ``..``, a drive or a backslash.
    """
    parts = PurePosixPath(path).parts
    plain = parts and str(PurePosixPath(path)) == path and not path.startswith("/")
    if not plain or ".." in parts or any(c in path for c in "\\:\0"):
        raise IntegrityError(where, got=f"path {path!r}", expected="a path inside the bundle")


def _without_nan(value: Any) -> Any:
    """NaN and infinity as null: JSON has neither, and other readers refuse them."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
