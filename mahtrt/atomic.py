"""Writing so that a path holds the whole new thing or what was there before, never a part.

The new content is made in a scratch folder beside the path and renamed. An exception, Ctrl-C or a
signal on the way removes the folder; what a killed process leaves, the next one to write there
removes (:mod:`mahtrt.scratch`). A full disk is a :class:`BuildError` that names the place.

Files that are written within one :func:`together` appear at its end, all of them or none. Only a
process that is killed between two of the renames can leave some; each of these is whole then.
"""

from __future__ import annotations

import contextlib
import contextvars
import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mahtrt import files
from mahtrt.destination import Destination, find_destination
from mahtrt.errors import BuildError
from mahtrt.interrupt import interrupt_later
from mahtrt.scratch import is_scratch, scratch_folder, temporary_folder

_FULL = (errno.ENOSPC, errno.EDQUOT)
_TRIES = 20


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Files that the block writes appear when it ends well, all of them or none.

    A block within a block belongs to the outer one.

    Raises:
        BuildError: One of them cannot be put in its place; what was there before is there again.
    """
    if _current.get() is not None:
        yield
        return
    with contextlib.ExitStack() as folders:
        outputs = _Outputs(folders)
        token = _current.set(outputs)
        try:
            yield
            outputs.commit()
        except BaseException:
            outputs.remove_made()
            raise
        finally:
            _current.reset(token)


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A place to write that becomes ``path`` when the block ends well.

    Args:
        path: Where the file will be. Folders that are missing are made. A link is followed; what
            is a device or a FIFO is written into.

    Yields:
        A name with the same suffix, which does not exist yet.

    Raises:
        BuildError: The disk is full, or the place cannot be written.
    """
    with together():
        outputs = _current.get()
        assert outputs is not None
        with naming_place(path):
            output = outputs.new(path)
            yield output.content
        outputs.ready.append(output)


@contextlib.contextmanager
def scratch_beside(path: Path) -> Iterator[Path]:
    """A folder on the disk of ``path``, gone when the block ends.

    The block renames what it wants to keep. Raises as :func:`atomic_path` does.
    """
    made: list[Path] = []
    try:
        with naming_place(path):
            made = files.make_folders(path.parent)
            with scratch_folder(path.parent) as folder:
                yield folder
    except BaseException:
        files.remove_folders(made)
        raise


@contextlib.contextmanager
def naming_place(path: Path) -> Iterator[None]:
    """Turn what the system says of a file being written into a message that names the place.

    Raises:
        BuildError: Writing at ``path`` is impossible.
    """
    try:
        yield
    except OSError as error:
        if is_scratch(path):  # nothing that the user named; what becomes of it has a name
            raise
        if error.errno in _FULL:
            folder = next(p for p in (path, *path.absolute().parents) if p.is_dir())
            free = shutil.disk_usage(folder).free / 2**20
            raise BuildError(
                f"writing {path}",
                got=f"a full disk ({free:.0f} MiB free at {folder})",
                expected="enough space",
                fix="Nothing was left there; free some space or choose another place.",
            ) from error
        if error.errno != errno.EPIPE and _is_beside(error.filename, path):
            raise BuildError(
                f"writing {path}",
                got=error.strerror or str(error),
                expected="a folder that can be written",
                fix="Choose another place.",
            ) from error
        raise


def write_bytes_atomic(path: Path, data: Any) -> None:
    """Write a file whole or not at all.

    Args:
        data: Bytes, or another buffer of bytes.

    Raises:
        BuildError: The disk is full, or the place cannot be written.
    """
    with atomic_path(path) as content:
        files.write_bytes(content, data)


