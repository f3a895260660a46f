"""Damage of a DICOM file, in words that quote nothing of it.

pydicom's own errors and warnings quote values of the header, and so may name a patient. What is
told of them is where they happened; only the messages of :class:`DicomDamageError` are passed on.
"""

from __future__ import annotations

import logging
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from mahtrt.errors import ImageError, MissingComponentError, require

# The libraries that quote headers.
_LOGS = tuple(map(logging.getLogger, ("pydicom", "highdicom")))


class DicomDamageError(ValueError):
    """A file that is not what it should be; its message quotes no value of the header."""


class _Silence:
    """Switches off warnings, and the passing on of logs, while any thread handles DICOM.

    These switches are the process's: the first thread turns them, the last one turns them back.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._nowhere = logging.NullHandler()  # without any handler, Python shows warnings itself
        self._filters, self._pass_on = warnings.catch_warnings(), [True for _ in _LOGS]

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")
                self._pass_on = [log.propagate for log in _LOGS]
                for log in _LOGS:
                    log.addHandler(self._nowhere)
                    log.propagate = False
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                for log, passes_on in zip(_LOGS, self._pass_on, strict=True):
                    log.propagate = passes_on
                    log.removeHandler(self._nowhere)
                self._filters.__exit__(None, None, None)


_SILENCE = _Silence()


@contextmanager
def silent_dicom() -> Iterator[None]:
    """The block's libraries tell nobody what they think of a header; errors are raised as ever."""
    with _SILENCE:
        yield


@contextmanager
def reading_dicom(subject: str, part: str) -> Iterator[None]:
    """Turn whatever reading raises into an error that quotes no value of the file.

    Args:
        subject: The file, for the message.
        part: What is being read, such as ``"header"``.

    Raises:
        ImageError: The file cannot be read.
    """
    try:
        with _SILENCE:
            yield
    except (ImageError, MissingComponentError):
        raise
    except MemoryError:
        raise
    # pydicom raises almost anything on damaged data: its errors have no common base. They are cut
    # off the traceback too, which would show them.
    except Exception as error:
        told = str(error) if isinstance(error, DicomDamageError) else damage_words(error, part)
        raise ImageError(
            subject,
            got=f"DICOM that cannot be read ({told})",
            expected="a DICOM file with an image",
            fix="Check the file; get it again from where it was made.",
            reason=f"damaged-{'header' if part == 'header' else 'pixels'}",
        ) from None


def damage_words(error: Exception, part: str) -> str:
    """What an error about a file means, as far as its kind tells: its text quotes the file.

    Args:
        part: What was being read, such as ``"header"``.
    """
    if isinstance(error, (struct.error, EOFError)):
        return f"a {part} that ends too early"
    words = require("pydicom.datadict", extra="dicom", needed_for="reading DICOM")
    if isinstance(error, AttributeError) and words.tag_for_keyword(str(error.name)):
        return f"no {words.dictionary_description(error.name)}"
    return f"damaged {part}"
