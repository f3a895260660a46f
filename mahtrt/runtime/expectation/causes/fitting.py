"""Other ways to bring an image to the network's size: shape, place and padding."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mahtrt.data.preprocess import Fit, Placement, fit_image, fit_of, pad_level
from mahtrt.data.resample import resample
from mahtrt.runtime.expectation.causes.cause import Cause, with_inputs
from mahtrt.runtime.expectation.pipeline import Fit as FitStep
from mahtrt.runtime.expectation.pipeline import Image
from mahtrt.spec import InputSpec, Resize

_ADVICE = (
    "If the network was trained that way, set input.resize to {mode} in the spec; else fit images "
    "as {{resize}} in your pipeline."
)
_CENTRED = (
    "The spec has no field for it: fit images as mahtrt does in your pipeline "
    "(docs/preprocessing.md), or prepare the files before both."
)


def _resized(mode: Resize) -> Cause:
    return Cause(
        f"resize_{mode}",
        f"Your pipeline fits images as {mode}; the spec says {{resize}}.",
        _ADVICE.format(mode=mode),
        lambda pipeline: with_inputs(pipeline, resize=mode),
    )


def _padded(name: str, level: float, shown: str) -> Cause:
    return Cause(
        name,
        f"Your pipeline pads with intensity {shown}; the spec says {{pad_value}}.",
        f"If the network was trained that way, set input.pad_value to {shown} in the spec; else "
        "pad with {pad_value} in your pipeline.",
        lambda pipeline: with_inputs(pipeline, pad_value=level),
    )


def _fit(cause: str, words: str, advice: str, step: FitStep) -> Cause:
    return Cause(cause, words, advice, lambda pipeline: replace(pipeline, fit=step))


def _placed(
    image: Image, spec: InputSpec, size: tuple[int, int], corner: tuple[int, int]
) -> tuple[Image, Placement]:
    """An image resized to ``size`` (height, width) with its first pixel at ``corner`` (top, left).

    What lies beyond the input is cut off.
    """
    resized = resample(image, *size, spec.interpolation)
    level = pad_level(resized.dtype, spec)
    canvas = np.full((*spec.size, *resized.shape[2:]), level, resized.dtype)
    (h, w), (top, left) = spec.size, corner
    inside = resized[max(-top, 0) : h - top, max(-left, 0) : w - left]
    y, x = max(top, 0), max(left, 0)
    canvas[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    scale = size[1] / image.shape[1], size[0] / image.shape[0]
    return canvas, Placement(scale, (float(left), float(top)))


def _scaled(image: Image, spec: InputSpec, choose: Callable[..., float]) -> float:
    return choose(spec.size[0] / image.shape[0], spec.size[1] / image.shape[1])


def _top_left(image: Image, spec: InputSpec, version: int) -> tuple[Image, Placement]:
    """Padding at the right and the bottom alone."""
    scale = _scaled(image, spec, min)
    size = max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale))
    return _placed(image, spec, size, (0, 0))


def _odd_pixel(mode: Resize) -> FitStep:
    """Fitted in a mode; of an odd number of pixels added or cut, the other half is larger."""

    def fit(image: Image, spec: InputSpec, version: int) -> tuple[Image, Placement]:
        size = fit_of(image.shape, replace(spec, resize=mode)).size
        corner = (size[0] - spec.size[0]) // 2, (size[1] - spec.size[1]) // 2
        return _placed(image, spec, size, (-corner[0], -corner[1]))

    return fit


def _rounded_down(image: Image, spec: InputSpec, version: int) -> tuple[Image, Placement]:
    """Letterboxed, with lengths cut to whole pixels."""
    scale = _scaled(image, spec, min)
    size = max(1, int(image.shape[0] * scale)), max(1, int(image.shape[1] * scale))
    return _placed(image, spec, size, Fit(image.shape[:2], size, spec.size).corner)


def _crop_of_larger(image: Image, spec: InputSpec, version: int) -> tuple[Image, Placement]:
    """Resized to 256/224 of the input and cropped, as classifiers of ImageNet do."""
    scale = _scaled(image, spec, max) * 256 / 224
    size = math.ceil(image.shape[0] * scale - 1e-9), math.ceil(image.shape[1] * scale - 1e-9)
    return _placed(image, spec, size, Fit(image.shape[:2], size, spec.size).corner)


def _cut_top_left(image: Image, spec: InputSpec, version: int) -> tuple[Image, Placement]:
    """The image at its own size, cut off or padded at the right and the bottom."""
    return _placed(image, spec, (image.shape[0], image.shape[1]), (0, 0))


def _repeated_border(image: Image, spec: InputSpec, version: int) -> tuple[Image, Placement]:
    """Letterboxed, with the border repeated."""
    fitted, placement = fit_image(image, spec, version)
    left, top = (int(each) for each in placement.offset)
    if left < 0 or top < 0:
        return fitted, placement
    width, height = (round(n * s) for n, s in zip(image.shape[1::-1], placement.scale, strict=True))
    inside = fitted[top : top + height, left : left + width]
    h, w = spec.size
    around = ((top, h - top - height), (left, w - left - width), (0, 0))
    return np.pad(inside, around[: inside.ndim], mode="edge"), placement


FITTING = (
    *(_resized(mode) for mode in ("letterbox", "stretch", "center_crop")),
    _fit(
        "letterbox_top_left",
        "Your pipeline letterboxes with the image at the top left; mahtrt puts it in the middle.",
        _CENTRED,
        _top_left,
    ),
    _fit(
        "letterbox_odd_pixel_before",
        "Your pipeline letterboxes with the odd pixel of padding at the left and the top; mahtrt "
        "adds it at the right and the bottom, where the spec says letterbox (it says {resize}).",
        _CENTRED,
        _odd_pixel("letterbox"),
    ),
    _fit(
        "center_crop_odd_pixel_behind",
        "Your pipeline crops the middle, and cuts an odd pixel off at the right and the bottom; "
        "mahtrt cuts it off at the left and the top, where the spec says center_crop (it says "
        "{resize}).",
        "If the network was trained on crops, set input.resize to center_crop in the spec, and cut "
        "(size - target + 1) // 2 pixels off at the left and the top in your pipeline; else fit "
        "images as {resize} there.",
        _odd_pixel("center_crop"),
    ),
    _fit(
        "letterbox_rounded_down",
        "Your pipeline letterboxes with lengths rounded down; mahtrt rounds to the nearest.",
        _CENTRED,
        _rounded_down,
    ),
    _fit(
        "crop_of_larger",
        "Your pipeline resizes to 256/224 of the input and crops its middle; the spec says "
        "{resize}.",
        _CENTRED,
        _crop_of_larger,
    ),
    _fit(
        "not_resized",
        "Your pipeline cuts or pads images to the network's size without resizing them; the spec "
        "says {resize}.",
        _CENTRED,
        _cut_top_left,
    ),
    _padded("padded_black", 0.0, "0"),
    _padded("padded_white", 1.0, "1"),
    _padded("padded_gray", 0.5, "0.5"),
    _padded("padded_114", 114 / 255, "0.447 (114 of 255)"),
    _fit(
        "border_repeated",
        "Your pipeline repeats the border of the image where the spec pads with {pad_value}.",
        _CENTRED,
        _repeated_border,
    ),
)