def write_text_atomic(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all, see :func:`mahtrt.files.write_text`.

    Raises:
        BuildError: The disk is full, or the place cannot be written.
    """
    with atomic_path(path) as content:
        files.write_text(content, text)


def move_into_place(new: Path, path: Path) -> bool:
    """Rename a file or folder; what had the name before is at ``new`` afterwards.

    Returns:
        Whether there was something.

    Raises:
        OSError: It cannot be renamed; everything is as it was.
    """
    for _ in range(_TRIES):
        if files.exchange(new, path):
            return True
        if os.path.lexists(path):
            move = _move_folder_by_turns if path.is_dir() else _move_file_by_turns
            return move(new, path)
        try:
            files.rename(new, path)
        except OSError as error:  # another process was quicker
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        else:
            return False
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))


def _move_file_by_turns(new: Path, path: Path) -> bool:
    """Without an exchange, the old file gets a second name before the new one replaces it."""
    old = new.with_name(new.name + ".old")
    try:
        files.link(path, old)
    except OSError:  # a file system without links
        files.copy(path, old)
    files.rename(new, path)
    files.rename(old, new)
    return True


def _move_folder_by_turns(new: Path, path: Path) -> bool:
    """Without an exchange there is a moment with nothing at the place, never with a half.

    The old folder waits beside the place: it outlives us if it cannot be put back.
    """
    old = path.with_name(f".{path.name}.{os.urandom(4).hex()}.old")
    files.rename(path, old)
    try:
        files.rename(new, path)
    except BaseException:
        files.rename(old, path)
        raise
    files.rename(old, new)
    return True


@dataclass(frozen=True, slots=True)
class _Output:
    """A file under way: where its content is made, and where it belongs."""

    content: Path
    destination: Destination


class _Outputs:
    """The files of one :func:`together`."""

    def __init__(self, folders: contextlib.ExitStack) -> None:
        self.ready: list[_Output] = []
        self._open = folders
        self._folders: dict[Path | None, Path] = {}
        self._made: list[Path] = []
        self._count = 0

    def new(self, path: Path) -> _Output:
        """Where the content for a path is made."""
        destination = find_destination(path)
        self._count += 1
        suffix = path.suffix if len(os.fsencode(path.suffix)) < 16 else ""
        folder = self._folder(destination.target and destination.target.parent)
        return _Output(folder / f"{self._count}{suffix}", destination)

    def commit(self) -> None:
        """Put all files in their places."""
        for output in self.ready:
            if output.destination.target is None:
                with naming_place(output.destination.path):
                    output.destination.send(output.content)
        moves = [each for each in self.ready if each.destination.target is not None]
        with interrupt_later():
            _move_all(moves)

    def remove_made(self) -> None:
        """Remove the folders that were made, unless somebody uses them by now."""
        self._open.close()
        files.remove_folders(self._made)

    def _folder(self, parent: Path | None) -> Path:
        """The scratch folder in a folder, which is made; in the system's for None."""
        if parent not in self._folders:
            if parent is None:
                self._folders[None] = self._open.enter_context(temporary_folder())
            else:
                self._made[:0] = files.make_folders(parent)
                self._folders[parent] = self._open.enter_context(scratch_folder(parent))
        return self._folders[parent]


_current: contextvars.ContextVar[_Outputs | None] = contextvars.ContextVar("outputs", default=None)


def _move_all(outputs: list[_Output]) -> None:
    """Rename every output to its target; after an error, put back what was there."""
    done: list[tuple[_Output, bool]] = []
    try:
        for output in outputs:
            with naming_place(output.destination.path):
                done.append((output, _move(output, alone=len(outputs) == 1)))
    except BaseException:
        for output, was_there in reversed(done):
            _put_back(output, was_there)
        raise


def _move(output: _Output, *, alone: bool) -> bool:
    target = output.destination.target
    assert target is not None
    if not alone:
        return move_into_place(output.content, target)
    files.rename(output.content, target)
    return False


def _put_back(output: _Output, was_there: bool) -> None:
    target = output.destination.target
    assert target is not None
    with contextlib.suppress(OSError):
        if was_there:
            move_into_place(output.content, target)
        else:
            files.rename(target, output.content)


def _is_beside(filename: object, path: Path) -> bool:
    """Whether an error is about the place being written, and not about a file read meanwhile."""
    if not isinstance(filename, (str, bytes, os.PathLike)):
        return False
    named, place = (Path(os.path.realpath(os.fsdecode(name))) for name in (filename, path))
    return named in (place, *place.parents) or is_scratch(named)
