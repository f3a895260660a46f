"""Transfer syntaxes that are read, and the one decoder of each.

pydicom would try every decoder that happens to be installed, so that two machines could decode one
file in two ways. Here each syntax has one, chosen by licence, upkeep and safety
(docs/decisions.md); a syntax that is not in the table is refused.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mahtrt.errors import ImageError, MissingComponentError

Codec = Literal["jpeg", "jpeg-lossless", "jpeg-ls", "jpeg-2000", "rle"]

_STANDARD = "1.2.840.10008.1.2"  # PS3.6 A: the root of the standard's transfer syntaxes


@dataclass(frozen=True, slots=True)
class Decoder:
    """What decodes.

    Attributes:
        plugin: Its name among pydicom's decoding plugins; "" where it is none of them.
        modules: What has to be importable.
        packages: What installs it.
    """

    plugin: str
    modules: tuple[str, ...] = ()
    packages: str = ""


@dataclass(frozen=True, slots=True)
class Syntax:
    """A transfer syntax (PS3.5 A.4) with compressed frames.

    Attributes:
        name: Its name for people.
        codec: What its frames are.
        decoder: What decodes it.
        deep_decoder: What decodes it where more than 8 bits are stored; None for the same.
    """

    name: str
    codec: Codec
    decoder: Decoder
    deep_decoder: Decoder | None = None

    def decoder_of(self, bits_stored: int) -> Decoder:
        """What decodes samples of so many bits."""
        return self.decoder if bits_stored <= 8 or not self.deep_decoder else self.deep_decoder


_PILLOW = Decoder("pillow")  # which mahtrt needs anyway
_PYDICOM = Decoder("pydicom")
_CHARLS = Decoder("pyjpegls", ("jpeg_ls",), "pyjpegls")
_OPENJPEG = Decoder("pylibjpeg", ("pylibjpeg", "openjpeg"), "pylibjpeg and pylibjpeg-openjpeg")
_TURBO = Decoder("", ("imagecodecs",), "imagecodecs")  # libjpeg-turbo, also beyond 8 bits

COMPRESSED: Mapping[str, Syntax] = {
    f"{_STANDARD}.4.50": Syntax("JPEG Baseline", "jpeg", _PILLOW),
    f"{_STANDARD}.4.51": Syntax("JPEG Extended", "jpeg", _PILLOW, _TURBO),
    f"{_STANDARD}.4.57": Syntax("JPEG Lossless", "jpeg-lossless", _TURBO),
    f"{_STANDARD}.4.70": Syntax("JPEG Lossless SV1", "jpeg-lossless", _TURBO),
    f"{_STANDARD}.4.80": Syntax("JPEG-LS Lossless", "jpeg-ls", _CHARLS),
    f"{_STANDARD}.4.81": Syntax("JPEG-LS Near-lossless", "jpeg-ls", _CHARLS),
    f"{_STANDARD}.4.90": Syntax("JPEG 2000 Lossless", "jpeg-2000", _OPENJPEG),
    f"{_STANDARD}.4.91": Syntax("JPEG 2000", "jpeg-2000", _OPENJPEG),
    f"{_STANDARD}.4.201": Syntax("HTJ2K Lossless", "jpeg-2000", _OPENJPEG),
    f"{_STANDARD}.4.202": Syntax("HTJ2K Lossless RPCL", "jpeg-2000", _OPENJPEG),
    f"{_STANDARD}.4.203": Syntax("HTJ2K", "jpeg-2000", _OPENJPEG),
    f"{_STANDARD}.5": Syntax("RLE Lossless", "rle", _PYDICOM),
}
# Implicit and explicit little endian, explicit big endian; deflated files are inflated before.
NATIVE = frozenset({_STANDARD, f"{_STANDARD}.1", f"{_STANDARD}.2"})


def syntax_of(dataset: Any, subject: str) -> Syntax | None:
    """How a data set's frames are compressed, None where they are not.

    Raises:
        ImageError: No transfer syntax, or one that is not read.
    """
    uid = str(dataset.file_meta.get("TransferSyntaxUID") or "")
    if uid in NATIVE:
        return None
    if uid in COMPRESSED:
        return COMPRESSED[uid]
    raise ImageError(
        subject,
        got=f"transfer syntax {_shown(dataset, uid)}" if uid else "no transfer syntax",
        expected="uncompressed pixels, JPEG, JPEG Lossless, JPEG-LS, JPEG 2000, HTJ2K or RLE",
        fix="Save it in another transfer syntax, such as Explicit VR Little Endian.",
        reason="transfer-syntax",
    )


def need_decoder(syntax: Syntax, bits_stored: int, subject: str) -> None:
    """Refuse a syntax whose decoder is not installed.

    Raises:
        MissingComponentError: It names the package.
    """
    decoder = syntax.decoder_of(bits_stored)
    missing = [name for name in decoder.modules if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingComponentError(
            f"{subject} ({syntax.name})",
            got=f"no Python package {missing[0]}",
            expected=f"{decoder.packages} to be installed",
            fix="Install it: pip install 'mahtrt[dicom]'.",
        )


def _shown(dataset: Any, uid: str) -> str:
    """A syntax for a message: nothing but what the standard itself has registered is quoted."""
    if not uid.startswith(_STANDARD + ".") or not uid.replace(".", "").isdecimal():
        return "that is not of the standard"
    name = str(getattr(dataset.file_meta.TransferSyntaxUID, "name", uid))
    return uid if name == uid else f"{name} ({uid})"
