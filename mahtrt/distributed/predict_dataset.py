"""The verb ``predict --out``: an archive of any size into a data set, here or on a cluster."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from mahtrt.data.datasets import check_spacing
from mahtrt.data.studies import passed_over_note
from mahtrt.digest import sha256_of_file
from mahtrt.distributed.data_set import DataSet, Run, open_data_set
from mahtrt.distributed.listing import Chunk, check_archives, check_overlay, chunks_of, files_of
from mahtrt.distributed.options import DatasetOptions, DatasetResult
from mahtrt.distributed.retrying import drop_errors
from mahtrt.distributed.rows import Columns
from mahtrt.distributed.storage import text_of_location
from mahtrt.distributed.watching import Watching, chunks_as_they_appear
from mahtrt.distributed.worker import ChunkReport, Job, MakeWorker, Worker, bundle_of
from mahtrt.errors import UsageError
from mahtrt.interrupt import Terminated
from mahtrt.measure.quantity_file import quantities_for
from mahtrt.names import text_of_path
from mahtrt.progress import StageProgress, silent
from mahtrt.runtime.decode import landmark_names
from mahtrt.runtime.engine_choice import choose_engine
from mahtrt.runtime.verdict import notes_of, verdict_of

STAGE = "predicting"


def predict_dataset(
    options: DatasetOptions,
    progress: StageProgress = silent,
    *,
    make_worker: MakeWorker = Worker,
    watching: Watching | None = None,
) -> DatasetResult:
    """Run a bundle on every image of some archives, and write a row for each.

    Rows appear a part of some hundred files at a time. A run that is killed, at whatever moment,
    goes on where it was when it is started again with the same options: no row is missing then and
    none is there twice. An image that cannot be used is a row with its error.

    Args:
        progress: Told of the files that are done, with the rate.
        make_worker: What makes a worker.
        watching: How folders are watched, where they are.

    Raises:
        DataError: An archive that is not there, or a data set of another run.
        UsageError: A network of several inputs, or one that gives only maps.
        IntegrityError: A changed bundle, or another run that began to write there since.
        MissingComponentError: A package is not installed, or the cluster cannot be reached.
    """
    options.check()
    if options.spacing_mm is not None:
        check_spacing(options.spacing_mm)
    archives = [text_of_location(archive) for archive in options.archives]
    check_archives(archives)
    check_overlay(options.overlay, archives)
    plan = _plan(options)
    with ExitStack() as stack:
        if options.ray is not None:
            from mahtrt.distributed.cluster import joined_cluster

            cluster = stack.enter_context(joined_cluster(options.ray))
        data_set = open_data_set(text_of_location(options.out), plan.run)
        job = plan.job(data_set)
        again = drop_errors(data_set, archives) if options.retry_errors else 0
        done = data_set.done()
        seen = Seen(len(done), _Total([] if options.watch else archives), progress, again=again)
        if options.ray is not None:
            from mahtrt.distributed.pipeline import ClusterRun, reports_of_cluster

            run = ClusterRun(job, done, archives, options, make_worker)
            seen.take(reports_of_cluster(cluster, run))
        elif options.watch:
            chunks = chunks_as_they_appear(archives, options.files_per_part, watching or Watching())
            with contextlib.suppress(KeyboardInterrupt, Terminated):  # how such a run ends
                seen.take(_reports_here(make_worker(job, done), chunks))
        else:
            chunks = chunks_of(files_of(archives), options.files_per_part)
            seen.take(_reports_here(make_worker(job, done), chunks))
        return seen.result(data_set, plan)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run, as every node is told."""

    options: DatasetOptions
    run: Run
    notes: tuple[str, ...]

    def job(self, data_set: DataSet) -> Job:
        """What workers do."""
        options = self.options
        overlay = None if options.overlay is None else text_of_location(options.overlay)
        return Job(
            str(Path(options.bundle).absolute()),
            data_set,
            threads=options.threads or (None if options.ray is None else 1),
            trust=options.trust,
            overlay=overlay,
            spacing_mm=options.spacing_mm,
            quantities=str(options.quantities),
        )


