"""The ``.mahtrt`` bundle: a folder that exists whole or not at all, and knows its own digests.

Writing goes into a hidden sibling that is renamed at the end; reading checks before it trusts.
Opening one engine hashes only that engine's files; :func:`verify_bundle` hashes everything.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mahtrt import files
from mahtrt.atomic import move_into_place, naming_place, scratch_beside
from mahtrt.bundle.contents import BundleFile, refuse_link_out
from mahtrt.bundle.manifest import (
    MANIFEST_NAME,
    REBUILD,
    SCHEMA,
    SIGNATURE_NAME,
    EngineRecord,
    FileRecord,
    Manifest,
    check_relative,
    manifest_from_bytes,
    text_of_manifest,
)
from mahtrt.digest import sha256_of_bytes, sha256_of_file
from mahtrt.errors import DataError, IntegrityError, MahtrtError, UsageError
from mahtrt.interrupt import interrupt_later
from mahtrt.parsing import MOST_JSON_BYTES, read_json_file
from mahtrt.reading import Wanted, read_regular
from mahtrt.spec import ModelSpec

if TYPE_CHECKING:
    from mahtrt.bundle.signature import Trust


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle on disk whose manifest has been read and checked.

    Attributes:
        manifest_sha256: Digest of the bytes that the manifest was read from.
        records: What the manifest lists, by path.
    """

    path: Path
    manifest: Manifest
    manifest_sha256: str = ""
    records: Mapping[str, FileRecord] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        records = {record.path: record for record in self.manifest.files}
        object.__setattr__(self, "records", records)

    @property
    def spec(self) -> ModelSpec:
        return self.manifest.spec

    @property
    def digests(self) -> Mapping[str, str]:
        """Path to SHA-256 of every file that a signature covers."""
        listed = {path: record.sha256 for path, record in self.records.items()}
        return {MANIFEST_NAME: self.manifest_sha256, **listed}

    @property
    def is_signed(self) -> bool:
        """Whether there is a signature, by whomever."""
        return os.path.lexists(self.path / SIGNATURE_NAME)

    def file(self, relative: str, *, verify: bool = True) -> BundleFile:
        """One of the bundle's files.

        Args:
            verify: Check size and digest when it is read.

        Raises:
            IntegrityError: The manifest does not list it.
        """
        record = self.records.get(relative)
        if record is None:
            raise IntegrityError(str(self.path / relative), got="a file the manifest does not list")
        return BundleFile(self.path, record, verify)

    def engine(self, name: str | None = None) -> EngineRecord:
        """An engine by its name, by its target, or the default one.

        Args:
            name: ``openvino-int8``; or ``openvino``: the default engine if it is of that target,
                else the one of the precision the bundle was built for; or None.

        Raises:
            UsageError: The bundle has no such engine.
        """
        manifest = self.manifest
        named = {engine.name: engine for engine in manifest.engines}
        default = named[manifest.default_engine]
        if name is None:
            return default
        if name in named:
            return named[name]
        same_target = [engine for engine in manifest.engines if engine.target == name]
        if not same_target:
            raise UsageError(
                f"engine {name!r} of {self.path.name}",
                got="no such engine",
                expected=f"one of {', '.join(named)}",
                fix="A packed bundle has one engine; mahtrt compile makes others for this host.",
            )
        if default in same_target:
            return default
        asked = (engine for engine in same_target if engine.precision == manifest.precision)
        return next(asked, same_target[0])

    def engine_files(self, engine: EngineRecord, *, verify: bool = True) -> dict[str, BundleFile]:
        """Role to file of an engine's files; ``verify`` as for :meth:`file`."""
        return {role: self.file(path, verify=verify) for role, path in engine.files.items()}


