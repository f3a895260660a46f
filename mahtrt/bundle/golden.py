"""Golden vectors: a few images as they were given, with what the reference gave.

Each is a PNG per image, a file of raw little-endian float32 with the landmarks, and one per other
output (:mod:`mahtrt.bundle.golden_outputs`); the manifest lists them. A PNG can unpack to
a thousand times its size: what it says of itself has to be what the manifest says, and that has to
be the size of an image, and all within :data:`MOST_BYTES`, before a decoder sees it.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mahtrt import files
from mahtrt.bundle import version1
from mahtrt.bundle.bundle import Bundle, BundleWriter
from mahtrt.bundle.contents import BundleFile
from mahtrt.bundle.golden_outputs import GoldenValues, read_outputs, write_outputs
from mahtrt.bundle.manifest import REBUILD, GoldenImage, GoldenPicture, GoldenRecord
from mahtrt.data.limits import MOST_PIXELS, check_image_size
from mahtrt.errors import ImageError, IntegrityError

# All golden images of a bundle together, unpacked: three of the largest in colours.
MOST_BYTES = 9 * MOST_PIXELS

_MOST_CHUNKS = 2**18  # of a PNG; the largest image has some 50,000 of 8 KiB
_FOLDER = "golden"
_POINTS_DTYPE = np.dtype("<f4")
_PNG_START = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {0: 1, 2: 3}  # of PNG: samples of a pixel


@dataclass(frozen=True, slots=True, eq=False)
class GoldenVector:
    """One case and its reference landmarks.

    Attributes:
        image: (H, W) or (H, W, 3), uint8 or uint16, as given.
        points_px: (K, 2) float32 in the image's pixels.
        spacing_mm: (row, column) mm per pixel, or None.
        others: Images of the network's further inputs, in the order of the spec.
        outputs: Output name to what is kept of maps, logits and visibility.
    """

    name: str
    image: NDArray[Any]
    points_px: NDArray[np.float32]
    spacing_mm: tuple[float, float] | None = None
    others: tuple[NDArray[Any], ...] = ()
    outputs: Mapping[str, GoldenValues] = field(default_factory=dict)


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
        first = _write_picture(writer, f"{_FOLDER}/{i}.png", vector.image)
        others = tuple(
            _write_picture(writer, f"{_FOLDER}/{i}-{number}.png", image)
            for number, image in enumerate(vector.others, start=1)
        )
        points = f"{_FOLDER}/{i}.f32"
        landmarks = np.asarray(vector.points_px, _POINTS_DTYPE).tobytes()
        files.write_bytes(writer.place(points), landmarks)
        images.append(
            GoldenImage(
                vector.name,
                first.image,
                points,
                first.shape,
                first.dtype,
                vector.spacing_mm,
                others,
                write_outputs(writer, _FOLDER, i, vector.outputs),
            )
        )
    return GoldenRecord(reference, tuple(images))


def _write_picture(writer: BundleWriter, path: str, image: NDArray[Any]) -> GoldenPicture:
    pixels = np.squeeze(image, 2) if image.shape[2:] == (1,) else image
    files.write_bytes(writer.place(path), _png(pixels))
    dtype: Any = pixels.dtype.name
    return GoldenPicture(path, pixels.shape, dtype)


def copy_golden(writer: BundleWriter, bundle: Bundle) -> GoldenRecord | None:
    """Take over the golden vectors of another bundle.

    Returns:
        The record for the manifest, None where the other bundle has none.

    Raises:
        IntegrityError: A file there is not what the manifest says.
    """
    golden = bundle.manifest.golden
    if golden is None:
        return None
    if bundle.manifest.schema == version1.SCHEMA:
        return write_golden(writer, golden.reference, read_golden(bundle))
    writer.take(bundle, (path for each in golden.images for path in each.paths))
    return golden


def read_golden(bundle: Bundle) -> tuple[GoldenVector, ...]:
    """Read a bundle's golden vectors; empty where it has none.

    Raises:
        IntegrityError: A file is not what the manifest says, or too large to be one.
    """
    golden = bundle.manifest.golden
    if golden is None:
        return ()
    landmarks = 0 if bundle.spec.decode.method == "none" else len(bundle.spec.landmarks)
    if bundle.manifest.schema == version1.SCHEMA:
        file = bundle.file(version1.GOLDEN_NAME)
        arrays = version1.read_golden_arrays(file, landmarks, MOST_BYTES)
        return tuple(
            GoldenVector(name, image, points, None if np.isnan(mm).any() else (mm[0], mm[1]))
            for name, image, points, mm in arrays
        )
    for record in golden.images:
        _check_pictures(record, bundle)
    pictures = [picture for record in golden.images for picture in record.pictures]
    total = sum(_unpacked_bytes(picture, bundle) for picture in pictures)
    if total > MOST_BYTES:
        got, expected = f"golden images of {total} bytes", f"at most {MOST_BYTES} bytes"
        raise IntegrityError(str(bundle.path), got=got, expected=expected)
    vectors = tuple(
        GoldenVector(
            record.name,
            _pixels(bundle.file(record.image), record.pictures[0]),
            _points(bundle.file(record.points), landmarks),
            record.spacing_mm,
            tuple(_pixels(bundle.file(other.image), other) for other in record.others),
            read_outputs(bundle, record),
        )
        for record in golden.images
    )
    _check_alike(vectors, bundle)
    return vectors


def _check_alike(vectors: Sequence[GoldenVector], bundle: Bundle) -> None:
    """Refuse outputs that were kept of one vector at other places than of another."""
    first: dict[str, tuple[tuple[int, ...], int]] = {}
    for vector in vectors:
        for name, kept in vector.outputs.items():
            places = kept.values.shape, kept.step
            if first.setdefault(name, places) != places:
                raise IntegrityError(
                    f"{bundle.path}: golden image {vector.name}",
                    got=f"output {name!r} of shape {places[0]} at step {places[1]}",
                    expected="shape {} at step {}, as of the others".format(*first[name]),
                    fix=REBUILD,
                )


def _check_pictures(record: GoldenImage, bundle: Bundle) -> None:
    inputs = [each.name for each in bundle.spec.inputs]
    if len(record.pictures) != len(inputs):
        raise IntegrityError(
            f"{bundle.path}: golden image {record.name}",
            got=f"{len(record.pictures)} image(s)",
            expected=f"one for each input: {', '.join(inputs)}",
            fix=REBUILD,
        )


def _unpacked_bytes(record: GoldenPicture, bundle: Bundle) -> int:
    subject = f"{bundle.path}: golden image {record.image}"
    if len(record.shape) not in (2, 3) or record.shape[2:] not in ((), (3,)):
        raise IntegrityError(
            subject,
            got=f"shape {record.shape}",
            expected="(rows, columns) or (rows, columns, 3)",
        )
    try:
        check_image_size(record.shape[1], record.shape[0], subject)
    except ImageError as error:
        raise IntegrityError(subject, got=error.got, expected=error.expected) from error
    return math.prod(record.shape) * np.dtype(record.dtype).itemsize


def _png(image: NDArray[Any]) -> bytes:
    # OpenCV keeps colours as BGR, and writes 16-bit colours, which Pillow does not.
    native = image.astype(image.dtype.newbyteorder("="), copy=False)
    _, data = cv2.imencode(".png", native if native.ndim == 2 else native[..., ::-1])
    return data.tobytes()


def _pixels(file: BundleFile, record: GoldenPicture) -> NDArray[Any]:
    wanted = f"{record.shape} {record.dtype}"
    most = 2 * _packed_bytes(record)
    if file.record.size > most:
        raise IntegrityError(str(file), got=f"{file.record.size} bytes", expected=f"at most {most}")
    try:
        pixels = _decoded(_image_data(file.read_bytes(), wanted), wanted)
    except (ValueError, struct.error, cv2.error) as error:
        raise IntegrityError(str(file), got=str(error), expected=wanted, fix=REBUILD) from error
    return np.ascontiguousarray(pixels if pixels.ndim == 2 else pixels[..., ::-1])


def _packed_bytes(record: GoldenPicture) -> int:
    """What a PNG takes where nothing can be packed: a filter a row, and the file's own parts."""
    return math.prod(record.shape) * np.dtype(record.dtype).itemsize + record.shape[0] + 4096


