"""Channels in another order, or gray where there are colours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mahtrt.data.gray import gray_from_rgb
from mahtrt.runtime.expectation.causes.cause import Cause
from mahtrt.runtime.expectation.pipeline import Image, Pipeline
from mahtrt.spec import ColorOrder

_REVERSED: dict[ColorOrder, ColorOrder] = {"rgb": "bgr", "bgr": "rgb", "gray": "gray"}


def _reversed(pipeline: Pipeline) -> Pipeline:
    inputs = tuple(
        replace(each, color_order=_REVERSED[each.color_order]) for each in pipeline.inputs
    )
    return replace(pipeline, inputs=inputs)


def _gray(image: Image) -> Image:
    return gray_from_rgb(image) if _has_colours(image) else image


def _mean(image: Image) -> Image:
    if not _has_colours(image):
        return image
    return np.asarray(np.rint(image.mean(axis=2)), image.dtype)


def _first(image: Image) -> Image:
    return np.ascontiguousarray(image[..., 0]) if _has_colours(image) else image


def _has_colours(image: Image) -> bool:
    return image.ndim == 3 and image.shape[2] == 3


COLOURS = (
    Cause(
        "channel_order",
        "Your pipeline feeds the channels as {other_order}; the spec says {color_order}.",
        "If the network was trained that way, set input.color_order to {other_order} in the spec; "
        "else convert the images in your pipeline (OpenCV reads bgr).",
        _reversed,
    ),
    Cause(
        "gray_by_luma",
        "Your pipeline makes colour images gray; the spec keeps their colours.",
        "If the network was trained on gray images, set input.channels to 1 and input.color_order "
        "to gray in the spec, or give it gray images; else read them in colour in your pipeline.",
        lambda pipeline: replace(pipeline, before=_gray),
    ),
    Cause(
        "gray_by_mean",
        "Your pipeline makes colour images gray by the mean of their channels; mahtrt weights "
        "them as luma does, where the network takes gray at all.",
        "Convert to gray by luma (cv2.COLOR_RGB2GRAY, Pillow's convert('L')) in your pipeline, or "
        "give mahtrt images that are gray already.",
        lambda pipeline: replace(pipeline, before=_mean),
    ),
    Cause(
        "red_alone",
        "Your pipeline takes the first channel of colour images alone.",
        "Convert the images in your pipeline as the spec's input.color_order ({color_order}) says, "
        "or give mahtrt images that are gray already.",
        lambda pipeline: replace(pipeline, before=_first),
    ),
)
