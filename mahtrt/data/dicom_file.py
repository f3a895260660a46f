"""What is inside a DICOM file, checked before anything in it is unpacked.

A few bytes can claim much: a deflated file, run lengths, a compressed image whose own header has
another size than the file's, sequences within sequences. pydicom is given only what passed here.
"""

from __future__ import annotations

import io
import itertools
import re
import struct
import zlib
from typing import Any

from mahtrt.data.limits import MOST_IMAGE_BYTES, MOST_PIXELS, check_image_size
from mahtrt.data.pictures import refuse_many_parts
from mahtrt.errors import ImageError, require

MOST_COLOUR_PIXELS = MOST_PIXELS // 2  # pydicom's own conversion of colours takes 36 bytes a pixel
# Elements and items that are looked at; a file with one image has some hundred.
_MOST_READS = 200_000
# Run lengths grow at most 64-fold, so below this size nothing has to be counted.
_RLE_COUNTED_BYTES = 2**24
_RLE_SPARE_BYTES = 2**16
_MOST_RUNS = 2**25  # counted and unpacked by Python, a third of a microsecond each
_MOST_COMPONENTS = 4
_MOST_META_ELEMENTS = 1000  # there are about ten
_MOST_SEGMENTS = 10_000  # of a JPEG, before its first scan; a large profile has 255

_PREAMBLE = bytes(128) + b"DICM"
_TRANSFER_SYNTAX = (0x0002, 0x0010)
_DEFLATED, _EXPLICIT = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1\0"
_RLE = "1.2.840.10008.1.2.5"
_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
# A marker of a JPEG that has a segment, with the bytes that may fill up before it.
_MARKER = re.compile(rb"\xff+([\x02-\xcf\xda-\xfe])", re.DOTALL)
_START_OF_SCAN = 0xDA
_FRAME_MARKERS = frozenset((*range(0xC0, 0xD0), 0xF7)) - {0xC4, 0xC8, 0xCC}
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())  # VRs with 32-bit lengths
_TAGS = (
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames"),
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelData", "FloatPixelData", "DoubleFloatPixelData"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"),
    "EstimatedRadiographicMagnificationFactor",
)


class _CountedReads(io.BytesIO):
    """A file in memory that ends with an error when it is read in too many pieces."""

    _reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > _MOST_READS:
            raise ValueError(f"over {_MOST_READS} elements")
        return super().read(size)


def open_dicom(content: bytes, subject: str) -> Any:
    """The data set of a DICOM file with one image, of a size that may be decoded.

    Args:
        content: The file.
        subject: Its name, for messages.

    Raises:
        ImageError: Several frames, no pixels, a palette, or more pixels or bytes than are read.
        Exception: Whatever pydicom raises on a damaged file.
    """
    pydicom = require("pydicom", extra="dicom", needed_for="reading DICOM")
    dataset = pydicom.dcmread(_CountedReads(_inflated(content, subject)), specific_tags=_TAGS)
    _refuse_frames(dataset, subject)
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    check_image_size(columns, rows, subject)
    if int(dataset.get("SamplesPerPixel") or 1) > 1 and rows * columns > MOST_COLOUR_PIXELS:
        raise ImageError(
            subject,
            got=f"{columns}x{rows} pixels in colours",
            expected=f"at most {MOST_COLOUR_PIXELS} in a DICOM file",
            fix="Save it as gray, or as PNG.",
        )
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is not None and syntax.is_encapsulated:
        frame = pydicom.encaps.get_frame(dataset.PixelData, 0, number_of_frames=1)
        if syntax == _RLE:
            depth = int(dataset.get("SamplesPerPixel") or 1) * int(dataset.BitsAllocated) // 8
            _check_run_lengths(frame, rows * columns * depth, subject)
        elif frame.startswith(b"\xff\xd8"):
            _check_jpeg(frame, subject)
        else:
            _check_jpeg_2000(frame, subject)
    return dataset


def _refuse_frames(dataset: Any, subject: str) -> None:
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise ImageError(
            subject,
            got=f"{frames} frames",
            expected="one image per file",
            fix="Save the frame you want as a file of its own.",
        )
    if "PixelData" not in dataset:
        raise ImageError(subject, got="no pixel data", expected="a DICOM file with one image")
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        raise ImageError(
            subject, got="a palette of colours", expected="MONOCHROME1, MONOCHROME2 or RGB"
        )


def _inflated(content: bytes, subject: str) -> bytes:
    """The file with a meta group that says only how it is encoded, and never deflated.

    pydicom inflates without a limit, so it must not come to its own opinion of the meta group.
    """
    if content[128:132] != b"DICM":
        return content  # pydicom refuses it
    syntax, start = _meta_group(content)
    body: bytes | memoryview = memoryview(content)[start:]
    if syntax.rstrip(b"\0 ") == _DEFLATED:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        body, syntax = inflater.decompress(body, MOST_IMAGE_BYTES), _EXPLICIT
        if not inflater.eof and inflater.unconsumed_tail:
            raise _too_large(subject, "deflated data")
    if not syntax:
        return b"".join((_PREAMBLE, body))
    element = struct.pack("<HH2sH", *_TRANSFER_SYNTAX, b"UI", len(syntax)) + syntax
    length = struct.pack("<HH2sHL", 0x0002, 0x0000, b"UL", 4, len(element))
    return b"".join((_PREAMBLE, length, element, body))


