"""The stored values of a frame, by the decoder of its transfer syntax."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.dicom_bits import bits_below, values_within
from mahtrt.data.dicom_damage import DicomDamageError
from mahtrt.data.dicom_file import OpenedFrame
from mahtrt.errors import MissingComponentError, require

_NEEDED_FOR = "reading DICOM"
_NATIVE = "1.2.840.10008.1.2.1"


def stored_values(opened: OpenedFrame) -> NDArray[np.generic]:
    """Decode a frame.

    Returns:
        (H, W), or (H, W, 3) in RGB; signed where the file says so, without unused bits.

    Raises:
        MissingComponentError: pydicom or the decoder is not installed.
        DicomDamageError: The data are damaged.
    """
    pixels = require("pydicom.pixels", extra="dicom", needed_for=_NEEDED_FOR)
    dataset, plugin = opened.dataset, ""
    syntax = opened.syntax
    below = bits_below(dataset) if syntax is None or syntax.codec == "rle" else 0
    if syntax is not None:
        plugin = syntax.decoder_of(int(dataset.BitsStored)).plugin
    try:
        if syntax is not None and not plugin:
            _unpack_jpeg(dataset, opened.codestream)
        decoder = pixels.get_decoder(dataset.file_meta.TransferSyntaxUID)
        # What pydicom takes for unused bits is right where High Bit is that of today.
        how = {"correct_unused_bits": False} if below else {}
        array, _ = decoder.as_array(dataset, index=opened.index, decoding_plugin=plugin, **how)
    except (DicomDamageError, MissingComponentError, MemoryError):
        raise
    # Decoders raise almost anything on damaged frames: their errors have no common base.
    except Exception:
        what = "pixel data" if syntax is None else f"{syntax.name} data"
        raise DicomDamageError(f"damaged {what}, which cannot be decoded") from None
    return values_within(array, dataset, below) if below else np.asarray(array)


def _unpack_jpeg(dataset: Any, codestream: bytes) -> None:
    """Replace a JPEG by its samples, uncompressed; pydicom then knows signs and unused bits."""
    codecs = require("imagecodecs", extra="dicom", needed_for=_NEEDED_FOR)
    samples = np.asarray(codecs.jpeg8_decode(codestream))
    count = int(dataset.get("SamplesPerPixel") or 1)
    shape = (int(dataset.Rows), int(dataset.Columns), *((count,) if count > 1 else ()))
    if samples.shape != shape:
        raise DicomDamageError("a JPEG that decodes to another shape")
    samples = samples.astype(f"<u{int(dataset.BitsAllocated) // 8}")
    dataset["PixelData"].value = samples.tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.file_meta.TransferSyntaxUID = _NATIVE
    if count > 1:
        dataset.PlanarConfiguration = 0
