"""Golden vectors: a few images as they were given, with the landmarks the reference gave.

Each is a PNG and a file of raw little-endian float32; the manifest lists them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mahtrt import files
from mahtrt.bundle import version1
from mahtrt.bundle.bundle import Bundle, BundleWriter
from mahtrt.bundle.manifest import GoldenImage, GoldenRecord
from mahtrt.errors import IntegrityError

_FOLDER = "golden"
_POINTS_DTYPE = np.dtype("<f4")


@dataclass(frozen=True, slots=True, eq=False)
class GoldenVector:
    """One image and its reference landmarks.

    Attributes:
        image: (H, W) or (H, W, 3), uint8 or uint16, as given.
        points_px: (K, 2) float32 in the image's pixels.
        spacing_mm: (row, column) mm per pixel, or None.
    """

    name: str
    image: NDArray[Any]
    points_px: NDArray[np.float32]
    spacing_mm: tuple[float, float] | None = None


def write_golden(
    writer: BundleWriter, reference: str, vectors: Sequence[GoldenVector]
) -> GoldenRecord:
    """Write golden vectors into a bundle.

    Args:
        reference: What made the landmarks, in words.

    Returns:
        The record for the manifest.
    """
    images = []
    for i, vector in enumerate(vectors):
        image, points = f"{_FOLDER}/{i}.png", f"{_FOLDER}/{i}.f32"
        pixels = np.squeeze(vector.image, 2) if vector.image.shape[2:] == (1,) else vector.image
        files.write_bytes(writer.place(image), _png(pixels))
        landmarks = np.asarray(vector.points_px, _POINTS_DTYPE).tobytes()
        files.write_bytes(writer.place(points), landmarks)
        dtype: Any = pixels.dtype.name
        images.append(
            GoldenImage(vector.name, image, points, pixels.shape, dtype, vector.spacing_mm)
        )
    return GoldenRecord(reference, tuple(images))


def read_golden(bundle: Bundle) -> tuple[GoldenVector, ...]:
    """Read a bundle's golden vectors; empty where it has none.

    Raises:
        IntegrityError: A file is not what the manifest says.
    """
    golden = bundle.manifest.golden
    if golden is None:
        return ()
    if bundle.manifest.schema == version1.SCHEMA:
        arrays = version1.read_golden_arrays(bundle.file(version1.GOLDEN_NAME))
        return tuple(
            GoldenVector(name, image, points, None if np.isnan(mm).any() else (mm[0], mm[1]))
            for name, image, points, mm in arrays
        )
    landmarks = len(bundle.spec.landmarks)
    return tuple(
        GoldenVector(
            record.name,
            _pixels(bundle.file(record.image), record),
            _points(bundle.file(record.points), landmarks),
            record.spacing_mm,
        )
        for record in golden.images
    )


def _png(image: NDArray[Any]) -> bytes:
    # OpenCV keeps colours as BGR, and writes 16-bit colours, which Pillow does not.
    native = image.astype(image.dtype.newbyteorder("="), copy=False)
    _, data = cv2.imencode(".png", native if native.ndim == 2 else native[..., ::-1])
    return data.tobytes()


def _pixels(path: Path, record: GoldenImage) -> NDArray[Any]:
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    except (OSError, cv2.error) as error:
        raise IntegrityError(str(path), got=str(error), expected="a PNG image") from error
    got = "no PNG image" if image is None else f"{image.shape} {image.dtype}"
    expected = f"{record.shape} {record.dtype}"
    if image is None or got != expected:
        raise IntegrityError(str(path), got=got, expected=expected)
    return np.ascontiguousarray(image if image.ndim == 2 else image[..., ::-1])


def _points(path: Path, landmarks: int) -> NDArray[np.float32]:
    try:
        points = np.frombuffer(path.read_bytes(), _POINTS_DTYPE).reshape(landmarks, 2)
    except (OSError, ValueError) as error:
        raise IntegrityError(
            str(path), got=str(error), expected=f"{landmarks} landmarks of two float32"
        ) from error
    return points.astype(np.float32)
