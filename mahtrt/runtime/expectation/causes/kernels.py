"""Other ways to make new pixels: kernels, antialiasing, and where samples are taken."""

from __future__ import annotations

import typing
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from mahtrt.data.preprocess import Placement, fit_of, place
from mahtrt.runtime.expectation.causes.cause import Cause, with_inputs
from mahtrt.runtime.expectation.pipeline import Fit, Image
from mahtrt.spec import InputSpec, Interpolation

_IN_WORDS: dict[Interpolation, str] = {
    "area": "by areas (cv2.INTER_AREA)",
    "linear": "bilinearly without antialiasing (cv2.INTER_LINEAR, PyTorch's interpolate)",
    "cubic": "bicubically without antialiasing (cv2.INTER_CUBIC)",
    "nearest": "to the nearest pixel (Pillow's NEAREST)",
    "nearest_floor": "to the nearest pixel below (cv2.INTER_NEAREST, PyTorch's nearest)",
    "antialiased_linear": "bilinearly with antialiasing (Pillow, torchvision's Resize)",
    "antialiased_cubic": "bicubically with antialiasing (Pillow's BICUBIC)",
}
_FIT = (
    "The spec has no such interpolation: resize in your pipeline as one of docs/preprocessing.md, "
    "the nearest of which is {near}."
)
Resized = Callable[[Image, int, int], Image]


def _interpolated(interpolation: Interpolation) -> Cause:
    return Cause(
        f"kernel_{interpolation}",
        f"Your pipeline resizes {_IN_WORDS[interpolation]}; the spec says {{interpolation}}.",
        "If the network was trained that way, set input.interpolation to "
        f"{interpolation} in the spec; else resize as {{interpolation}} in your pipeline.",
        lambda pipeline: with_inputs(pipeline, interpolation=interpolation),
    )


def _with(resized: Resized) -> Fit:
    """Fit an image with another function that resizes."""

    def fit(image: Image, spec: InputSpec, version: int) -> tuple[Image, Placement]:
        where = fit_of(image.shape, spec)
        if where.size == where.image:
            return place(image, where, spec), where.placement
        return place(resized(image, *where.size), where, spec), where.placement

    return fit


def _sampled(
    image: Image, height: int, width: int, step: Callable[[int, int], float], first: float
) -> Image:
    """Linear between pixels, sample ``i`` of ``n`` taken at ``(i + first) * step - first``."""
    wide: NDArray[np.float64] = image.astype(np.float64)
    for axis, new in ((0, height), (1, width)):
        length = image.shape[axis]
        at = np.clip((np.arange(new) + first) * step(length, new) - first, 0, length - 1)
        below = np.minimum(at.astype(np.int64), length - 1)
        share = (at - below).reshape((-1, *[1] * (image.ndim - 1 - axis)))
        above = np.minimum(below + 1, length - 1)
        wide = wide.take(below, axis) * (1 - share) + wide.take(above, axis) * share
    return np.rint(wide).astype(image.dtype)


def _corners_aligned(image: Image, height: int, width: int) -> Image:
    return _sampled(image, height, width, lambda old, new: (old - 1) / max(new - 1, 1), 0.0)


def _from_corner(image: Image, height: int, width: int) -> Image:
    return _sampled(image, height, width, lambda old, new: old / new, 0.0)


def _lanczos(image: Image, height: int, width: int) -> Image:
    """By Pillow, plane by plane in floating point, which it takes of any depth."""
    planes = [image] if image.ndim == 2 else list(np.moveaxis(image, 2, 0))
    top, to = int(np.iinfo(image.dtype).max), (width, height)
    made = [
        np.asarray(
            Picture.fromarray(plane.astype(np.float32)).resize(to, Picture.Resampling.LANCZOS)
        )
        for plane in planes
    ]
    whole = made[0] if image.ndim == 2 else np.stack(made, 2)
    return np.asarray(np.clip(np.rint(whole), 0, top), image.dtype)


def _fitted(name: str, words: str, near: str, resized: Resized) -> Cause:
    fit = _with(resized)
    return Cause(name, words, _FIT.format(near=near), lambda pipeline: replace(pipeline, fit=fit))


KERNELS = (
    *(_interpolated(each) for each in typing.get_args(Interpolation)),
    _fitted(
        "kernel_lanczos",
        "Your pipeline resizes with Lanczos' kernel (Pillow's LANCZOS); the spec says "
        "{interpolation}.",
        "antialiased_cubic",
        _lanczos,
    ),
    _fitted(
        "samples_at_corners",
        "Your pipeline resizes with the corners of both grids on each other (align_corners=True).",
        "linear (align_corners=False)",
        _corners_aligned,
    ),
    _fitted(
        "samples_from_corner",
        "Your pipeline resizes without the half pixel between corners and centres (asymmetric "
        "coordinates).",
        "linear (half-pixel centres)",
        _from_corner,
    ),
)
