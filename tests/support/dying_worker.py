"""A worker that dies as if the system had killed it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from mahtrt.distributed.chunk_rows import ChunkRows
from mahtrt.distributed.listing import ListedFile
from mahtrt.distributed.worker import Worker


class DiesOnce(Worker):
    """Dies at the first file of a name, once: a file beside the data set notes that it did."""

    def _run_file(self, listed: ListedFile, found: ChunkRows) -> None:
        mark = Path(f"{self.job.data_set.place}.died")
        if listed.location.endswith("run.dcm") and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        super()._run_file(listed, found)


class DiesAlways(Worker):
    """Dies at every file of a name."""

    def _run_file(self, listed: ListedFile, found: ChunkRows) -> None:
        if "killer" in listed.location:
            os.kill(os.getpid(), signal.SIGKILL)
        super()._run_file(listed, found)
