"""Unique identifiers that doing the same work again gives again."""

from __future__ import annotations

import uuid

# Any constant would do; it keeps our identifiers apart from those that others derive.
_NAMESPACE = uuid.UUID("5e0c2a52-3c0b-5d1e-9a39-7d7c1c1b6f4e")


def derived_uid(*parts: str) -> str:
    """A unique identifier made of texts: the same for the same texts.

    A UUID of version 5 (RFC 9562, section 5.5) below the root 2.25 (DICOM PS3.5, section B.2).
    It tells nothing of the texts, so that a file may be named by it.
    """
    return f"2.25.{uuid.uuid5(_NAMESPACE, chr(0).join(parts)).int}"
