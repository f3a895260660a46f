"""How a DICOM file begins."""

from __future__ import annotations

import re

START_BYTES = 132
PREAMBLE = bytes(128) + b"DICM"
# The first elements of a meta group, UL, OB and UI: nothing else begins like that.
_META = re.compile(rb"\x02\0[\0-\x03\x10]\0(UL\x04\0|OB\0\0|UI.\0)", re.DOTALL)


def is_dicom(start: bytes) -> bool:
    """Whether a file that begins so is DICOM: with a preamble (PS3.10, section 7.1), or without.

    Args:
        start: Its first 132 bytes, or more.
    """
    return with_preamble(start[:START_BYTES])[128:START_BYTES] == b"DICM"


def with_preamble(content: bytes) -> bytes:
    """A file as it is; before a meta group the preamble, where some program has left it out."""
    if _META.match(content):
        return PREAMBLE + content
    if content.startswith(b"DICM") and _META.match(content, 4):
        return PREAMBLE[:128] + content
    return content
