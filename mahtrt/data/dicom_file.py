"""What is inside a DICOM file, checked before anything in it is unpacked.

A few bytes can claim much: a deflated file, run lengths, a compressed image whose own header has
another size than the file's, sequences within sequences. pydicom is given only what passed here,
and of several frames only the one that is wanted.
"""

from __future__ import annotations

import itertools
import math
import struct
import zlib
from dataclasses import dataclass
from typing import Any

from mahtrt.data.dicom_bits import bits_below, check_precision
from mahtrt.data.dicom_codestream import FrameShape, check_codestream
from mahtrt.data.dicom_damage import DicomDamageError
from mahtrt.data.dicom_groups import PER_FRAME, SHARED, CountedReads, apply_groups, sequence_of
from mahtrt.data.dicom_remarks import check_needed, check_numbers
from mahtrt.data.dicom_start import PREAMBLE, is_dicom, with_preamble
from mahtrt.data.dicom_syntaxes import Syntax, need_decoder, syntax_of
from mahtrt.data.limits import MOST_IMAGE_BYTES, MOST_PIXELS, check_image_size
from mahtrt.errors import ImageError, require

MOST_COLOUR_PIXELS = MOST_PIXELS // 2  # pydicom's own conversion of colours takes 36 bytes a pixel
MOST_FRAMES = 10_000
# Run lengths grow at most 64-fold, so below this size nothing has to be counted.
_RLE_COUNTED_BYTES = 2**24
_RLE_SPARE_BYTES = 2**16
_MOST_RUNS = 2**25  # counted and unpacked by Python, a third of a microsecond each
_MOST_META_ELEMENTS = 1000  # there are about ten
_MOST_FRAGMENTS = 200_000
_ITEM = b"\xfe\xff\x00\xe0"

_TRANSFER_SYNTAX, _STORAGE_CLASS = (0x0002, 0x0010), (0x0002, 0x0002)
_DEFLATED, _EXPLICIT = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1\0"
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())  # VRs with 32-bit lengths
_LUTS = ("ModalityLUTSequence", "VOILUTSequence")
_TAGS = (
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames"),
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelData", "FloatPixelData", "DoubleFloatPixelData"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths", SHARED, PER_FRAME, "Modality"),
    *("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "VOILUTFunction", *_LUTS),
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"),
    *("EstimatedRadiographicMagnificationFactor", "PixelSpacingCalibrationType"),
    *("PatientOrientation", "ImageOrientationPatient"),
    *("FieldOfViewRotation", "FieldOfViewHorizontalFlip"),
    *("BurnedInAnnotation", "PresentationLUTShape"),
)


@dataclass(frozen=True, slots=True)
class OpenedFrame:
    """One frame of a DICOM file, ready to be decoded.

    Attributes:
        dataset: pydicom's data set, of which pixel data and attributes are those of the frame.
        index: Where the frame lies in that pixel data, counted from 0.
        frame: Which frame of the file it is, counted from 1.
        frames: How many the file has.
        syntax: How it is compressed; None where it is not.
        codestream: The compressed frame; empty likewise.
    """

    dataset: Any
    index: int
    frame: int
    frames: int
    syntax: Syntax | None
    codestream: bytes = b""


def open_dicom(content: bytes, subject: str, frame: int | None = None) -> OpenedFrame:
    """One frame of a DICOM file, of a size that may be decoded.

    Args:
        content: The file.
        subject: Its name, for messages.
        frame: Which frame, counted from 1; None for the only one.

    Raises:
        ImageError: Several frames and none named, no such frame, no pixels, a palette, an unknown
            transfer syntax, pixel data that do not fit the header, or more pixels or bytes than
            are read.
        MissingComponentError: pydicom or the decoder is not installed.
        Exception: Whatever pydicom raises on a damaged file.
    """
    dataset = _read(content, subject)
    check_numbers(dataset)
    frames = frame_count(dataset)
    number = _frame_number(frames, frame, subject)
    _check_image(dataset, subject)
    for keyword in _LUTS:
        sequence_of(dataset, keyword)
    apply_groups(dataset, number - 1)
    check_numbers(dataset)
    syntax = syntax_of(dataset, subject)
    shape = _shape(dataset)
    if syntax is None:
        bits_below(dataset)
        _check_native(dataset, shape, frames, subject)
        return OpenedFrame(dataset, number - 1, number, frames, None)
    kept = _keep_frame(dataset, number - 1, frames)
    if syntax.codec == "rle":
        bits_below(dataset)
        size = shape.rows * shape.columns * shape.samples * shape.bits // 8
        _check_run_lengths(kept, size, subject)
    else:
        check_precision(dataset, check_codestream(kept, syntax.codec, shape, subject))
    need_decoder(syntax, int(dataset.BitsStored), subject)
    return OpenedFrame(dataset, 0, number, frames, syntax, kept)