def _image_data(data: bytes, wanted: str) -> bytes:
    """A PNG that says of itself what is wanted, with no more than its image data."""
    parts = list(itertools.islice(_parts(data), _MOST_CHUNKS + 1))
    if len(parts) > _MOST_CHUNKS:
        raise ValueError(f"a PNG image of over {_MOST_CHUNKS} chunks")
    if not parts or parts[0][0] != b"IHDR":
        raise ValueError("no PNG image")
    columns, rows, bits, colours = struct.unpack_from(">IIBB", parts[0][1], 8)
    samples = _COLOUR_TYPES.get(colours, 0)
    shape = (rows, columns) if samples == 1 else (rows, columns, samples)
    if f"{shape} uint{bits}" != wanted:
        raise ValueError(f"{shape} uint{bits}")
    kept = [whole for name, whole in parts if name in (b"IHDR", b"IDAT", b"IEND")]
    return data if len(kept) == len(parts) else b"".join((_PNG_START, *kept))


def _decoded(data: bytes, wanted: str) -> NDArray[Any]:
    pixels: NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, np.uint8), -1)
    if pixels is None or f"{pixels.shape} {pixels.dtype}" != wanted:
        raise ValueError("a damaged PNG image")
    return pixels


def _parts(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Name and bytes of each chunk of a PNG."""
    if not data.startswith(_PNG_START):
        raise ValueError("no PNG image")
    at, view = len(_PNG_START), memoryview(data)
    while at < len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        yield name, view[at : at + 12 + length]
        at += 12 + length


def _points(file: BundleFile, landmarks: int) -> NDArray[np.float32]:
    expected = landmarks * 2 * _POINTS_DTYPE.itemsize
    if file.record.size != expected:
        raise IntegrityError(
            str(file),
            got=f"{file.record.size} bytes",
            expected=f"{landmarks} landmarks of two float32 ({expected} bytes)",
            fix=REBUILD,
        )
    points = np.frombuffer(file.read_bytes(), _POINTS_DTYPE).reshape(landmarks, 2)
    return points.astype(np.float32)
