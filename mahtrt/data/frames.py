"""Frames of a file by name: ``run.dcm#3`` is the third frame of ``run.dcm``.

Frames are counted from 1, as DICOM counts them. A file whose own name ends like that is itself.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_FRAME = re.compile(r"(.+)#(0|[1-9][0-9]{0,8})", re.DOTALL)


def split_frame(path: Path) -> tuple[Path, int | None]:
    """The file that a path names, and the frame of it; None where the path names no frame."""
    found = _FRAME.fullmatch(path.name)
    if found is None or os.path.lexists(path):
        return path, None
    return path.with_name(found[1]), int(found[2])


def frame_path(path: Path, frame: int) -> Path:
    """What names a frame, counted from 1, of a file."""
    return path.with_name(f"{path.name}#{frame}")


def is_image_file(path: Path) -> bool:
    """Whether a path names a file, or a frame of one."""
    return os.path.isfile(split_frame(path)[0])


def frame_stem(path: Path) -> str:
    """What names of pictures of an image begin with: its name without ending, and its frame."""
    file, frame = split_frame(path)
    stem = file.name if file.suffix[1:].isdecimal() else file.stem  # a UID has no ending
    return stem if frame is None else f"{stem}-frame{frame}"
