"""Engines and kernel timings of earlier builds.

An engine is reused when every field of its :class:`EngineKey` is the same; the fields are readable
in the cache and in a bundle's manifest, so that a rebuild can be explained. The folder holds

    engines/<digest of the key>.json   the key, its files' digests, how long the build took
    files/<digest>                     engines and layer reports; the oldest in use go first
    timing/<readable name>.bin         kernel timings, led by their SHA-256

Every file is written whole or not at all, and read back against its SHA-256, so concurrent builds
do not disturb each other and a damaged file is as good as none. Plans are executable code: who can
write the folder decides what runs, so it is made for the user alone, and refused where it is not.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mahtrt import files
from mahtrt.atomic import atomic_path, write_bytes_atomic, write_text_atomic
from mahtrt.bundle.records import KEY_SCHEMA, BuildFacts, EngineKey
from mahtrt.cache import ENVIRONMENT, cache_folder, make_private
from mahtrt.digest import sha256_of_file
from mahtrt.errors import InputError, IntegrityError, MahtrtError
from mahtrt.parsing import read_json_file
from mahtrt.reading import Wanted, read_regular
from mahtrt.schema import check_schema, dataclass_from, plain
from mahtrt.scratch import sweep_once

ENTRY_SCHEMA = "mahtrt.cached-engine/1"
# Some thirty FP32 engines of the largest network.
LIMIT_BYTES = 8 * 2**30
# Entries are a few kilobytes and outlive their engines: they know how long a build takes.
LIMIT_ENTRIES = 1000
_MOST_TIMING_BYTES = 2**30

Outcome = Literal["taken", "gone", "damaged"]


@dataclass(frozen=True, slots=True)
class CachedEngine:
    """What the cache knows about an engine.

    Attributes:
        files: Role (``plan``, ``layers``) to SHA-256.
        seconds: How long the build took.
        facts: What the build found out.
    """

    key: EngineKey
    files: Mapping[str, str]
    seconds: float
    facts: BuildFacts
    schema: str = ENTRY_SCHEMA


def explain_difference(wanted: EngineKey, found: EngineKey) -> tuple[str, ...]:
    """Each field in which two keys differ: ``optimization_level (5 wanted, 3 cached)``."""
    ours, theirs = plain(wanted), plain(found)
    return tuple(
        f"{name} ({_shown(ours[name])} wanted, {_shown(theirs[name])} cached)"
        for name in ours
        if ours[name] != theirs[name]
    )


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(value) or "none"
    return "default" if value is None else str(value) or "none"


class EngineCache:
    """A folder of engines.

    Args:
        folder: Made if missing.
        limit_bytes: More than this is not kept.

    Raises:
        InputError: Others may change it (:func:`mahtrt.cache.make_private`).
        OSError: It cannot be made or written.
    """

    def __init__(self, folder: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder, self.limit_bytes = folder, limit_bytes
        make_private(folder)
        for name in ("engines", "files", "timing"):
            make_private(folder / name)
            sweep_once(folder / name)  # where all is found, nothing is written
        if not os.access(folder / "files", os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied", str(folder / "files"))

    def find(self, key: EngineKey) -> CachedEngine | None:
        """What is known of the engine with exactly this key."""
        entry = self._read(self._entry_place(key))
        return entry if entry is not None and entry.key == key else None

    def nearest(self, key: EngineKey) -> CachedEngine | None:
        """The engine of the same ONNX and flavour whose key differs in the fewest fields."""
        others = [
            entry
            for entry in self._entries()
            if entry.key != key
            and (entry.key.onnx_sha256, entry.key.flavour) == (key.onnx_sha256, key.flavour)
        ]
        return min(others, key=lambda e: len(explain_difference(key, e.key)), default=None)

    def take(self, entry: CachedEngine, places: Mapping[str, Path]) -> Outcome:
        """Copy an engine's files out, and see that they are what was stored.

        Args:
            places: Role to where it goes.

        Returns:
            Unless it is ``taken``, nothing is at ``places``.

        Raises:
            BuildError: A place cannot be written.
        """
        outcome: Outcome = "taken"
        for role, digest in entry.files.items():
            try:
                with atomic_path(places[role]) as sibling:
                    self._copy_checked(digest, sibling)
            except FileNotFoundError:
                outcome = "gone"
            except IntegrityError:
                outcome = "damaged"
                files.remove(self._file_place(digest))
        if outcome != "taken":
            for role in entry.files:
                files.remove(places[role])
        return outcome

    def store(self, entry: CachedEngine, places: Mapping[str, Path]) -> None:
        """Keep an engine, and let the oldest go where there are too many.

        Raises:
            BuildError: The disk is full, or the folder cannot be written.
            OSError: Any other failure of the file system.
        """
        for role, digest in entry.files.items():
            place = self._file_place(digest)
            if not place.is_file():
                with atomic_path(place) as sibling:
                    files.copy(places[role], sibling)
        text = json.dumps(plain(entry), indent=2) + "\n"
        write_text_atomic(self._entry_place(entry.key), text)
        self._evict(keep=set(entry.files.values()))

    def timing_place(self, key: EngineKey) -> Path:
        """Where the kernel timings for this GPU, driver and version of TensorRT are."""
        parts = (key.flavour, key.tensorrt, key.platform, key.gpu, *key.compute_capabilities)
        name = "-".join((*parts, f"cuda{key.cuda_driver}"))
        return self.folder / "timing" / (re.sub(r"[^\w.-]+", "_", name) + ".bin")

    def _entry_place(self, key: EngineKey) -> Path:
        return self.folder / "engines" / f"{key.sha256}.json"

    def _file_place(self, digest: str) -> Path:
        return self.folder / "files" / digest

    def _entries(self) -> Iterator[CachedEngine]:
        """Every readable entry, newest first."""
        places = sorted((self.folder / "engines").glob("[!.]*.json"), key=_age)
        yield from (entry for place in places if (entry := self._read(place)) is not None)

    def _read(self, place: Path) -> CachedEngine | None:
        """An entry; None where there is none, or none that this version reads."""
        try:
            data = read_json_file(place, Wanted("a cached engine"))
            check_schema(str(data.get("schema")), ENTRY_SCHEMA, str(place))
            entry = dataclass_from(CachedEngine, data, str(place))
        except (AttributeError, MahtrtError):
            return None
        plain = all(re.fullmatch("[0-9a-f]{64}", digest) for digest in entry.files.values())
        return entry if plain and entry.key.schema == KEY_SCHEMA else None

    def _copy_checked(self, digest: str, place: Path) -> None:
        source = self._file_place(digest)
        files.copy(source, place)
        if sha256_of_file(place) != digest:
            raise IntegrityError(str(source), got="another SHA-256", expected=digest)
        with contextlib.suppress(OSError):  # a read-only cache is a cache still
            os.utime(source)

    def _evict(self, keep: set[str]) -> None:
        """Remove files that were not used for longest, until the rest is within the limit."""
        total = 0
        for place in sorted((self.folder / "files").glob("[!.]*"), key=_age):
            with contextlib.suppress(OSError):
                total += place.stat().st_size
                if total > self.limit_bytes and place.name not in keep:
                    total -= place.stat().st_size
                    files.remove(place)
        for place in sorted((self.folder / "engines").glob("[!.]*"), key=_age)[LIMIT_ENTRIES:]:
            files.remove(place)


def _age(place: Path) -> float:
    """Sorts the newest first; what vanished meanwhile counts as oldest."""
    try:
        return -place.stat().st_mtime
    except OSError:
        return 0.0


def open_cache(
    given: Path | None, environment: Mapping[str, str] = os.environ
) -> tuple[EngineCache | None, str]:
    """The cache and "", or None and why there is none.

    Raises:
        InputError: A folder was asked for, here or by $MAHTRT_CACHE_DIR, and cannot be used.
    """
    try:
        folder = cache_folder(given, environment)
        return EngineCache(folder), ""
    except (InputError, OSError, RuntimeError) as error:  # RuntimeError: there is no home
        if given is None and not environment.get(ENVIRONMENT):
            return None, f"No engine cache: {error}."
        if isinstance(error, InputError):  # which says it all
            raise
        raise InputError(
            "cache_dir" if given is not None else f"${ENVIRONMENT}",
            got=str(error),
            expected="a folder that can be made and written, by nobody else",
            fix="Name another, or build without a cache.",
        ) from error


def read_timing_cache(place: Path) -> bytes:
    """Kernel timings; empty where there are none or the file is damaged."""
    try:
        data = read_regular(place, Wanted("kernel timings"), _MOST_TIMING_BYTES)
    except InputError:
        return b""
    head, body = data[:32], data[32:]
    return body if hashlib.sha256(body).digest() == head else b""


def write_timing_cache(place: Path, data: bytes) -> None:
    """Write what :func:`read_timing_cache` reads.

    Raises:
        BuildError: The disk is full, or the place cannot be written.
    """
    write_bytes_atomic(place, hashlib.sha256(data).digest() + data)
