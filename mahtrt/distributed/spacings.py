"""The spacing of an image of an archive, in the order of :func:`mahtrt.predict`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from mahtrt.data.datasets import SPACING_FILE, SPACING_FORM, spacings_from_document
from mahtrt.data.dicom_spacing import SpacingChoice
from mahtrt.data.frames import split_frame
from mahtrt.data.images import ReadImage
from mahtrt.data.spacing import Spacing
from mahtrt.distributed.listing import ListedFile
from mahtrt.distributed.storage import storage_of
from mahtrt.errors import DataError
from mahtrt.parsing import MOST_DATA_SET_BYTES, read_json
from mahtrt.reading import Wanted

_KEPT = 64  # sidecars of so many folders
_Sidecar = tuple[Spacing | None, dict[str, Spacing]]


class Spacings:
    """What the user says, the sidecar of the image's folder, that of the archive, or the file.

    Args:
        spacing_mm: Millimetres per pixel of every image; None where nobody said.
    """

    def __init__(self, spacing_mm: float | None) -> None:
        self._given = spacing_mm
        self._beside: Callable[[str], _Sidecar] = functools.lru_cache(_KEPT)(_sidecar)

    def of(self, file: ListedFile, name: str, image: ReadImage) -> SpacingChoice:
        """The spacing of an image, and where it comes from.

        Args:
            name: What the image is called within its archive.

        Raises:
            DataError: A sidecar that cannot be read, or is not of its form.
        """
        if self._given is not None:
            return SpacingChoice((self._given, self._given), "--spacing-mm")
        folder = file.location.rpartition("/")[0]
        last = split_frame(Path(file.location))[0].name
        common, by_name = self._beside(folder)
        found = by_name.get(last) or common
        if found is None and file.top and file.top != folder:
            common, by_name = self._beside(file.top)
            found = by_name.get(name) or by_name.get(file.within) or common
        elif found is None and file.top:
            found = by_name.get(name)
        if found is not None:
            return SpacingChoice(found, SPACING_FILE)
        return SpacingChoice() if image.dicom is None else image.dicom.spacing


def _sidecar(folder: str) -> _Sidecar:
    place = f"{folder}/{SPACING_FILE}" if folder else SPACING_FILE
    storage = storage_of(place)
    if not storage.exists(place):
        return None, {}
    content = storage.read(place, Wanted(SPACING_FORM, DataError), MOST_DATA_SET_BYTES)
    document = read_json(
        content, place, SPACING_FORM, error=DataError, most_bytes=MOST_DATA_SET_BYTES
    )
    return spacings_from_document(document, place)
