"""The run on Ray: Ray Data streams chunks of files from a task that lists them to actors.

An actor holds a session and writes the parts of its chunks itself, so that only names and counts go
through Ray's object store. Ray Data keeps a few chunks per actor in flight and stops the listing
when they are not taken. A worker that dies is started again, and its chunk is done again, whole:
parts appear whole or not at all, so no row of it is there yet, or the same part is written twice.
"""

from __future__ import annotations

import contextlib
import pickle
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mahtrt.bundle.bundle import read_bundle
from mahtrt.distributed.cluster import Cluster
from mahtrt.distributed.digest_set import DigestSet
from mahtrt.distributed.guard import Deaths
from mahtrt.distributed.listing import Chunk, chunks_of, files_of
from mahtrt.distributed.options import DatasetOptions
from mahtrt.distributed.outcome import Failure, ended_by_ray, outcome_of, packed, unpacked
from mahtrt.distributed.worker import ChunkReport, Job, MakeWorker, Worker
from mahtrt.distributed.working_folder import WorkingFolder, files_of_trust
from mahtrt.errors import require
from mahtrt.targets.table import find_target

_CHUNK, _REPORT = "chunk", "report"
_FEWER_CHUNKS = "The minimum number of concurrent actors"  # than actors: what Ray Data warns of


@dataclass(frozen=True, slots=True)
class ClusterRun:
    """What is run on a cluster.

    Attributes:
        make_worker: What actors make; tests give one that dies.
    """

    job: Job
    done: DigestSet
    archives: Sequence[str]
    options: DatasetOptions
    make_worker: MakeWorker = Worker

    def folder(self) -> WorkingFolder:
        """Where its relative paths begin."""
        named = [*self.archives, self.job.data_set.place, *files_of_trust(self.job.trust)]
        if self.job.overlay is not None:
            named.append(self.job.overlay)
        if self.job.quantities not in ("auto", "none"):
            named.append(self.job.quantities)
        return WorkingFolder.of_command(named)


class Board:
    """An actor of its own that outlives workers: at which files they died."""

    def __init__(self) -> None:
        self._chunks: dict[int, Deaths] = {}

    def begin_chunk(self, chunk: int) -> int:
        """Note that a chunk is begun; gives how often it was before."""
        return self._chunks.setdefault(chunk, Deaths()).begin_chunk()

    def begin_file(self, chunk: int, place: int) -> int:
        """Note that a file of a chunk is begun; gives how many workers died at it."""
        return self._chunks.setdefault(chunk, Deaths()).begin_file(place)

    def end_chunk(self, chunk: int) -> None:
        """Forget a chunk."""
        self._chunks.pop(chunk, None)


@dataclass(frozen=True, slots=True)
class BoardGuard:
    """The board, as the worker of one chunk asks it."""

    ray: Any
    board: Any
    chunk: int

    def begin_file(self, place: int) -> int:
        deaths: int = self.ray.get(self.board.begin_file.remote(self.chunk, place))
        return deaths


class PredictActor:
    """What Ray Data calls with a chunk at a time.

    Args:
        job: What to do.
        folder: Where its relative paths begin.
        done: Reference to the sorted digests of the files that have rows, in a list, so that Ray
            does not put a copy into every call.
        board: The board.
        make_worker: What makes the worker.
    """

    def __init__(
        self,
        job: Job,
        folder: WorkingFolder,
        done: list[Any],
        board: Any,
        make_worker: MakeWorker,
    ) -> None:
        import ray

        def made() -> Worker:
            folder.enter()
            return make_worker(job, DigestSet.of_array(ray.get(done[0])))

        self._ray, self._board = ray, board
        # A failure is told by the first chunk: Ray would start an actor that fails again and again.
        self._worker = outcome_of(made)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        reports = [packed(self._report(pickle.loads(raw))) for raw in batch[_CHUNK]]
        return {_REPORT: np.array(reports, dtype=object)}

    def _report(self, listed: tuple[int, Chunk] | Failure) -> ChunkReport | Failure:
        worker = self._worker
        if isinstance(worker, Failure):
            return worker
        if isinstance(listed, Failure):
            return listed
        number, chunk = listed
        return outcome_of(lambda: self._run(worker, number, chunk))

    def _run(self, worker: Worker, number: int, chunk: Chunk) -> ChunkReport:
        before = self._ray.get(self._board.begin_chunk.remote(number))
        guard = BoardGuard(self._ray, self._board, number) if before else None
        report = worker.run(chunk, guard)
        self._board.end_chunk.remote(number)
        return replace(report, begun_before=before)


