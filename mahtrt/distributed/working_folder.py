"""The folder in which a command runs: there relative paths begin, on every node of a cluster.

Ray's workers start in the folder of ``ray start``. They go to the command's folder instead of being
given absolute paths, since names in results begin with a location as the user gave it.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass

from mahtrt.bundle.signature import Trust
from mahtrt.distributed.storage import is_url
from mahtrt.errors import DataError


@dataclass(frozen=True, slots=True)
class WorkingFolder:
    """Where a command runs.

    Attributes:
        path: The folder; "" of one that was removed.
        begins_there: One of the command's locations that is a relative path; "" where none is.
    """

    path: str
    begins_there: str = ""

    @classmethod
    def of_command(cls, locations: Iterable[str]) -> WorkingFolder:
        """The folder of this process, for work that names some locations."""
        relative = (each for each in locations if not _is_absolute(each))
        try:
            here = os.getcwd()
        except OSError:
            here = ""
        return cls(here, next(relative, ""))

    def enter(self) -> None:
        """Go there, in a worker; a node may be without it where all locations are absolute.

        Raises:
            DataError: The node has no such folder.
        """
        try:
            os.chdir(self.path)
        except OSError as error:
            if self.begins_there:
                raise DataError(
                    self.begins_there,
                    got=f"no folder {self.path} on the node {platform.node()}",
                    expected="the folder of the command on every node, where relative paths begin",
                    fix="Give absolute paths.",
                ) from error


def files_of_trust(trust: Trust | None) -> tuple[str, ...]:
    """The files that say whose signature a bundle has to have."""
    if trust is None:
        return ()
    return tuple(str(each) for each in (trust.key, *trust.certificates) if each is not None)


def _is_absolute(location: str) -> bool:
    return os.path.isabs(location) or is_url(location)
