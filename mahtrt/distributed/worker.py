"""A worker: a session, and what it makes of some files of an archive: one part of the data set.

The same code runs in this process, in an actor of Ray, and for a folder that is watched; so their
rows are the same.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mahtrt.bundle.bundle import Bundle, read_bundle
from mahtrt.bundle.signature import Trust
from mahtrt.distributed.archive_file import name_of
from mahtrt.distributed.chunk_rows import ChunkRows
from mahtrt.distributed.data_set import DataSet
from mahtrt.distributed.digest_set import DigestSet
from mahtrt.distributed.guard import MOST_DEATHS, Guard
from mahtrt.distributed.listing import Chunk, ListedFile
from mahtrt.distributed.loading import Decoded, Loader
from mahtrt.distributed.rows import Columns, ImageFacts, Maker, Row, error_row
from mahtrt.distributed.spacings import Spacings
from mahtrt.distributed.storage import joined, storage_of
from mahtrt.errors import IntegrityError
from mahtrt.machine import usable_cores
from mahtrt.measure.quantity_file import quantities_for
from mahtrt.runtime.decode import landmark_names
from mahtrt.runtime.landmarks import Landmarks
from mahtrt.runtime.opening import open_engine
from mahtrt.runtime.overlay import overlay_content

WORKER_DIED = "WorkerDied"


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
        self.job = job
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
        self._loader = Loader(done, Spacings(job.spacing_mm))
        # A core of its own decodes while the engine runs; one core alone gains nothing by that.
        self._ahead = job.threads or usable_cores()
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
        if guard is None:
            found = ChunkRows(self._rows_of, self.session.batch)
            for loaded in self._loader.load_all(chunk, self._ahead):
                found.take(loaded)
        else:
            found = self._guarded(chunk, guard)
        found.run_waiting()
        found.check()
        part = self._write(found)
        return ChunkReport(
            files=len(chunk),
            rows=len(found.rows),
            errors=sum("error" in row for row in found.rows),
            done_before=found.done_before,
            passed_over=found.passed_over,
            part=part,
            seconds=time.monotonic() - begun,
            pid=os.getpid(),
            node=platform.node(),
        )

    def _write(self, found: ChunkRows) -> str:
        if not found.rows:
            return ""
        data_set = self.job.data_set
        content = self._columns.parquet(found.rows, self._maker, data_set.run.identity)
        return data_set.write_part(list(found.files), content)

    def _guarded(self, chunk: Chunk, guard: Guard) -> ChunkRows:
        """The rows of a chunk at which a worker died: one file, and one image, after the other."""
        found = ChunkRows(self._rows_of, together=1)
        for place, listed in enumerate(chunk):
            deaths = guard.begin_file(place)
            if deaths < MOST_DEATHS:
                found.take(self._loader.load(listed))
            else:
                found.add(*_row_of_deaths(listed, deaths))
        return found

    def _rows_of(self, images: Sequence[Decoded], found: ChunkRows) -> list[Row]:
        """The rows of images that go through the engine together."""
        return [
            self._row(each, landmarks, found)
            for each, landmarks in zip(images, self._landmarks(images), strict=True)
        ]

    def _landmarks(self, images: Sequence[Decoded]) -> list[Landmarks | Exception]:
        """What is found in each image, or what is wrong with it."""
        spacings = [each.facts.spacing.spacing_mm for each in images]
        try:
            if len(images) == 1:
                return [self.session.run(images[0].read.pixels, spacing_mm=spacings[0])]
            return [*self.session.run_batch([e.read.pixels for e in images], spacing_mm=spacings)]
        except Exception as error:
            if len(images) == 1:
                return [error]
            # One of them may have spoilt it for the others.
            return [found for each in images for found in self._landmarks([each])]

    def _row(self, image: Decoded, landmarks: Landmarks | Exception, found: ChunkRows) -> Row:
        if isinstance(landmarks, Exception):
            return found.error_row(image.facts, landmarks)
        try:
            self._draw(image, landmarks)
        except Exception as error:
            return found.error_row(image.facts, error)
        spacing_mm = image.facts.spacing.spacing_mm
        values = (
            self._selection.values(landmarks.points, landmarks.names, spacing_mm)
            if self._selection
            else ()
        )
        return self._columns.row(image.facts, landmarks, values)

    def _draw(self, image: Decoded, landmarks: Landmarks) -> None:
        if self.job.overlay is None:
            return
        picture = image.image.picture
        place = joined(self.job.overlay, picture)
        storage_of(place).write(place, overlay_content(picture, image.read.pixels, landmarks))


MakeWorker = Callable[[Job, DigestSet], Worker]


def _row_of_deaths(listed: ListedFile, deaths: int) -> tuple[str, list[Row]]:
    """What a file is called at which workers died, and its row.

    Its name is in its start, unless that is where they die.
    """
    called = name_of(listed) if deaths < 2 * MOST_DEATHS else listed.called
    told = f"{deaths} workers died at this file"
    return called, [error_row(ImageFacts(called, called), WORKER_DIED, told)]


def bundle_of(path: str, trust: Trust | None) -> Bundle:
    """The bundle at a path; the files of its engine are hashed where it is opened."""
    return read_bundle(Path(path), verify=False, trust=trust)