def _plan(options: DatasetOptions) -> Plan:
    """Choose the engine once, for all nodes, and check what can be before anything starts."""
    from mahtrt import __version__

    bundle = bundle_of(str(options.bundle), options.trust)
    if len(bundle.spec.input_names) > 1:
        raise UsageError(
            "--out",
            got=f"a network of {len(bundle.spec.input_names)} inputs",
            expected="one of a single image",
            fix="Write its results with --json.",
        )
    selection = quantities_for(options.quantities, landmark_names(bundle.spec))
    Columns(bundle.spec, selection)
    record, note = choose_engine(bundle, options.engine, options.require)
    told = str(options.quantities)
    if selection is not None and told != "auto":
        told = sha256_of_file(Path(options.quantities))
    changing = {"spacing_mm": options.spacing_mm, "quantities": told}
    name = text_of_path(Path(options.bundle).name)
    run = Run(name, bundle.manifest_sha256, record.name, __version__, changing)
    verdict = verdict_of(bundle.manifest, record)
    return Plan(options, run, (*([note] if note else []), *notes_of(record.name, verdict)))


def _reports_here(worker: Worker, chunks: Iterable[Chunk]) -> Iterator[ChunkReport]:
    with closing(worker):
        for chunk in chunks:
            yield worker.run(chunk)


class _Total:
    """How many files there are, counted beside the work; None until that is known."""

    def __init__(self, archives: list[str]) -> None:
        self.files: int | None = None
        self._archives = archives
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        try:
            self.files = sum(1 for _ in files_of(self._archives))
        except Exception:  # whoever reads the archive tells of it
            return


@dataclass(slots=True)
class Seen:
    """What chunks reported so far.

    Attributes:
        done_before: Files of which there were rows at the start.
        total: How many files the archives hold, as far as that is known.
        again: How many files are done again.
    """

    done_before: int
    total: _Total
    progress: StageProgress
    files: int = 0
    rows: int = 0
    errors: int = 0
    skipped: int = 0
    restarts: int = 0
    again: int = 0
    passed_over: Counter[str] = field(default_factory=Counter)
    workers: dict[tuple[str, int], None] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)

    def take(self, reports: Iterable[ChunkReport]) -> None:
        """Add up what chunks report, and tell of the progress."""
        self.progress(STAGE, 0, self.total.files or 0)
        for report in reports:
            self.files += report.files
            self.rows += report.rows
            self.errors += report.errors
            self.skipped += report.done_before
            self.restarts += report.begun_before
            self.passed_over.update(report.passed_over)
            self.workers[report.node, report.pid] = None
            rate = self.rows / max(time.monotonic() - self.begun, 1e-9)
            told = f"{rate:.1f} images/s" + (f", {self.errors} errors" if self.errors else "")
            self.progress(STAGE, self.files, self.total.files or 0, told)

    def result(self, data_set: DataSet, plan: Plan) -> DatasetResult:
        """What the run added."""
        notes = [*plan.notes]
        if self.again:
            notes.append(f"rows of {self.again} file(s) with an error were removed, for a retry")
        if self.skipped and plan.options.overlay is not None:
            notes.append(
                f"pictures are drawn of images that are done in this run: of the {self.skipped} "
                "file(s) that were done before, none was drawn"
            )
        if self.passed_over:
            notes.append(passed_over_note(self.passed_over))
        if self.errors:
            notes.append(f"{self.errors} of the rows have an error: see their column error_message")
        if not self.files:
            notes.append("the archives hold no file that may be an image")
        return DatasetResult(
            data_set.place,
            plan.run.bundle,
            plan.run.engine,
            self.rows,
            self.errors,
            self.skipped,
            time.monotonic() - self.begun,
            workers=len(self.workers),
            restarts=self.restarts,
            passed_over=dict(self.passed_over),
            notes=tuple(notes),
        )
