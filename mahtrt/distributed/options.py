"""What a prediction into a data set is asked for, and what it gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mahtrt.errors import UsageError
from mahtrt.runtime.engine_choice import Require
from mahtrt.schema import plain

if TYPE_CHECKING:
    from mahtrt.bundle.signature import Trust

FILES_PER_PART = 256
MOST_FILES_PER_PART = 65_536
RESULT_SCHEMA = "mahtrt.data-set-run/1"


@dataclass(frozen=True, slots=True)
class DatasetOptions:
    """What to predict into a data set, and how.

    Attributes:
        bundle: The ``.mahtrt`` folder, of a network of one input. Nodes of a cluster read it from
            the same path.
        archives: Folders, CSV lists of files (one in the first cell of each row) and image files,
            DICOM included; paths, or URLs that ``fsspec`` reads.
        out: The data set: a folder or a URL. Files of which there are rows are not run again.
        ray: ``local`` starts Ray here, ``auto`` or HOST:PORT joins a cluster; None runs in this
            process.
        engine: An engine of the bundle, None for its default.
        overlay: A folder, or a URL, for pictures.
        spacing_mm: Millimetres per pixel of every image; else as for :class:`PredictOptions`.
        threads: Threads of one inference, and the cores of an actor. None is one with Ray.
        workers: How many actors run; None is as many as the cluster has cores or GPUs for.
        trust: Whose signature the bundle has to have.
        require: Kind of device that the engine has to run on.
        quantities: A file that defines clinical quantities; "auto"; "none".
        files_per_part: Files of which the rows go into one Parquet file. What is killed loses the
            parts that it was at.
        watch: Go on until the run is ended by a signal, with the files that appear in the archives
            (:mod:`mahtrt.distributed.watching`); not with ``ray``.
        retry_errors: Do files of these archives again of which a row has an error.
    """

    bundle: Path
    archives: Sequence[Path | str]
    out: Path | str
    ray: str | None = None
    engine: str | None = None
    overlay: Path | str | None = None
    spacing_mm: float | None = None
    threads: int | None = None
    workers: int | None = None
    trust: Trust | None = None
    require: Require = "any"
    quantities: Path | str = "none"
    files_per_part: int = FILES_PER_PART
    watch: bool = False
    retry_errors: bool = False

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            UsageError: A number is out of its range, or two options contradict each other.
        """
        if not 1 <= self.files_per_part <= MOST_FILES_PER_PART:
            raise UsageError(
                "files_per_part",
                got=str(self.files_per_part),
                expected=f"a number from 1 to {MOST_FILES_PER_PART}",
            )
        if self.watch and self.ray is not None:
            raise UsageError("--watch", got="--ray", expected="one of the two alone")
        for name, count in (("threads", self.threads), ("workers", self.workers)):
            if count is not None and count < 1:
                raise UsageError(name, got=str(count), expected="a whole number of at least 1")


@dataclass(frozen=True, slots=True)
class DatasetResult:
    """What a run added to a data set.

    Attributes:
        out: The data set.
        rows: Rows that were added, ``errors`` of them with an error instead of a result.
        done_before: Files of which there were rows already.
        passed_over: Kind of DICOM objects without an image, to how many there were.
        restarts: How often a worker died and its images were done by another.
        workers: How many worked.
        seconds: From the first file to the last row.
        notes: What the user should know, one sentence each.
    """

    out: str
    bundle: str
    engine: str
    rows: int
    errors: int
    done_before: int
    seconds: float
    workers: int = 1
    restarts: int = 0
    passed_over: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def images_per_s(self) -> float:
        """Rows a second, errors included."""
        return self.rows / self.seconds if self.seconds > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The document of ``mahtrt predict --out … --json``."""
        rate = round(self.images_per_s, 3)
        return {"schema": RESULT_SCHEMA, **plain(self), "images_per_s": rate}
