"""Where an output leads: a file that is replaced, or something that is written straight into.

Links are followed, so that a link stays a link and what it points to is replaced. A character
device or a FIFO takes what is written and stays what it is. Folders, block devices and sockets are
refused.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mahtrt import files
from mahtrt.errors import BuildError

_MOST_LINKS = 40
_DESCRIPTOR = re.compile(r"/proc/(\d+)(?:/task/\d+)?/fd/(\d+)")
_STREAMS = {1: "stdout", 2: "stderr"}


@dataclass(frozen=True, slots=True)
class Destination:
    """What an output's name stands for.

    Attributes:
        path: The name, as it was given.
        target: The file to replace, or to make; None where the output is written straight into.
        descriptor: The descriptor of this process to write into, such as that of ``/dev/stdout``.
    """

    path: Path
    target: Path | None = None
    descriptor: int | None = None

    def send(self, content: Path) -> None:
        """Write a file's content straight into what is there."""
        with content.open("rb") as source, self._opened() as sink:
            shutil.copyfileobj(source, sink)

    def _opened(self) -> BinaryIO:
        if self.descriptor is None:
            return files.append(self.path)
        if sys.stdout is not None:
            sys.stdout.flush()  # what was printed before comes first
        return files.duplicate(self.descriptor)


def find_destination(path: Path) -> Destination:
    """Find out what an output's name stands for.

    Raises:
        BuildError: It is a folder, a block device, a socket, or a link that leads nowhere.
    """
    name = _followed(path)
    try:
        if found := _DESCRIPTOR.fullmatch(name):
            return _descriptor(path, int(found[1]), int(found[2]))
        mode = os.stat(name).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return Destination(path, Path(name))
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from error
    if stat.S_ISREG(mode):
        return Destination(path, Path(name))
    if stat.S_ISCHR(mode) or stat.S_ISFIFO(mode):
        return Destination(path)
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFBLK: "a block device", stat.S_IFSOCK: "a socket"}
    raise _refused(path, kinds.get(stat.S_IFMT(mode), "something that is no file"))


def check_output(path: Path) -> None:
    """Refuse a place that cannot be written. Worth calling before long work.

    Raises:
        BuildError: The place cannot be written.
    """
    target = find_destination(path).target
    if target is None:
        return
    folder = next(parent for parent in target.parents if os.path.lexists(parent))
    if not folder.is_dir():
        raise _refused(path, f"{folder}, which is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _refused(path, f"{folder}, which you may not write")


def _followed(path: Path) -> str:
    """The name behind all links; one of a descriptor (``/proc/1/fd/2``) is not followed further."""
    name = os.path.abspath(path)
    for _ in range(_MOST_LINKS):
        name = os.path.join(os.path.realpath(os.path.dirname(name)), os.path.basename(name))
        if _DESCRIPTOR.fullmatch(name) or not os.path.islink(name):
            return name
        name = os.path.join(os.path.dirname(name), os.readlink(name))
    raise _refused(path, "links that lead in a circle")


def _descriptor(path: Path, process: int, number: int) -> Destination:
    if process != os.getpid():
        return Destination(path)
    closed = number in _STREAMS and getattr(sys, _STREAMS[number]) is None
    if closed or not os.path.lexists(path):
        raise _refused(path, "a stream that is closed")
    return Destination(path, descriptor=number)


def _refused(path: Path, got: str) -> BuildError:
    return BuildError(
        f"writing {path}",
        got=got,
        expected="a file to write, or a place where one can be made",
        fix="Choose another place.",
    )
