"""The number of the preprocessing's definition, and which numbers this mahtrt knows.

Two mahtrt versions with the same number prepare images alike. Bundles, calibration cards and INT8
graphs name the number that they were made with.

    3  exact in whole numbers, seven interpolations (docs/preprocessing.md)
    2  as OpenCV resizes, with floating point on the way
    1  the same; under ``area``, an image of which one axis shrinks and one grows is linear in both
"""

from __future__ import annotations

from mahtrt.errors import IntegrityError

PREPROCESS_VERSION = 3


def check_preprocess_version(version: int, where: str) -> None:
    """Refuse a definition of preprocessing that this mahtrt does not know.

    Raises:
        IntegrityError: It is newer, or there never was one.
    """
    if not 1 <= version <= PREPROCESS_VERSION:
        raise IntegrityError(
            where,
            got=f"preprocess_version {version}",
            expected=f"a version of preprocessing from 1 to {PREPROCESS_VERSION}",
            fix="Update mahtrt; or build the bundle again with this one."
            if version > PREPROCESS_VERSION
            else "Build the bundle again.",
        )
