"""Landmarks of a PNG, as JSON, through ctypes alone: no NumPy, no package mahtrt.

    python landmarks.py BUNDLE IMAGE...      # one image for each input of the network

The library is the one that MAHTRT_LIBRARY names, that of the package mahtrt-native, or the
loader's. Only what is used is declared; the structs are those of mahtrt.h, field by field.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import sys
from pathlib import Path

OK, FAILED, USAGE = 0, 1, 2


class Options(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("engine", ctypes.c_char_p),
        ("runtime_dir", ctypes.c_char_p),
        ("require", ctypes.c_int32),
        ("threads", ctypes.c_int32),
        ("device", ctypes.c_int32),
        ("skip_digests", ctypes.c_int32),
        ("stream", ctypes.c_void_p),
    )


class Image(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("row_bytes", ctypes.c_size_t),
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
        ("format", ctypes.c_int32),
        ("spacing_row_mm", ctypes.c_double),
        ("spacing_column_mm", ctypes.c_double),
    )


class Landmark(ctypes.Structure):
    _fields_ = (
        ("x_px", ctypes.c_float),
        ("y_px", ctypes.c_float),
        ("confidence", ctypes.c_float),
        ("spread_px", ctypes.c_float),
        ("spread_x_px", ctypes.c_float),
        ("spread_y_px", ctypes.c_float),
        ("x_mm", ctypes.c_float),
        ("y_mm", ctypes.c_float),
        ("visibility", ctypes.c_float),
        ("visible", ctypes.c_int32),
        ("two_peaks", ctypes.c_int32),
    )


POINTER, SIZE, TEXT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
INT = ctypes.c_int32
# Result and arguments of each function. Without them ctypes cuts pointers to 32 bits.
FUNCTIONS = {
    "mahtrt_last_error": (TEXT,),
    "mahtrt_options_init": (None, ctypes.POINTER(Options), SIZE),
    "mahtrt_open": (INT, TEXT, ctypes.POINTER(Options), ctypes.POINTER(POINTER)),
    "mahtrt_close": (INT, POINTER),
    "mahtrt_engine_name": (TEXT, POINTER),
    "mahtrt_input_count": (SIZE, POINTER),
    "mahtrt_landmark_count": (SIZE, POINTER),
    "mahtrt_landmark_name": (TEXT, POINTER, SIZE),
    "mahtrt_image_init": (None, ctypes.POINTER(Image), SIZE),
    "mahtrt_png_read": (INT, TEXT, SIZE, POINTER, SIZE, ctypes.POINTER(Image)),
    "mahtrt_run_batch": (INT, POINTER, POINTER, SIZE, POINTER, SIZE, SIZE, POINTER, SIZE),
}


class StatusError(Exception):
    """A call that failed: its status, and what the library says of it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Library:
    """libmahtrt, loaded; ``library.open(...)`` calls mahtrt_open, and raises where it fails."""

    def __init__(self, path: str) -> None:
        loaded = ctypes.CDLL(path)
        for name, (result, *arguments) in FUNCTIONS.items():
            function = getattr(loaded, name)
            function.restype, function.argtypes = result, arguments
            if result is INT:
                function.errcheck = self._check
            setattr(self, name.removeprefix("mahtrt_"), function)

    def _check(self, status: int, *_: object) -> int:
        if status != OK:
            raise StatusError(status, self.last_error().decode())
        return status

    def read_png(self, path: str) -> Image:
        """The pixels live as long as the image."""
        png = Path(path).read_bytes()
        image = Image()
        self.image_init(image, ctypes.sizeof(image))
        self.png_read(png, len(png), None, 0, image)
        image.pixels = ctypes.create_string_buffer(image.row_bytes * image.height)
        self.png_read(png, len(png), image.pixels, len(image.pixels), image)
        return image


def library_path() -> str:
    """Where the library is; the loader's own places are searched for a bare name."""
    if given := os.environ.get("MAHTRT_LIBRARY"):
        return given
    try:
        import mahtrt_native
    except ImportError:
        return "libmahtrt.so.1"
    return str(mahtrt_native.library_path())


def known(value: float) -> float | None:
    """None where it is not known: JSON has no NaN."""
    return None if math.isnan(value) else value


def landmarks(library: Library, bundle: str, paths: list[str]) -> dict[str, object]:
    """Engine and landmarks of one case."""
    session = POINTER()
    library.open(os.fsencode(bundle), None, session)
    try:
        if len(paths) != library.input_count(session):
            raise StatusError(USAGE, "images: give one for each input of the network")
        images = (Image * len(paths))()
        read = [library.read_png(path) for path in paths]
        for place, image in enumerate(read):
            images[place] = image
        found = (Landmark * library.landmark_count(session))()
        size = ctypes.sizeof(Landmark)
        library.run_batch(session, images, len(images), found, size, len(found), None, 0)
        names = [library.landmark_name(session, each).decode() for each in range(len(found))]
        fields = ("x_px", "y_px", "confidence", "spread_px")
        told = [
            {"name": name, **{field: known(getattr(one, field)) for field in fields}}
            for name, one in zip(names, found, strict=True)
        ]
        return {"engine": library.engine_name(session).decode(), "landmarks": told}
    finally:
        library.close(session)


def main() -> int:
    if len(sys.argv) < 3:
        print("usage: python landmarks.py BUNDLE IMAGE...", file=sys.stderr)
        return USAGE
    try:
        found = landmarks(Library(library_path()), sys.argv[1], sys.argv[2:])
    except StatusError as error:
        print(error, file=sys.stderr)
        return error.status
    except OSError as error:
        print(error, file=sys.stderr)
        return FAILED
    print(json.dumps(found, indent=2))
    return OK


if __name__ == "__main__":
    sys.exit(main())
