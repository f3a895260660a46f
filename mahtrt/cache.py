"""The folder in which mahtrt keeps what is expensive to make again: engines and sensitivities.

An engine is executable code, so who can put a file there decides what runs. The folder is made for
the user alone, and one that others may change is refused.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from mahtrt import files
from mahtrt.errors import InputError

ENVIRONMENT = "MAHTRT_CACHE_DIR"

_ROOT = 0
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def cache_folder(given: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """The folder: as given, else $MAHTRT_CACHE_DIR, $XDG_CACHE_HOME/mahtrt, ~/.cache/mahtrt."""
    if given is not None:
        return given
    if environment.get(ENVIRONMENT):
        return Path(environment[ENVIRONMENT])
    base = environment.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "mahtrt"


def make_private(folder: Path) -> Path:
    """Make a folder of the cache for this user alone, or see that nobody else may change it.

    Nobody else may change the folders above it either, but for those in which only the owner of
    a name may change it, as in ``/tmp``. What belongs to root is trusted like root.

    Raises:
        InputError: Somebody else owns one of these folders, or may write into it.
        OSError: The folder cannot be made.
    """
    files.make_folders(folder, mode=0o700)
    if hasattr(os, "geteuid"):
        _check(folder, alone=True)
        for above in _above(folder):
            _check(above, alone=False)
    return folder


def _above(folder: Path) -> Iterator[Path]:
    """Folders whose change would make the path lead elsewhere, also through links."""
    named = Path(os.path.abspath(folder))
    yield from dict.fromkeys((*named.parents, *Path(os.path.realpath(folder)).parents))


def _check(folder: Path, *, alone: bool) -> None:
    found = folder.stat()
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid not in (_ROOT, os.geteuid()):
        raise InputError(
            f"cache folder {folder}",
            got=f"a folder of user {found.st_uid}",
            expected=f"one of user {os.geteuid()}: engines in it are code that runs",
            fix="Name another with --cache-dir, or work with --no-cache.",
        )
    kept_by_owner = not alone and mode & stat.S_ISVTX
    if mode & _OTHERS_WRITE and not kept_by_owner:
        raise InputError(
            f"cache folder {folder}",
            got=f"a folder that others may write (mode {mode:04o})",
            expected="one that only its owner writes: engines in it are code that runs",
            fix=f"Run chmod go-w {folder}, name another with --cache-dir, or use --no-cache.",
        )
