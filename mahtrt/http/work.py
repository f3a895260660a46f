"""Requests that wait for a bundle, and the threads that work them off.

A thread takes what waits, decodes it, runs it, and makes the answers; the event loop does none of
it. There is one thread more than inferences run at a time, so that images are decoded while others
are in the engine, and no more of them than threads are decoded in memory. Where the engine takes
several cases at once, a thread waits a moment for more of the same kind.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from mahtrt.http.metrics import Metrics
from mahtrt.http.options import HttpOptions
from mahtrt.http.refusals import ENDING, FULL, Refusal
from mahtrt.http.served import Opened, Served
from mahtrt.http.turns import Turns


class Work(Protocol):
    """What a request asks of a bundle; every step runs in a worker's thread."""

    def prepare(self, opened: Opened) -> Any:
        """What goes into the engine, of the bytes that came."""

    def cases(self, prepared: Any) -> int:
        """How many cases these are."""

    def run(self, opened: Opened, prepared: Sequence[Any]) -> Sequence[Any]:
        """What the engine gives for several pieces of work of the same kind."""

    def answer(self, opened: Opened, prepared: Any, found: Any) -> Any:
        """What the client gets."""


@dataclass(slots=True, eq=False)
class _Job:
    work: Work
    future: Future[Any] = field(default_factory=Future)
    since: float = field(default_factory=time.perf_counter)
    prepared: Any = None


class Queue:
    """What waits for one bundle."""

    def __init__(self, served: Served, options: HttpOptions, metrics: Metrics) -> None:
        self.served = served
        self._metrics, self._name = metrics, served.name
        self._most_waiting = options.most_waiting
        self._batch_wait_s = options.batch_wait_ms / 1e3
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._is_closed = self._is_gathering = False
        self._engine = Turns(options.streams)
        self._threads = [
            threading.Thread(target=self._work, name=f"work-{served.name}-{i}", daemon=True)
            for i in range(options.streams + 1)
        ]
        metrics.waiting.labels(self._name).set(0)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def check_room(self) -> None:
        """Refuse a request before its body is read.

        Raises:
            Refusal: As many wait as may, or the bundle is not ready.
        """
        if not self.served.is_ready:
            raise self.served.refusal()
        if len(self._jobs) >= self._most_waiting:
            raise Refusal(FULL, f"{self._most_waiting} requests wait for model {self._name}")

    def put(self, work: Work) -> Future[Any]:
        """Let work wait for its turn; cancelling the result takes it out again.

        Raises:
            Refusal: As for :meth:`check_room`.
        """
        job = _Job(work)
        with self._changed:
            if self._is_closed:
                raise Refusal(ENDING, "the service ends")
            self.check_room()
            self._jobs.append(job)
            self._metrics.waiting.labels(self._name).set(len(self._jobs))
            # One who gathers has to hear of it, whoever else waits.
            self._changed.notify(len(self._threads) if self._is_gathering else 1)
        job.future.add_done_callback(lambda future: self._forget(job, future))
        return job.future

    def close(self) -> None:
        """Refuse what waits, and end the threads when they have done what they took."""
        with self._changed:
            self._is_closed = True
            left = list(self._jobs)
            self._jobs.clear()
            self._changed.notify_all()
        for job in left:
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(Refusal(ENDING, "the service ends"))
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _forget(self, job: _Job, future: Future[Any]) -> None:
        """A request that was given up makes room at once."""
        if not future.cancelled():
            return
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
            self._metrics.waiting.labels(self._name).set(len(self._jobs))

    def _work(self) -> None:
        while jobs := self._next():
            try:
                with self.served.used() as opened:
                    if ready := _prepared(jobs, opened):
                        self._run(ready, opened)
            except Exception as error:
                _fail(jobs, error)

    def _next(self) -> list[_Job]:
        """The next jobs that go together and that nobody gave up; none when no more will come.

        While one thread gathers as many as the engine takes at once, what comes is for that one.
        """
        with self._changed:
            while not self._is_closed:
                if not self._is_gathering and (job := self._pop()) is not None:
                    opened = self.served.opened
                    most = 1 if opened is None else opened.session.batch
                    return [job] if most == 1 else self._gathered(job, most)
                self._changed.wait()
        return []

    def _gathered(self, job: _Job, most: int) -> list[_Job]:
        """A job and others of its kind that come soon enough; the lock is held."""
        jobs, kind, until = [job], type(job.work), time.monotonic() + self._batch_wait_s
        self._is_gathering = True
        while len(jobs) < most:
            if (other := self._pop(kind)) is not None:
                jobs.append(other)
                continue
            left = until - time.monotonic()
            if left <= 0 or self._jobs or self._is_closed:
                break
            self._changed.wait(left)
        self._is_gathering = False
        self._changed.notify_all()
        return jobs

    def _pop(self, kind: type[Work] | None = None) -> _Job | None:
        """The first job, if it is of a kind, out of the queue; the lock is held."""
        while self._jobs and (kind is None or isinstance(self._jobs[0].work, kind)):
            job = self._jobs.popleft()
            self._metrics.waiting.labels(self._name).set(len(self._jobs))
            if job.future.set_running_or_notify_cancel():
                waited_s = time.perf_counter() - job.since
                self._metrics.waiting_seconds.labels(self._name).observe(waited_s)
                return job
        return None

    def _run(self, jobs: Sequence[_Job], opened: Opened) -> None:
        prepared = [job.prepared for job in jobs]
        cases = sum(job.work.cases(job.prepared) for job in jobs)
        try:
            with self._engine:
                if self._is_closed:  # its client was told already
                    raise Refusal(ENDING, "the service ends")
                begun = time.perf_counter()
                found = jobs[0].work.run(opened, prepared)
                lasted_s = time.perf_counter() - begun
        except Exception as error:
            if len(jobs) == 1:
                _fail(jobs, error)
                return
            for job in jobs:  # one of them may have spoilt it for the others
                self._run([job], opened)
            return
        self._metrics.inference_seconds.labels(self._name).observe(lasted_s)
        self._metrics.batch_cases.labels(self._name).observe(cases)
        self._metrics.cases.labels(self._name).inc(cases)
        for job, each in zip(jobs, found, strict=True):
            _answer(job, opened, each)


def _prepared(jobs: Sequence[_Job], opened: Opened) -> list[_Job]:
    """Those of the jobs that can be run; the others have their answer."""
    ready = []
    for job in jobs:
        try:
            job.prepared = job.work.prepare(opened)
        except Exception as error:
            _fail([job], error)
        else:
            ready.append(job)
    return ready


def _answer(job: _Job, opened: Opened, found: Any) -> None:
    try:
        answer = job.work.answer(opened, job.prepared, found)
    except Exception as error:
        _fail([job], error)
    else:
        job.future.set_result(answer)


def _fail(jobs: Sequence[_Job], error: Exception) -> None:
    for job in jobs:
        if not job.future.done():
            job.future.set_exception(error)
