"""The header of a compressed frame, held against the file's before a decoder believes it."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from mahtrt.data.dicom_damage import DicomDamageError
from mahtrt.data.dicom_syntaxes import Codec
from mahtrt.data.limits import check_image_size
from mahtrt.data.pictures import refuse_many_parts
from mahtrt.errors import ImageError

_MOST_COMPONENTS = 4
_MOST_SEGMENTS = 10_000  # of a JPEG, before its first scan; a large profile has 255

_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
# A marker of a JPEG that has a segment, with the bytes that may fill up before it.
_MARKER = re.compile(rb"\xff+([\x02-\xcf\xda-\xfe])", re.DOTALL)
_START_OF_SCAN = 0xDA
_END_OF_IMAGE, _SPARE_BYTES = b"\xff\xd9", 64  # some writers fill up after the end
_JPEG_LS_EXTENSION, _LARGE_IMAGE = 0xF8, 4  # ISO/IEC 14495-1 C.2.4.1.4: another place for a size
_FRAME_MARKERS = frozenset((*range(0xC0, 0xD0), 0xF7)) - {0xC4, 0xC8, 0xCC}
_PROCESSES: dict[Codec, frozenset[int]] = {
    "jpeg": frozenset({0xC0, 0xC1, 0xC2}),
    "jpeg-lossless": frozenset({0xC3}),
    "jpeg-ls": frozenset({0xF7}),
}


@dataclass(frozen=True, slots=True)
class FrameShape:
    """What a file says of each of its frames.

    Attributes:
        samples: Per pixel.
        bits: Allocated for a sample.
    """

    rows: int
    columns: int
    samples: int
    bits: int


def check_codestream(frame: bytes, codec: Codec, shape: FrameShape, subject: str) -> int:
    """Refuse a compressed frame that does not fit the header of its file.

    Returns:
        Bits of a sample, as the frame itself says.

    Raises:
        ImageError: Another codec, size, number of components or depth, or too large.
        DicomDamageError: No JPEG and no JPEG 2000.
    """
    if frame.startswith(b"\xff\xd8"):
        return _check_jpeg(frame, codec, shape, subject)
    return _check_jpeg_2000(frame, codec, shape, subject)


def _check_jpeg(frame: bytes, codec: Codec, shape: FrameShape, subject: str) -> int:
    """Walk to the first scan: the size that a JPEG or JPEG-LS tells is what its decoder believes.

    Decoders differ in what they do with bytes between segments, so that none may be there.
    """
    for part in ("scans", "EXIF segments"):
        refuse_many_parts(frame, part, subject)
    place, precision = 2, 0
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.match(frame, place)
        if found is None:
            raise DicomDamageError("a JPEG with bytes that belong to no segment")
        marker, place = found[1][0], found.end()
        if marker == _START_OF_SCAN:
            break
        if marker == _JPEG_LS_EXTENSION and frame[place + 2 : place + 3] == bytes([_LARGE_IMAGE]):
            raise DicomDamageError("a JPEG-LS that tells its size in two places")
        if marker in _FRAME_MARKERS:
            bits, height, width, components = struct.unpack_from(">BHHB", frame, place + 2)
            check_image_size(width, height, subject)
            if marker not in _PROCESSES.get(codec, ()):
                raise _other_codec(f"a JPEG of process SOF{marker - 0xC0}", codec, subject)
            _check_fit(FrameShape(height, width, components, bits), shape, subject)
            precision = bits
        place += max(2, *struct.unpack_from(">H", frame, place))
    else:
        raise DicomDamageError(f"a JPEG of over {_MOST_SEGMENTS} segments")
    if not precision:
        raise DicomDamageError("a JPEG that tells no size")
    # libjpeg-turbo fills up what is missing at the end, CharLS may compute for seconds.
    if _END_OF_IMAGE not in frame[-_SPARE_BYTES:]:
        raise DicomDamageError("a JPEG without an end")
    return int(precision)


def _check_jpeg_2000(frame: bytes, codec: Codec, shape: FrameShape, subject: str) -> int:
    """A code stream, or a JP2 file around one: decoders believe the sizes of both."""
    start = 0
    if frame.startswith(_JP2):
        start = _code_stream_in_jp2(frame)
        for found in re.finditer(b"ihdr", frame[:start]):
            height, width = struct.unpack_from(">LL", frame, found.end())
            check_image_size(width, height, subject)
    if not frame.startswith(b"\xff\x4f\xff\x51", start):
        raise DicomDamageError("no JPEG and no JPEG 2000")
    right, below, left, above = struct.unpack_from(">4L", frame, start + 8)
    (components,) = struct.unpack_from(">H", frame, start + 40)
    check_image_size(max(right, right - left), max(below, below - above), subject)
    if components > _MOST_COMPONENTS:
        raise ImageError(
            subject,
            got=f"{components} components",
            expected=f"at most {_MOST_COMPONENTS}",
            reason="other-pixels",
        )
    if codec != "jpeg-2000":
        raise _other_codec("a JPEG 2000", codec, subject)
    bits = (frame[start + 42] & 0x7F) + 1
    _check_fit(FrameShape(below - above, right - left, components, bits), shape, subject)
    return bits


def _code_stream_in_jp2(frame: bytes) -> int:
    place = 0
    for _ in range(_MOST_SEGMENTS):
        size, kind = struct.unpack_from(">L4s", frame, place)
        if kind == b"jp2c":
            return place + (16 if size == 1 else 8)
        if size < 8:  # 64 bits long, or to the end of the file
            break
        place += size
    raise DicomDamageError("a JP2 file without a code stream")


def _check_fit(found: FrameShape, shape: FrameShape, subject: str) -> None:
    same = (found.rows, found.columns, found.samples) == (shape.rows, shape.columns, shape.samples)
    if same and found.bits <= shape.bits:
        return
    raise ImageError(
        subject,
        got=f"pixel data of {_words(found)} bits",
        expected=f"{_words(shape)} bits or fewer, as the header says",
        fix="Get the file again from where it was made.",
        reason="other-pixels",
    )


def _words(shape: FrameShape) -> str:
    return f"{shape.columns}x{shape.rows} pixels with {shape.samples} x {shape.bits}"


def _other_codec(got: str, codec: Codec, subject: str) -> ImageError:
    return ImageError(
        subject,
        got=f"{got} in a transfer syntax of {codec}",
        expected="pixel data of the transfer syntax",
        fix="Get the file again from where it was made.",
        reason="other-pixels",
    )
