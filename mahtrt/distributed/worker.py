"""A worker: a session, and what it makes of some files of an archive: one part of the data set.

The same code runs in this process, in an actor of Ray, and for a folder that is watched; so their
rows are the same.
"""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mahtrt.bundle.bundle import Bundle, read_bundle
from mahtrt.bundle.signature import Trust
from mahtrt.data.images import ReadImage
from mahtrt.distributed.archive_file import ArchiveFile, Image, open_file
from mahtrt.distributed.data_set import DataSet
from mahtrt.distributed.digest_set import DigestSet
from mahtrt.distributed.guard import MOST_DEATHS, Guard, Unguarded
from mahtrt.distributed.listing import Chunk, ListedFile
from mahtrt.distributed.rows import Columns, ImageFacts, Maker, Row, error_row, row_of_error
from mahtrt.distributed.spacings import Spacings
from mahtrt.distributed.storage import joined, storage_of
from mahtrt.errors import InputError, IntegrityError
from mahtrt.measure.quantity_file import quantities_for
from mahtrt.runtime.decode import landmark_names
from mahtrt.runtime.landmarks import Landmarks
from mahtrt.runtime.opening import open_engine
from mahtrt.runtime.overlay import overlay_content

WORKER_DIED = "WorkerDied"
_FEW = 3  # unexpected errors of a chunk that say nothing of the engine


@dataclass(frozen=True, slots=True)
class Job:
    """What every worker of a run does; it is sent to all of them.

    Attributes:
        bundle: The bundle's path, the same on all nodes.
        data_set: Where rows are written, and the run that they are of.
        overlay: Where pictures are written; None for none.
    """

    bundle: str
    data_set: DataSet
    threads: int | None = None
    trust: Trust | None = None
    overlay: str | None = None
    spacing_mm: float | None = None
    quantities: str = "none"


@dataclass(frozen=True, slots=True)
class ChunkReport:
    """What was done with the files of a chunk.

    Attributes:
        files: How many were listed, ``done_before`` of them with rows already.
        passed_over: Kind of DICOM objects without an image, to how many.
        pid: The process, and ``node`` its machine.
        begun_before: How many workers died at the chunk before.
    """

    files: int
    rows: int = 0
    errors: int = 0
    done_before: int = 0
    passed_over: Mapping[str, int] = field(default_factory=dict)
    part: str = ""
    seconds: float = 0.0
    pid: int = 0
    node: str = ""
    begun_before: int = 0


