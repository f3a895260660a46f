"""Folders of a build that is under way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mahtrt import files
from mahtrt.atomic import scratch_beside


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where a build puts its files until the last stage writes the bundle.

    Attributes:
        bundle: Folder with the files of the bundle, laid out as they will be there.
        scratch: Folder for what no bundle keeps.
    """

    bundle: Path
    scratch: Path


@contextlib.contextmanager
def open_workspace(out: Path) -> Iterator[Workspace]:
    """A workspace on the disk of the bundle, gone when the block ends.

    Raises:
        BuildError: The disk is full, or the place cannot be written.
    """
    with scratch_beside(out.resolve()) as root:
        work = Workspace(root / "bundle", root / "scratch")
        for folder in (work.bundle, work.scratch):
            files.make_folder(folder)
        yield work
