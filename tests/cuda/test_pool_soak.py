"""Very many simulated inferences: right values, nothing that grows, nothing left.

100,000 of them in the suite; ``MAHTRT_SIMULATED_RUNS=1000000`` makes it a million.
"""

from __future__ import annotations

import os
import random
import threading
from collections import deque

import numpy as np
import pytest
from copying_engine import SHAPE, CopyingPool
from fake_driver_streams import Order

from mahtrt.cuda.holding import Pending
from mahtrt.cuda.views import DeviceView

RUNS = int(os.environ.get("MAHTRT_SIMULATED_RUNS", "100000"))
MOST_AT_ONCE = 3


class Worker:
    """A thread that runs inferences of all kinds, by chance, and looks at each result."""

    def __init__(self, copies: CopyingPool, number: int, runs: int) -> None:
        self.copies, self.number, self.runs = copies, number, runs
        self.random = random.Random(number)
        self.image = np.zeros(SHAPE, np.float32)
        self.pending: deque[tuple[int, Pending]] = deque()
        # Ten addresses for eight graphs: some are captured again.
        self.sources = [copies.memory(0) for _ in range(10)]
        self.views = [
            DeviceView(each, SHAPE, np.dtype(np.float32), owner=self) for each in self.sources
        ]
        self.inputs = [copies.driver.memory.array(e, SHAPE, np.float32) for e in self.sources]
        self.stream = copies.driver.foreign_stream()
        self.error: BaseException | None = None

    def work(self) -> None:
        try:
            for turn in range(self.runs):
                self._one(turn % 65536 + 65536 * self.number)
            while self.pending:
                self._take()
        except BaseException as error:
            self.error = error

    def _one(self, value: int) -> None:
        kind = self.random.random()
        if kind < 0.1:
            self._on_device(value)
            return
        self.image.fill(value)
        feed = {"image": self.image}
        if kind < 0.3:
            self.pending.append((value, self.copies.pool.start(feed, ("spread",))))
            if len(self.pending) == MOST_AT_ONCE:
                self._take()
            return
        assert self.copies.pool.infer(feed, ("landmarks",))["landmarks"][1, 2] == value

    def _take(self) -> None:
        value, pending = self.pending.popleft()
        assert pending.result()["spread"][0, 0] == value

    def _on_device(self, value: int) -> None:
        which = min(int(self.random.expovariate(0.5)), 9)  # the first ones often
        self.inputs[which].fill(value)
        stream = self.stream if value % 2 else None
        image = {"image": self.views[which]}
        with self.copies.pool.infer_device(image, stream=stream) as result:
            result.synchronize()
            assert self.copies.value_at(result.outputs["spread"].address) == value


@pytest.mark.slow
@pytest.mark.parametrize(("order", "threads"), [("lazy", 1), ("random", 4)])
def test_very_many_runs(order: Order, threads: int) -> None:
    copies = CopyingPool(order, seed=7)
    workers = [Worker(copies, number, RUNS // 2 // threads) for number in range(threads)]
    running = [threading.Thread(target=worker.work) for worker in workers]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    for worker in workers:
        if worker.error is not None:
            raise worker.error
    assert copies.pool.made <= threads * (MOST_AT_ONCE + 1)
    graphs = len(copies.driver._execs)
    assert graphs <= copies.pool.made * 8
    assert copies.pool.problem == ""
    assert len(copies.driver.scheduler.pending()) < 100, (
        "work that nobody waits for does not pile up"
    )
    copies.drop_memory()
    copies.close()
