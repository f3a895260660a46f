"""Texts that others chose, such as names of files and names in files: how they are kept and shown.

In a result they stay what they are; only bytes that are no text are replaced. On a terminal they
could move the cursor, change colours or hide what follows, so nothing is shown that is not visible.
"""

from __future__ import annotations

import os
import re

# Control characters, line and paragraph separators, marks that turn the direction of reading,
# characters without width, tags, and bytes that are no text. Joiners belong to some scripts.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
# Halves of characters, as names on Windows may have; bytes of a name stand apart from them.
_HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def bytes_of_name(name: str) -> bytes:
    r"""A name in UTF-8; bytes that are not UTF-8 stay, half a character becomes ``\uNNNN``."""
    return _HALF.sub(_escape, name).encode("utf-8", "surrogateescape")


def text_of_path(path: str | os.PathLike[str]) -> str:
    r"""A path as a text that every file can hold: bytes that are not UTF-8 become ``\xNN``."""
    return bytes_of_name(os.fspath(path)).decode("utf-8", "backslashreplace")


def visible(text: str) -> str:
    r"""A text in one line in which everything can be seen: an escape sequence as ``\x1b[31m``."""
    return _HIDDEN.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    if "\udc80" <= character <= "\udcff":  # a byte of a file's name
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
