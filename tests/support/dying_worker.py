"""A worker that dies as if the system had killed it."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from mahtrt.distributed.digest_set import DigestSet
from mahtrt.distributed.listing import ListedFile
from mahtrt.distributed.loading import LoadedFile, Loader, PassedOver
from mahtrt.distributed.worker import Job, Worker


class DiesOnce(Worker):
    """Dies at the first file of a name, once: a file beside the data set notes that it did."""

    def __init__(self, job: Job, done: DigestSet) -> None:
        super().__init__(job, done)
        mark = Path(f"{job.data_set.place}.died")
        self._loader = _DyingLoader(self._loader.done, self._loader.spacings, "run.dcm", mark)


class DiesAlways(Worker):
    """Dies at every file of a name."""

    def __init__(self, job: Job, done: DigestSet) -> None:
        super().__init__(job, done)
        self._loader = _DyingLoader(self._loader.done, self._loader.spacings, "killer")


@dataclass(frozen=True, slots=True)
class _DyingLoader(Loader):
    at: str
    mark: Path | None = None

    def load(self, listed: ListedFile) -> LoadedFile | PassedOver:
        if self.at in listed.location and not (self.mark and self.mark.exists()):
            if self.mark:
                self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return Loader.load(self, listed)
