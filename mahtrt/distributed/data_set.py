"""The data set that a run writes: parts, the run that they are of, and who writes now.

``_mahtrt.json`` says which run the rows are of: the bundle's digest, the engine, mahtrt's version
and the options that change results. It is written before the first part, and a run that is another
one is refused. Each part appears whole or not at all, and holds every row of its files; so what is
done is what the parts say, whenever the writer was killed.

A part is named by a digest of its files: whoever does the same files again writes the same part.
A writer that was left behind, as a node of a driver that is gone, is stopped by ``_writer.json``:
every start writes a new word there, and a part is written by whom it names alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mahtrt.distributed.digest_set import DigestSet
from mahtrt.distributed.storage import Storage, storage_of
from mahtrt.errors import DataError, IntegrityError, require
from mahtrt.parsing import read_json
from mahtrt.reading import Wanted
from mahtrt.schema import check_schema, dataclass_from, plain

SCHEMA = "mahtrt.data-set/1"
MANIFEST, WRITER = "_mahtrt.json", "_writer.json"
_PART = re.compile(r"part-[0-9a-f]{24}\.parquet")
_MOST_BYTES = 2**20
_MOST_PART_BYTES = 2**31
_WANTED = Wanted("what mahtrt predict --out wrote", IntegrityError, "Choose another folder.")


@dataclass(frozen=True, slots=True)
class Run:
    """What the rows of a data set have in common.

    Attributes:
        bundle: The bundle's name, which may change.
        bundle_sha256: Digest of its manifest, which lists those of its files.
        options: What changes results: spacing, quantities.
    """

    bundle: str
    bundle_sha256: str
    engine: str
    mahtrt: str
    options: Mapping[str, Any]

    @property
    def identity(self) -> str:
        """What two runs into one data set have in common, as JSON."""
        told = plain(self)
        del told["bundle"]
        return json.dumps(told, sort_keys=True)


@dataclass(frozen=True, slots=True)
class _Manifest:
    schema: str
    run: Run


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set that is open to be written.

    Attributes:
        place: Its folder or URL.
        run: The run that its rows are of.
        writer: The word of whoever writes now.
    """

    place: str
    run: Run
    writer: str

    @property
    def storage(self) -> Storage:
        """Where it is."""
        return storage_of(self.place)

    def write_part(self, files: Sequence[str], content: bytes) -> str:
        """Write the rows of some files, whole or not at all.

        Args:
            files: What the files are called.
            content: The Parquet file.

        Returns:
            The part's name.

        Raises:
            IntegrityError: Somebody else writes into the data set by now.
        """
        told = "\n".join(sorted(files)).encode("utf-8", "surrogatepass")
        name = f"part-{hashlib.sha256(told).hexdigest()[:24]}.parquet"
        self.replace_part(name, content)
        return name

    def check_writer(self) -> None:
        """Refuse to write where another run has begun since.

        Raises:
            IntegrityError: It has.
        """
        raw = self.storage.read(f"{self.place}/{WRITER}", _WANTED, _MOST_BYTES)
        if raw != _writer_text(self.writer):
            raise IntegrityError(
                self.place,
                got="another run that writes into it since",
                expected="one at a time",
                fix="Wait for the other to end.",
            )

    def parts(self) -> list[str]:
        """Names of the parts, sorted."""
        _, names = self.storage.look_into(self.place)
        return sorted(name for name in names if _PART.fullmatch(name))

    def done(self) -> DigestSet:
        """The files of which there are rows. A part that cannot be read is removed.

        Raises:
            IntegrityError: A part is of another run.
        """
        return DigestSet(name for names in self._files_of_parts() for name in names)

    def _files_of_parts(self) -> Iterator[list[str]]:
        for name in self.parts():
            table = self.read_part(name, ["file"])
            if table is not None:
                yield list(dict.fromkeys(table.column("file").to_pylist()))

    def read_part(self, name: str, columns: list[str] | None = None) -> Any:
        """A part as a ``pyarrow.Table``; None of one that cannot be read, which is removed.

        Args:
            columns: Which of them; None for all.

        Raises:
            IntegrityError: It is of another run.
        """
        pa, pq = (
            require(name, extra="ray", needed_for="reading Parquet")
            for name in ("pyarrow", "pyarrow.parquet")
        )
        place = f"{self.place}/{name}"
        content = self.storage.read(place, _WANTED, _MOST_PART_BYTES)
        try:
            table = pq.ParquetFile(pa.BufferReader(content)).read(columns=columns)
            of_run = (table.schema.metadata or {}).get(b"mahtrt", b"").decode()
        except pa.ArrowInvalid:  # a power failure left it so: its files are done again
            self.storage.remove(place)
            return None
        if of_run != self.run.identity:
            raise IntegrityError(
                place, got="rows of another run", expected=f"rows of {self.run.engine}"
            )
        return table

    def replace_part(self, name: str, content: bytes | None) -> None:
        """Write a part anew, or remove it where nothing is left of it.

        Raises:
            IntegrityError: Somebody else writes into the data set by now.
        """
        self.check_writer()
        if content is None:
            self.storage.remove(f"{self.place}/{name}")
        else:
            self.storage.write(f"{self.place}/{name}", content)