class Worker:
    """Runs files through a session and writes their rows.

    Args:
        job: What to do.
        done: The files of which there are rows.

    Raises:
        IntegrityError: Another bundle is at the bundle's path here.
        DataError, UsageError, MissingComponentError, BuildError: As ``open_session``.
    """

    def __init__(self, job: Job, done: DigestSet) -> None:
        self.job, self._done = job, done
        run = job.data_set.run
        bundle = bundle_of(job.bundle, job.trust)
        if bundle.manifest_sha256 != run.bundle_sha256:
            raise IntegrityError(
                job.bundle,
                got=f"the bundle {bundle.manifest_sha256[:12]} on {platform.node()}",
                expected=f"{run.bundle_sha256[:12]} as where the run was started",
            )
        self.session = open_engine(bundle, engine=run.engine, threads=job.threads)
        self._selection = quantities_for(job.quantities, landmark_names(bundle.spec))
        self._columns = Columns(bundle.spec, self._selection)
        self._spacings = Spacings(job.spacing_mm)
        self._maker = Maker(
            run.bundle,
            run.bundle_sha256,
            run.engine,
            self.session.device,
            run.mahtrt,
            platform.node(),
        )

    def close(self) -> None:
        """Release the engine."""
        self.session.close()

    def run(self, chunk: Chunk, guard: Guard | None = None) -> ChunkReport:
        """Run the files of a chunk that have no rows yet, and write the part of them.

        Raises:
            IntegrityError: Somebody else writes into the data set by now.
            Exception: What more than half of the images ended with, where that is no error of an
                image: the engine is broken, and no row of it is written.
        """
        begun = time.monotonic()
        guard = guard or Unguarded()
        chunk_rows = _Rows()
        for place, listed in enumerate(chunk):
            deaths = guard.begin_file(place)
            if deaths < MOST_DEATHS:
                self._run_file(listed, chunk_rows)
            else:
                chunk_rows.add(*_row_of_deaths(listed, deaths))
        chunk_rows.check()
        part = self._write(chunk_rows)
        return ChunkReport(
            files=len(chunk),
            rows=len(chunk_rows.rows),
            errors=sum("error" in row for row in chunk_rows.rows),
            done_before=chunk_rows.done_before,
            passed_over=chunk_rows.passed_over,
            part=part,
            seconds=time.monotonic() - begun,
            pid=os.getpid(),
            node=platform.node(),
        )

    def _write(self, found: _Rows) -> str:
        if not found.rows:
            return ""
        data_set = self.job.data_set
        content = self._columns.parquet(found.rows, self._maker, data_set.run.identity)
        return data_set.write_part(list(found.files), content)

    def _run_file(self, listed: ListedFile, found: _Rows) -> None:
        """Add the rows of a file: one for each frame, or one with the error of the file."""
        file = open_file(listed)
        if file is None:
            return
        if isinstance(file, str):
            found.passed_over[file] = found.passed_over.get(file, 0) + 1
            return
        if file.called in self._done:
            found.done_before += 1
            return
        facts = ImageFacts(file.called, file.called)
        try:
            content = file.read()
            facts = replace(facts, sha256=hashlib.sha256(content).hexdigest())
            images = file.images()
        except Exception as error:
            found.add(file.called, [found.error_row(facts, error)])
            return
        rows = [self._row(file, content, each, facts, found) for each in images]
        found.add(file.called, rows)

    def _row(
        self, file: ArchiveFile, content: bytes, image: Image, facts: ImageFacts, found: _Rows
    ) -> Row:
        facts = replace(facts, image=image.called)
        try:
            read = file.decode(content, image)
            rows, columns = read.pixels.shape[:2]
            spacing = self._spacings.of(file.listed, image.within, read)
            facts = replace(facts, size=(rows, columns), spacing=spacing)
            landmarks = self.session.run(read.pixels, spacing_mm=spacing.spacing_mm)
            self._draw(image, read, landmarks)
        except Exception as error:
            return found.error_row(facts, error)
        values = (
            self._selection.values(landmarks.points, landmarks.names, spacing.spacing_mm)
            if self._selection
            else ()
        )
        return self._columns.row(facts, landmarks, values)

    def _draw(self, image: Image, read: ReadImage, landmarks: Landmarks) -> None:
        if self.job.overlay is None:
            return
        place = joined(self.job.overlay, image.picture)
        content = overlay_content(image.picture, read.pixels, landmarks)
        storage_of(place).write(place, content)


MakeWorker = Callable[[Job, DigestSet], Worker]


@dataclass(slots=True)
class _Rows:
    """The rows of a chunk so far."""

    rows: list[Row] = field(default_factory=list)
    files: dict[str, None] = field(default_factory=dict)
    done_before: int = 0
    passed_over: dict[str, int] = field(default_factory=dict)
    unexpected: list[Exception] = field(default_factory=list)

    def add(self, file: str, rows: list[Row]) -> None:
        """Add the rows of a file; one that has some already, under another path, is left out."""
        if file not in self.files:
            self.files[file] = None
            self.rows += rows

    def error_row(self, facts: ImageFacts, error: Exception) -> Row:
        if not isinstance(error, InputError):
            self.unexpected.append(error)
        return row_of_error(facts, error)

    def check(self) -> None:
        """Raise what most of the images ended with, where it says more of the engine than of them.

        Raises:
            Exception: The first of these errors.
        """
        if len(self.unexpected) > max(_FEW, len(self.rows) // 2):
            raise self.unexpected[0]


def _row_of_deaths(listed: ListedFile, deaths: int) -> tuple[str, list[Row]]:
    """What a file is called at which workers died, and its row.

    Its name is in its start, unless that is where they die.
    """
    file = open_file(listed) if deaths < 2 * MOST_DEATHS else None
    called = file.called if isinstance(file, ArchiveFile) else listed.called
    told = f"{deaths} workers died at this file"
    return called, [error_row(ImageFacts(called, called), WORKER_DIED, told)]


def bundle_of(path: str, trust: Trust | None) -> Bundle:
    """The bundle at a path; the files of its engine are hashed where it is opened."""
    return read_bundle(Path(path), verify=False, trust=trust)
