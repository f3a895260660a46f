"""A function over many tasks on a cluster, with the results in the order of the tasks.

For work whose parts are put together afterwards: what a calibration sees, what a bench finds.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from mahtrt.distributed.cluster import Cluster
from mahtrt.distributed.guard import MOST_DEATHS
from mahtrt.distributed.outcome import Failure, ended_by_ray, outcome_of, packed, unpacked
from mahtrt.distributed.pipeline import chunk_is_block, new_board
from mahtrt.distributed.working_folder import WorkingFolder
from mahtrt.errors import BuildError

Task = TypeVar("Task")
Result = TypeVar("Result")

_TASK, _RESULT = "task", "result"


@dataclass(frozen=True, slots=True)
class Mapping(Generic[Task, Result]):
    """What is done on a cluster.

    Attributes:
        make: Called once in each worker; gives what is called with each task. It, the tasks and the
            results are pickled.
        tasks: In order.
        locations: What workers open by its path, so that relative ones are found.
        threads: Cores of a worker.
        workers: How many; None for as many as there is room for.
    """

    make: Callable[[], Callable[[Task], Result]]
    tasks: Sequence[Task]
    locations: Sequence[str] = ()
    threads: int = 1
    gpus: int = 0
    workers: int | None = None

    def results(self, cluster: Cluster) -> Iterator[Result]:
        """The result of each task, in order; a few of them are kept at a time.

        A task whose worker dies is done by another one.

        Raises:
            MahtrtError, OSError: What a task ended with.
            BuildError: What else ended the work, such as a task at which three workers died.
        """
        ray = cluster.ray
        room = self.workers or cluster.workers(self.threads, self.gpus)
        folder = WorkingFolder.of_command(self.locations)
        items = [{_TASK: pickle.dumps(each)} for each in enumerate(self.tasks)]
        with chunk_is_block(ray, in_order=True):
            stream = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
                TaskActor,
                batch_size=1,
                fn_constructor_args=(self.make, folder, new_board(ray)),
                compute=ray.data.ActorPoolStrategy(size=min(room, len(items))),
                num_cpus=self.threads,
                **({"num_gpus": self.gpus} if self.gpus else {}),
            )
            try:
                for row in stream.iter_rows():
                    yield unpacked(row[_RESULT])
            except ray.exceptions.RayError as error:
                raise ended_by_ray(error) from error


class TaskActor:
    """What Ray Data calls with a task at a time."""

    def __init__(
        self, make: Callable[[], Callable[[Any], Any]], folder: WorkingFolder, board: Any
    ) -> None:
        import ray

        def made() -> Callable[[Any], Any]:
            folder.enter()
            return make()

        self._ray, self._board = ray, board
        # A failure is told by the first task: Ray would start an actor that fails again and again.
        self._work = outcome_of(made)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        done = [packed(self._outcome(*pickle.loads(raw))) for raw in batch[_TASK]]
        return {_RESULT: np.array(done, dtype=object)}

    def _outcome(self, number: int, task: Any) -> Any:
        work = self._work
        return (
            work if isinstance(work, Failure) else outcome_of(lambda: self._run(work, number, task))
        )

    def _run(self, work: Callable[[Any], Any], number: int, task: Any) -> Any:
        if self._ray.get(self._board.begin_chunk.remote(number)) >= MOST_DEATHS:
            raise BuildError(
                "--ray",
                got=f"{MOST_DEATHS} workers that died at the same images ({task})",
                expected="images that can be run",
                fix="Leave them out of the data.",
            )
        result = work(task)
        self._board.end_chunk.remote(number)
        return result