def open_data_set(place: str, run: Run) -> DataSet:
    """Begin to write a data set, or go on with one.

    Raises:
        DataError: There is something else, or rows of another run.
        BuildError: The place cannot be written.
    """
    storage = storage_of(place)
    if storage.exists(f"{place}/{MANIFEST}"):
        _check_same(place, _read_manifest(storage, place), run)
    else:
        _refuse_others(storage, place)
        document = {"schema": SCHEMA, "run": plain(run)}
        storage.write(f"{place}/{MANIFEST}", (json.dumps(document, indent=2) + "\n").encode())
    writer = os.urandom(16).hex()
    storage.write(f"{place}/{WRITER}", _writer_text(writer))
    return DataSet(place, run, writer)


def _writer_text(writer: str) -> bytes:
    return (json.dumps({"writer": writer}) + "\n").encode()


def _read_manifest(storage: Storage, place: str) -> Run:
    where = f"{place}/{MANIFEST}"
    raw = storage.read(where, _WANTED, _MOST_BYTES)
    table = read_json(raw, where, _WANTED.expected, error=IntegrityError)
    found = dataclass_from(_Manifest, table, where, error=IntegrityError)
    check_schema(found.schema, SCHEMA, where)
    return found.run


def _check_same(place: str, there: Run, run: Run) -> None:
    if there.identity == run.identity:
        return
    ours, theirs = plain(run), plain(there)
    got, expected = [], []
    for name in ("bundle_sha256", "engine", "mahtrt", "options"):
        if ours[name] != theirs[name]:
            got.append(_told(name, theirs[name], there.bundle))
            expected.append(_told(name, ours[name], run.bundle))
    raise DataError(
        place,
        got=f"results of another run ({', '.join(got)})",
        expected=f"a free name, or results of this run ({', '.join(expected)})",
        fix="Choose another --out.",
    )


def _told(name: str, value: Any, bundle: str) -> str:
    if name == "bundle_sha256":
        return f"bundle {bundle} {str(value)[:12]}"
    return f"{name} {json.dumps(value) if isinstance(value, dict) else value}"


def _refuse_others(storage: Storage, place: str) -> None:
    folders, names = list[str](), list[str]()
    if storage.exists(place):
        if not storage.is_folder(place):
            raise DataError(place, got="a file", expected="a folder, or a free name")
        folders, names = storage.look_into(place)
    others = sorted(name for name in (*folders, *names) if not name.startswith("."))
    if others:
        raise DataError(
            place,
            got=f"a folder that holds {others[0]} and is no data set",
            expected="a free name, an empty folder, or a data set of this run",
            fix="Choose another --out.",
        )