def _read(content: bytes, subject: str) -> Any:
    """What a file has of the attributes that count.

    Raises:
        ImageError: The file is cut off.
    """
    pydicom = require("pydicom", extra="dicom", needed_for="reading DICOM")
    dataset, cut_off = {}, True
    try:
        stream = CountedReads(inflated(content, subject))
        dataset = pydicom.dcmread(stream, specific_tags=_TAGS)
        cut_off = stream.cut_off
    except (struct.error, EOFError):  # fewer bytes than were to be read
        pass
    if "PixelData" not in dataset and cut_off:
        raise cut_off_error(subject)
    return dataset


def cut_off_error(subject: str) -> ImageError:
    """The error about a file of which the end is missing."""
    return ImageError(
        subject,
        got="a file that ends before its pixel data do",
        expected="a whole DICOM file",
        fix="Get the file again from where it was made.",
        reason="short-pixels",
    )


def frame_count(dataset: Any) -> int:
    """How many frames a data set says that it has."""
    return int(dataset.get("NumberOfFrames") or 1)


def _frame_number(frames: int, frame: int | None, subject: str) -> int:
    """The frame that is meant, counted from 1."""
    if not 1 <= frames <= MOST_FRAMES:
        raise ImageError(
            subject,
            got=f"{frames} frames",
            expected=f"at most {MOST_FRAMES}",
            reason="several-frames",
        )
    if frame is None and frames > 1:
        raise ImageError(
            subject,
            got=f"{frames} frames",
            expected="one image per file, or the number of a frame",
            fix="Name a frame, counted from 1, behind the file: FILE#1.",
            reason="several-frames",
        )
    if frame is not None and not 1 <= frame <= frames:
        raise ImageError(subject, got=f"frame {frame}", expected=f"a frame from 1 to {frames}")
    return frame or 1


def _check_image(dataset: Any, subject: str) -> None:
    if "PixelData" not in dataset:
        raise ImageError(
            subject,
            got="no pixel data",
            expected="a DICOM file with an image",
            reason="no-pixels",
        )
    check_needed(dataset)
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        raise ImageError(
            subject,
            got="a palette of colours",
            expected="MONOCHROME1, MONOCHROME2 or RGB",
            reason="palette",
        )
    shape = _shape(dataset)
    check_image_size(shape.columns, shape.rows, subject)
    if shape.samples > 1 and shape.rows * shape.columns > MOST_COLOUR_PIXELS:
        raise ImageError(
            subject,
            got=f"{shape.columns}x{shape.rows} pixels in colours",
            expected=f"at most {MOST_COLOUR_PIXELS} in a DICOM file",
            fix="Save it as gray, or as PNG.",
            reason="too-large",
        )
    if not 1 <= int(dataset.BitsStored) <= shape.bits:
        raise DicomDamageError(f"{int(dataset.BitsStored)} bits stored of {shape.bits} allocated")


def _shape(dataset: Any) -> FrameShape:
    samples = int(dataset.get("SamplesPerPixel") or 1)
    return FrameShape(int(dataset.Rows), int(dataset.Columns), samples, int(dataset.BitsAllocated))


def _check_native(dataset: Any, shape: FrameShape, frames: int, subject: str) -> None:
    """Refuse uncompressed pixel data that are shorter than the header says."""
    samples = shape.rows * shape.columns * shape.samples * frames
    if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
        samples = samples // 3 * 2
    wanted, found = math.ceil(samples * shape.bits / 8), len(dataset.PixelData)
    if found < wanted:
        size = f"{shape.columns}x{shape.rows} pixels with {shape.samples} x {shape.bits} bits"
        several = f"{frames} frames of " if frames > 1 else ""
        raise ImageError(
            subject,
            got=f"{found} bytes of pixel data",
            expected=f"{wanted} for {several}{size}, as the header says",
            fix="Get the file again from where it was made.",
            reason="short-pixels",
        )