def reports_of_cluster(cluster: Cluster, run: ClusterRun) -> Iterator[ChunkReport]:
    """What the chunks of some archives report, as they are done.

    Raises:
        MahtrtError, OSError: What a worker or the listing ended with.
        BuildError: What else ended the run.
    """
    ray, threads = cluster.ray, run.job.threads or 1
    record = read_bundle(run.options.bundle, verify=False).engine(run.job.data_set.run.engine)
    gpus = int(find_target(record.target).device == "cuda")
    workers = run.options.workers or cluster.workers(threads, gpus)
    done = ray.put(run.done.array())
    folder = run.folder()
    source = _source(run.archives, run.options.files_per_part, folder)
    with chunk_is_block(ray):
        stream = ray.data.read_datasource(source, num_cpus=0, override_num_blocks=1).map_batches(
            PredictActor,
            batch_size=1,
            fn_constructor_args=(run.job, folder, [done], new_board(ray), run.make_worker),
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=threads,
            **({"num_gpus": gpus} if gpus else {}),
        )
        try:
            for row in stream.iter_rows():
                yield unpacked(row[_REPORT])
        except ray.exceptions.RayError as error:
            raise ended_by_ray(error) from error


def new_board(ray: Any) -> Any:
    """A board that any node may hold, and that comes back empty where its node dies."""
    return ray.remote(Board).options(num_cpus=0, max_restarts=-1, max_task_retries=-1).remote()


@contextlib.contextmanager
def chunk_is_block(ray: Any, *, in_order: bool = False) -> Iterator[None]:
    """Let Ray Data give every row to whichever actor is free, without joining or splitting.

    How many chunks there are is known when all are listed: fewer than actors are no cause to warn.
    """
    context = ray.data.DataContext.get_current()
    options = context.execution_options
    before = (
        *(context.enable_progress_bars, context.target_max_block_size),
        *(context.target_min_block_size, options.preserve_order),
    )
    context.enable_progress_bars, context.target_max_block_size = False, 1
    context.target_min_block_size, options.preserve_order = 0, in_order
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", _FEWER_CHUNKS, UserWarning, r"ray\.data\.")
            yield
    finally:
        context.enable_progress_bars, context.target_max_block_size = before[:2]
        context.target_min_block_size, options.preserve_order = before[2:]


def _source(archives: Sequence[str], size: int, folder: WorkingFolder) -> Any:
    """A source of Ray Data with one task, which lists files as long as chunks are taken."""
    data = require("ray.data", extra="ray", needed_for="--ray")
    block = require("ray.data.block", extra="ray", needed_for="--ray")
    pa = require("pyarrow", extra="ray", needed_for="--ray")

    def listed() -> Iterator[Any]:
        try:
            folder.enter()
            for numbered in enumerate(chunks_of(files_of(archives), size)):
                yield pa.table({_CHUNK: [packed(numbered)]})
        except Exception as error:  # a worker hands it on
            yield pa.table({_CHUNK: [packed(Failure.of(error))]})

    class Archives(data.Datasource):  # type: ignore[misc, name-defined]
        """The only kind of source that may list while it is read."""

        def estimate_inmemory_data_size(self) -> int | None:
            return None

        def get_read_tasks(self, *_: Any, **__: Any) -> list[Any]:
            about = block.BlockMetadata(
                num_rows=None, size_bytes=None, input_files=None, exec_stats=None
            )
            return [data.ReadTask(listed, about)]

    return Archives()