class BundleWriter:
    """What :func:`write_bundle` gives: a folder to fill, then :meth:`finish`."""

    def __init__(self, root: Path, path: Path) -> None:
        self.root, self.path = root, path
        self.manifest: Manifest | None = None

    def place(self, relative: str) -> Path:
        """Where to write one file; its folder is made.

        Raises:
            IntegrityError: The path leads out of the bundle.
        """
        check_relative(relative, str(self.path))
        place = self.root / relative
        files.make_folders(place.parent)
        return place

    def take(self, bundle: Bundle, relatives: Iterable[str]) -> None:
        """Copy files of another bundle to the same places in this one, each once.

        Raises:
            IntegrityError: One is missing or changed there.
        """
        for relative in dict.fromkeys(relatives):
            bundle.file(relative).copy_to(self.place(relative))

    def adopt(self, folder: Path) -> None:
        """Move every file of a folder on this disk to the same place in the bundle."""
        for relative, source in _files_of(folder):
            files.rename(source, self.place(relative))

    def finish(self, manifest: Manifest) -> Manifest:
        """Digest every file, keep one of those that are equal, and write the manifest.

        Args:
            manifest: Without ``files``, which are filled in.

        Returns:
            The manifest as written.

        Raises:
            IntegrityError: It names a file that was not written, or contradicts itself.
        """
        written = [
            FileRecord(relative, sha256_of_file(place), place.stat().st_size)
            for relative, place in _files_of(self.root)
            if relative != MANIFEST_NAME
        ]
        manifest = self._without_copies(replace(manifest, files=tuple(written)))
        raw = text_of_manifest(manifest).encode()
        self.manifest = manifest_from_bytes(raw, str(self.path))  # what is written can be read
        files.write_bytes(self.root / MANIFEST_NAME, raw)
        return self.manifest

    def _without_copies(self, manifest: Manifest) -> Manifest:
        """Point to one of several equal files, and remove the others.

        A file that nothing in the manifest points to is known by its name, and stays.
        """
        digests = {record.path: record.sha256 for record in manifest.files}
        first, copies = dict[str, str](), dict[str, str]()
        for path in filter(digests.__contains__, manifest.pointed):
            kept = first.setdefault(digests[path], path)
            if kept != path:
                copies[path] = kept
                files.remove(self.root / path)
        kept_files = tuple(record for record in manifest.files if record.path not in copies)
        return replace(manifest.renamed(copies), files=kept_files)


@contextlib.contextmanager
def write_bundle(path: Path) -> Iterator[BundleWriter]:
    """Write a bundle that appears at ``path`` only when the block ends well.

    A bundle already there is replaced then; anything else there is refused at once. An exception
    or Ctrl-C in the block leaves what was there, and nothing else.

    Raises:
        UsageError: Something that is not a bundle is at ``path``.
        BuildError: The disk is full, or the place cannot be written.
    """
    path = Path(path).resolve()
    check_replaceable(path)
    with scratch_beside(path) as folder:
        root = folder / "bundle"
        files.make_folder(root)
        writer = BundleWriter(root, path)
        yield writer
        assert writer.manifest is not None, "write_bundle ended without finish()"
        check_replaceable(path)
        with naming_place(path), interrupt_later():
            move_into_place(root, path)


def check_replaceable(path: Path) -> None:
    """Refuse a place that holds something other than a bundle or an empty folder.

    Worth calling before long work.

    Raises:
        UsageError: It does.
    """
    if not path.exists() and not path.is_symlink():
        return
    if path.is_dir() and (_claims_to_be_bundle(path) or not any(path.iterdir())):
        return
    raise UsageError(
        str(path),
        got="something that is not a mahtrt bundle" if path.is_dir() else "a file",
        expected="a free name, or a bundle to replace",
        fix="Choose another --out.",
    )


def check_apart(bundle: Path, out: Path) -> None:
    """Refuse to write a bundle into the one that it is made from.

    Raises:
        UsageError: ``out`` is the bundle, or a place in it.
    """
    if out.resolve().is_relative_to(bundle.resolve()):
        raise UsageError(
            str(out),
            got="the bundle itself, or a place in it",
            expected="a place of its own for the new bundle",
            fix="Choose another --out.",
        )