def _meta_group(content: bytes) -> tuple[bytes, int]:
    """The transfer syntax, empty where there is none, and where the data set begins."""
    place, syntax = len(_PREAMBLE), b""
    for _ in range(_MOST_META_ELEMENTS):
        if content[place : place + 2] != b"\x02\x00":
            return syntax, place
        _, element, vr, length = struct.unpack_from("<HH2sH", content, place)
        place += 8
        if vr in _LONG:
            (length,) = struct.unpack_from("<L", content, place)
            place += 4
        if element == _TRANSFER_SYNTAX[1]:
            syntax = content[place : place + length]
        place += length
    raise ValueError(f"a meta group of over {_MOST_META_ELEMENTS} elements")


def _check_run_lengths(frame: bytes, samples: int, subject: str) -> None:
    """Count what run lengths unpack to, and in how many pieces.

    Args:
        samples: Bytes of the image, unpacked.
    """
    # A run of one takes two bytes; each segment may end with bytes that fill it up.
    if len(frame) > 2 * samples + _RLE_SPARE_BYTES:
        raise ImageError(
            subject, got=f"{len(frame)} bytes of run lengths", expected=f"{samples} bytes of pixels"
        )
    segments = min(struct.unpack_from("<L", frame)[0], 15)
    starts = [*struct.unpack_from(f"<{segments}L", frame, 4), len(frame)]
    if starts != sorted(starts):
        raise ValueError("segments of run lengths that lie on one another")
    pieces = 0
    for start, end in itertools.pairwise(starts if len(frame) > _RLE_COUNTED_BYTES else ()):
        place, total = start, 0
        while place < end:
            head = frame[place]
            total += 0 if head == 128 else head + 1 if head < 128 else 257 - head
            place += 1 if head == 128 else head + 2 if head < 128 else 2
            pieces += 1
            if total > MOST_IMAGE_BYTES:
                raise _too_large(subject, "run lengths")
            if pieces > _MOST_RUNS:
                raise ValueError(f"over {_MOST_RUNS} run lengths")


def _check_jpeg(frame: bytes, subject: str) -> None:
    """Walk to the first scan: the size that a JPEG or JPEG-LS tells is what its decoder believes.

    Decoders differ in what they do with bytes between segments, so that none may be there.
    """
    for part in ("scans", "EXIF segments"):
        refuse_many_parts(frame, part, subject)
    place, sized = 2, False
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.match(frame, place)
        if found is None:
            raise ValueError("a JPEG with bytes that belong to no segment")
        marker, place = found[1][0], found.end()
        if marker == _START_OF_SCAN:
            break
        if marker in _FRAME_MARKERS:
            height, width = struct.unpack_from(">HH", frame, place + 3)
            check_image_size(width, height, subject)
            sized = True
        place += max(2, *struct.unpack_from(">H", frame, place))
    else:
        raise ValueError(f"a JPEG of over {_MOST_SEGMENTS} segments")
    if not sized:
        raise ValueError("a JPEG that tells no size")


def _check_jpeg_2000(frame: bytes, subject: str) -> None:
    """A code stream, or a JP2 file around one: decoders believe the sizes of both."""
    start = 0
    if frame.startswith(_JP2):
        start = _code_stream_in_jp2(frame)
        for found in re.finditer(b"ihdr", frame[:start]):
            height, width = struct.unpack_from(">LL", frame, found.end())
            check_image_size(width, height, subject)
    if not frame.startswith(b"\xff\x4f\xff\x51", start):
        raise ValueError("no JPEG and no JPEG 2000")
    right, below, left, above = struct.unpack_from(">4L", frame, start + 8)
    (components,) = struct.unpack_from(">H", frame, start + 40)
    check_image_size(max(right, right - left), max(below, below - above), subject)
    if components > _MOST_COMPONENTS:
        raise ImageError(
            subject, got=f"{components} components", expected=f"at most {_MOST_COMPONENTS}"
        )


def _code_stream_in_jp2(frame: bytes) -> int:
    place = 0
    for _ in range(_MOST_SEGMENTS):
        size, kind = struct.unpack_from(">L4s", frame, place)
        if kind == b"jp2c":
            return place + (16 if size == 1 else 8)
        if size < 8:  # 64 bits long, or to the end of the file
            break
        place += size
    raise ValueError("a JP2 file without a code stream")


def _too_large(subject: str, what: str) -> ImageError:
    return ImageError(
        subject,
        got=f"{what} that unpacks to over {MOST_IMAGE_BYTES} bytes",
        expected="no more than that",
        fix="Save the image in another transfer syntax.",
    )
