"""Preprocessing by libmahtrt where it is installed: the bits of NumPy's, sooner.

Nothing of an image is copied where its pixels lie side by side, whatever lies between its rows:
views of BGR and of RGBA arrays among them.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mahtrt.native import library
from mahtrt.spec import InputSpec

Compiled = Callable[[NDArray[np.generic], InputSpec], NDArray[np.float32] | None]

# Values of the constants of mahtrt.h.
_COLOR_ORDERS = {"gray": 0, "rgb": 0, "bgr": 1}
_RESIZES = {"letterbox": 0, "stretch": 1, "center_crop": 2}
_INTERPOLATIONS = {
    "area": 0,
    "linear": 1,
    "cubic": 2,
    "nearest": 3,
    "nearest_floor": 4,
    "antialiased_linear": 5,
    "antialiased_cubic": 6,
}
_GRAY = {1: 0, 2: 1}  # by bytes per sample
# By bytes per sample, samples from a pixel to the next, samples from a colour to the next.
_COLORS = {(1, 3, 1): 2, (2, 3, 1): 3, (1, 3, -1): 4, (2, 3, -1): 5, (1, 4, 1): 6, (1, 4, -1): 7}


class NativeInput(ctypes.Structure):
    """``mahtrt_input`` of mahtrt.h."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("name", ctypes.c_char_p),
        ("height", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("channels", ctypes.c_int32),
        ("color_order", ctypes.c_int32),
        ("resize", ctypes.c_int32),
        ("interpolation", ctypes.c_int32),
        ("mean", ctypes.c_double * 3),
        ("std", ctypes.c_double * 3),
        ("pad_value", ctypes.c_double),
    )


class NativeImage(ctypes.Structure):
    """``mahtrt_image`` of mahtrt.h."""

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


class NativePlacement(ctypes.Structure):
    """``mahtrt_placement`` of mahtrt.h."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("scale_x", ctypes.c_double),
        ("scale_y", ctypes.c_double),
        ("offset_x", ctypes.c_double),
        ("offset_y", ctypes.c_double),
    )


def compiled_preprocess() -> Compiled | None:
    """A function (image, spec) -> tensor, or None where libmahtrt is not there.

    The image is one that :func:`mahtrt.data.preprocess.check_image` passes. The function gives None
    for a spec that the library refuses. Other Python threads run while it works.
    """
    return _function_of(library())


@functools.cache
def _function_of(found: ctypes.CDLL | None) -> Compiled | None:
    if found is None:
        return None
    prepare = found.mahtrt_preprocess
    prepare.restype = ctypes.c_int32
    # struct mahtrt_input *, struct mahtrt_image *, float *, floats, struct mahtrt_placement *
    prepare.argtypes = (
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_void_p,
    )

    def compiled(image: NDArray[np.generic], spec: InputSpec) -> NDArray[np.float32] | None:
        kept, described = native_image(image)  # `kept` owns the memory until the call is over
        tensor = np.empty((spec.channels, *spec.size), np.float32)
        status = prepare(
            ctypes.byref(native_input(spec)),
            ctypes.byref(described),
            tensor.ctypes.data,
            tensor.size,
            None,
        )
        del kept
        return tensor if status == 0 else None

    return compiled


def native_input(spec: InputSpec) -> NativeInput:
    """A spec as the library takes it."""
    return NativeInput(
        size=ctypes.sizeof(NativeInput),
        height=spec.size[0],
        width=spec.size[1],
        channels=spec.channels,
        color_order=_COLOR_ORDERS[spec.color_order],
        resize=_RESIZES[spec.resize],
        interpolation=_INTERPOLATIONS[spec.interpolation],
        mean=(ctypes.c_double * 3)(*spec.mean),
        std=(ctypes.c_double * 3)(*spec.std),
        pad_value=spec.pad_value,
    )


def native_image(image: NDArray[np.generic]) -> tuple[NDArray[np.generic], NativeImage]:
    """An image as the library takes it, and the array whose memory that is.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3), uint8 or uint16.

    Returns:
        The image itself, or a copy where its pixels do not lie side by side or have the byte order
        of another machine; and the struct.
    """
    image = image.astype(image.dtype.newbyteorder("="), copy=False)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    pixel_format = _format_of(image)
    if pixel_format is None:
        image = np.ascontiguousarray(image)
        pixel_format = _format_of(image)
        assert pixel_format is not None
    first = image.ctypes.data
    if image.ndim == 3 and image.strides[2] < 0:
        first += 2 * image.strides[2]  # NumPy begins with the last sample of a pixel
    return image, NativeImage(
        size=ctypes.sizeof(NativeImage),
        data=first,
        row_bytes=image.strides[0],
        width=image.shape[1],
        height=image.shape[0],
        format=pixel_format,
    )


def _format_of(image: NDArray[np.generic]) -> int | None:
    """The format that the image's memory has, or None where it has to be copied."""
    sample, row, column = image.itemsize, image.strides[0], image.strides[1]
    if image.ndim == 2:
        return _GRAY[sample] if column == sample and row >= sample * image.shape[1] else None
    if column <= 0 or row < column * image.shape[1]:
        return None
    if column % sample or image.strides[2] % sample:
        return None
    return _COLORS.get((sample, column // sample, image.strides[2] // sample))