def read_bundle(
    path: str | Path,
    *,
    verify: bool = True,
    trust: Trust | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Bundle:
    """Read a bundle's manifest.

    Args:
        path: The ``.mahtrt`` folder.
        verify: Also hash every file (see :func:`verify_bundle`).
        trust: Whose signature the bundle has to have; every file is hashed then.
        progress: Called with (MiB hashed, MiB in all).

    Raises:
        DataError: There is no bundle.
        IntegrityError: It was changed, is newer than this version reads, or has no signature by
            whom the caller trusts.
        InputError: A trusted key or certificate cannot be used.
        MissingComponentError: The package that checks signatures is not installed.
    """
    path = Path(path)
    _check_is_bundle(path)
    wanted, place = Wanted("a manifest", IntegrityError, REBUILD), path / MANIFEST_NAME
    refuse_link_out(path, place, wanted)
    raw = read_regular(place, wanted, MOST_JSON_BYTES)
    bundle = Bundle(path, manifest_from_bytes(raw, str(place)), sha256_of_bytes(raw))
    if trust is not None:
        from mahtrt.bundle.signature import check_signature

        check_signature(bundle, trust)
    if verify or trust is not None:
        verify_bundle(bundle, progress)
    return bundle


def verify_bundle(
    bundle: Bundle | str | Path, progress: Callable[[int, int], None] | None = None
) -> Bundle:
    """Hash every file of a bundle and look for files that do not belong to it.

    Args:
        progress: Called with (MiB hashed, MiB in all).

    Raises:
        DataError: There is no bundle.
        IntegrityError: A file is missing, changed or extra; the message names it.
    """
    if not isinstance(bundle, Bundle):
        bundle = read_bundle(bundle, verify=False)
    known = {*bundle.digests, SIGNATURE_NAME}
    for relative, place in _files_of(bundle.path):
        if relative not in known:
            raise IntegrityError(
                str(place),
                got="a file the manifest does not list",
                expected="only what was built",
                fix="Move it out of the bundle.",
            )
    done, total = 0, sum(record.size for record in bundle.manifest.files)
    for record in bundle.manifest.files:
        BundleFile(bundle.path, record).check()
        done += record.size
        if progress is not None:
            progress(done >> 20, total >> 20)
    return bundle


def _check_is_bundle(path: Path) -> None:
    """Tell a folder without a manifest from one that is empty, and from no folder at all."""
    if os.path.lexists(path / MANIFEST_NAME):
        return
    try:
        holds_something = any(path.iterdir())
    except OSError as error:
        got = "nothing" if isinstance(error, FileNotFoundError) else "a file"
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            got = error.strerror or str(error)
    else:
        if holds_something:
            raise IntegrityError(
                str(path), got=f"no {MANIFEST_NAME}", expected="a mahtrt bundle", fix=REBUILD
            )
        got = "an empty folder"
    raise DataError(
        str(path),
        got=got,
        expected="a mahtrt bundle (a folder)",
        fix="Make one with: mahtrt build MODEL.onnx --out NAME.mahtrt",
    )


def _files_of(root: Path) -> list[tuple[str, Path]]:
    """Every file under ``root``, sorted by its relative path."""
    places = (place for place in root.rglob("*") if place.is_symlink() or not place.is_dir())
    return sorted((place.relative_to(root).as_posix(), place) for place in places)


def _claims_to_be_bundle(path: Path) -> bool:
    """Whether a manifest there has a bundle's schema, whatever its version or state."""
    place = path / MANIFEST_NAME
    try:
        data = read_json_file(place, Wanted("a manifest"))
    except MahtrtError:
        return False
    schema = data.get("schema") if isinstance(data, dict) else None
    return str(schema).startswith(SCHEMA.partition("/")[0] + "/")