def _keep_frame(dataset: Any, index: int, frames: int) -> bytes:
    """Make a frame the only one of a data set with compressed pixel data; gives the frame."""
    encaps = require("pydicom.encaps", extra="dicom", needed_for="reading DICOM")
    if dataset.PixelData.count(_ITEM) > _MOST_FRAGMENTS:
        raise DicomDamageError(f"over {_MOST_FRAGMENTS} fragments")
    offsets = None
    if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
        offsets = (bytes(dataset.ExtendedOffsetTable), bytes(dataset.ExtendedOffsetTableLengths))
    kept: bytes = encaps.get_frame(
        dataset.PixelData, index, number_of_frames=frames, extended_offsets=offsets
    )
    if not kept:
        raise DicomDamageError(f"frame {index + 1} without data")
    for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths", "NumberOfFrames"):
        dataset.pop(keyword, None)
    dataset["PixelData"].value = encaps.encapsulate([kept], has_bot=False)
    return kept


def inflated(content: bytes, subject: str) -> bytes:
    """The file with a meta group that says only how it is encoded, and never deflated.

    pydicom inflates without a limit, so it must not come to its own opinion of the meta group.
    """
    content = with_preamble(content)
    if not is_dicom(content):
        raise DicomDamageError("it does not begin as DICOM files do: PS3.10, section 7.1")
    values, start = _meta_group(content)
    syntax = values.get(_TRANSFER_SYNTAX[1], b"")
    body: bytes | memoryview = memoryview(content)[start:]
    if syntax.rstrip(b"\0 ") == _DEFLATED:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        body, syntax = inflater.decompress(body, MOST_IMAGE_BYTES), _EXPLICIT
        if not inflater.eof and inflater.unconsumed_tail:
            raise _too_large(subject, "deflated data")
    if not syntax:
        return b"".join((PREAMBLE, body))
    element = struct.pack("<HH2sH", *_TRANSFER_SYNTAX, b"UI", len(syntax)) + syntax
    length = struct.pack("<HH2sHL", 0x0002, 0x0000, b"UL", 4, len(element))
    return b"".join((PREAMBLE, length, element, body))


def storage_class(content: bytes) -> str:
    """Media Storage SOP Class UID (PS3.10, 7.1), all that a DICOMDIR has; "" without one."""
    content = with_preamble(content)
    value = _meta_group(content)[0].get(_STORAGE_CLASS[1], b"") if is_dicom(content) else b""
    return value.strip(b"\0 ").decode("ascii", errors="replace")


def _meta_group(content: bytes) -> tuple[dict[int, bytes], int]:
    """Values of elements that count here, and where the data set begins."""
    place, values = len(PREAMBLE), dict[int, bytes]()
    for _ in range(_MOST_META_ELEMENTS):
        if content[place : place + 2] != b"\x02\x00":
            return values, place
        _, element, vr, length = struct.unpack_from("<HH2sH", content, place)
        place += 8
        if vr in _LONG:
            (length,) = struct.unpack_from("<L", content, place)
            place += 4
        if element in (_TRANSFER_SYNTAX[1], _STORAGE_CLASS[1]):
            values[element] = content[place : place + length]
        place += length
    raise DicomDamageError(f"a meta group of over {_MOST_META_ELEMENTS} elements")


def _check_run_lengths(frame: bytes, samples: int, subject: str) -> None:
    """Count what run lengths unpack to, and in how many pieces.

    Args:
        samples: Bytes of the image, unpacked.
    """
    # A run of one takes two bytes; each segment may end with bytes that fill it up.
    if len(frame) > 2 * samples + _RLE_SPARE_BYTES:
        raise ImageError(
            subject,
            got=f"{len(frame)} bytes of run lengths",
            expected=f"{samples} bytes of pixels",
            reason="damaged-pixels",
        )
    segments = min(struct.unpack_from("<L", frame)[0], 15)
    starts = [*struct.unpack_from(f"<{segments}L", frame, 4), len(frame)]
    if starts != sorted(starts):
        raise DicomDamageError("segments of run lengths that lie on one another")
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
                raise DicomDamageError(f"over {_MOST_RUNS} run lengths")


def _too_large(subject: str, what: str) -> ImageError:
    return ImageError(
        subject,
        got=f"{what} that unpacks to over {MOST_IMAGE_BYTES} bytes",
        expected="no more than that",
        fix="Save the image in another transfer syntax.",
        reason="too-large",
    )
