"""Other numbers in the tensor: ranges, means and standard deviations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.runtime.expectation.causes.cause import Cause
from mahtrt.runtime.expectation.pipeline import Finish, Pipeline, Tensor, View
from mahtrt.spec import InputSpec

Unit = NDArray[np.float64]  # (C, H, W) intensities from 0 to 1

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_ADVICE = (
    "If the network was trained that way, set {fields} in the spec; else normalise in your "
    "pipeline with mean {{mean}} and std {{std}} of intensities from 0 to 1."
)
_NO_FIELD = (
    "The spec has no field for it. If the network was trained that way, do it inside the network, "
    "before its first layer; else normalise in your pipeline with mean {mean} and std {std} of "
    "intensities from 0 to 1."
)


def _finish(numbers: Callable[[Unit, Unit, Unit], Unit]) -> Finish:
    """A last step that makes other numbers of the intensities.

    Args:
        numbers: From intensities (C, H, W) in 0 to 1, mean and std (C, 1, 1) of the spec.
    """

    def finish(tensor: Tensor, spec: InputSpec, view: View) -> Tensor:
        mean, std = (np.array(each, np.float64)[:, None, None] for each in (spec.mean, spec.std))
        return numbers(tensor * std + mean, mean, std).astype(np.float32)

    return finish


def _cause(
    name: str, words: str, advice: str, numbers: Callable[[Unit, Unit, Unit], Unit]
) -> Cause:
    finish = _finish(numbers)
    return Cause(name, words, advice, lambda pipeline: replace(pipeline, finish=finish))


def _level_cause(
    name: str, words: str, advice: str, numbers: Callable[[Unit, Unit, Unit], Unit]
) -> Cause:
    """A cause whose numbers are made of grey levels, from 0 to 255 or 65535."""

    def finish(tensor: Tensor, spec: InputSpec, view: View) -> Tensor:
        return _finish(lambda unit, mean, std: numbers(unit * view.top, mean, std))(
            tensor, spec, view
        )

    return Cause(name, words, advice, lambda pipeline: replace(pipeline, finish=finish))


def _with(mean: Sequence[float], std: Sequence[float]) -> Callable[[Unit, Unit, Unit], Unit]:
    """Normalise by fixed numbers; gray images by their means."""

    def numbers(unit: Unit, spec_mean: Unit, spec_std: Unit) -> Unit:
        channels = len(unit)
        fixed = [
            np.array(each if channels == len(each) else [np.mean(each)], np.float64)
            for each in (mean, std)
        ]
        return np.asarray((unit - fixed[0][:, None, None]) / fixed[1][:, None, None], np.float64)

    return numbers


def _per_image(unit: Unit, axes: Any) -> Unit:
    spread = unit.std(axis=axes, keepdims=True)
    return np.asarray((unit - unit.mean(axis=axes, keepdims=True)) / np.maximum(spread, 1e-8))


def _stretched(unit: Unit) -> Unit:
    low, high = unit.min(), unit.max()
    return np.asarray((unit - low) / max(high - low, 1e-8))


def _padded_with_mean(tensor: Tensor, spec: InputSpec, view: View) -> Tensor:
    """Zeros around the image after it was normalised: the mean's grey level."""
    left, top = (int(each) for each in view.placement.offset)
    width, height = (
        round(length * scale)
        for length, scale in zip(view.image[::-1], view.placement.scale, strict=True)
    )
    if left < 0 or top < 0:
        return tensor
    padded = np.zeros_like(tensor)
    inside = (slice(None), slice(top, top + height), slice(left, left + width))
    padded[inside] = tensor[inside]
    return padded


def _pad_after(pipeline: Pipeline) -> Pipeline:
    return replace(pipeline, finish=_padded_with_mean)


NUMBERS = (
    _cause(
        "no_mean_std",
        "Your pipeline feeds intensities from 0 to 1 without mean and std; the spec says mean "
        "{mean} and std {std}.",
        _ADVICE.format(fields="input.mean to 0 and input.std to 1"),
        lambda unit, mean, std: unit,
    ),
    _cause(
        "mean_std_of_imagenet",
        "Your pipeline normalises with ImageNet's mean and std; the spec says mean {mean} and std "
        "{std}.",
        _ADVICE.format(
            fields="input.mean to 0.485, 0.456, 0.406 and input.std to 0.229, 0.224, 0.225"
        ),
        _with(*_IMAGENET),
    ),
    _cause(
        "minus_one_to_one",
        "Your pipeline scales intensities to [-1, 1]; the spec says mean {mean} and std {std}.",
        _ADVICE.format(fields="input.mean to 0.5 and input.std to 0.5"),
        lambda unit, mean, std: (unit - 0.5) / 0.5,
    ),
    _cause(
        "default_mean_std",
        "Your pipeline normalises with mean 0.5 and std 0.25; the spec says mean {mean} and std "
        "{std}.",
        _ADVICE.format(fields="input.mean to 0.5 and input.std to 0.25"),
        lambda unit, mean, std: (unit - 0.5) / 0.25,
    ),
    _level_cause(
        "levels_0_255",
        "Your pipeline feeds grey levels (0 to 255, of 16 bits to 65535) without dividing, mean or "
        "std; the spec says intensities from 0 to 1, mean {mean} and std {std}.",
        _ADVICE.format(fields="input.mean to 0 and input.std to 1/255 (0.00392157)"),
        lambda levels, mean, std: levels,
    ),
    _level_cause(
        "not_divided_by_255",
        "Your pipeline subtracts the mean and divides by the std without scaling grey levels to "
        "0 to 1 first.",
        "Divide by 255 (16 bits: 65535) in your pipeline before mean {mean} and std {std}; if the "
        "network was trained without, divide input.mean and input.std by 255 in the spec.",
        lambda levels, mean, std: (levels - mean) / std,
    ),
    _level_cause(
        "sixteen_bits_divided_by_255",
        "Your pipeline divides images of 16 bits by 255; mahtrt divides them by 65535.",
        "Divide by 65535 in your pipeline; if the network was trained so, divide input.mean and "
        "input.std by 257 in the spec.",
        lambda levels, mean, std: (levels / 255 - mean) / std,
    ),
    _cause(
        "divided_by_255_twice",
        "Your pipeline divides grey levels by 255 twice.",
        "Divide once in your pipeline: ToTensor and most readers of floating point have done so.",
        lambda unit, mean, std: (unit / 255 - mean) / std,
    ),
    _cause(
        "divided_by_255_alone_twice",
        "Your pipeline divides grey levels by 255 twice, and leaves out mean and std.",
        "Divide once in your pipeline, and normalise with mean {mean} and std {std}.",
        lambda unit, mean, std: unit / 255,
    ),
    _cause(
        "mean_alone",
        "Your pipeline subtracts the mean and does not divide by the std; the spec says std {std}.",
        _ADVICE.format(fields="input.std to 1"),
        lambda unit, mean, std: unit - mean,
    ),
    _cause(
        "std_alone",
        "Your pipeline divides by the std and does not subtract the mean; the spec says mean "
        "{mean}.",
        _ADVICE.format(fields="input.mean to 0"),
        lambda unit, mean, std: unit / std,
    ),
    _cause(
        "normalised_twice",
        "Your pipeline applies mean and std twice.",
        "Normalise once in your pipeline.",
        lambda unit, mean, std: ((unit - mean) / std - mean) / std,
    ),
    _cause(
        "mean_std_reversed",
        "Your pipeline has mean and std in the opposite order of channels.",
        "Reverse input.mean {mean} and input.std {std} in the spec if the network was trained that "
        "way; else reverse them in your pipeline.",
        lambda unit, mean, std: (unit - mean[::-1]) / std[::-1],
    ),
    _cause(
        "standardised_per_image",
        "Your pipeline normalises each image by its own mean and std; the spec says mean {mean} "
        "and std {std} for all.",
        _NO_FIELD,
        lambda unit, mean, std: _per_image(unit, None),
    ),
    _cause(
        "standardised_per_channel",
        "Your pipeline normalises each channel of each image by its own mean and std; the spec "
        "says mean {mean} and std {std} for all.",
        _NO_FIELD,
        lambda unit, mean, std: _per_image(unit, (1, 2)),
    ),
    _cause(
        "stretched_per_image",
        "Your pipeline scales each image from its own lowest and highest value to 0 to 1, and "
        "feeds that.",
        _NO_FIELD,
        lambda unit, mean, std: _stretched(unit),
    ),
    Cause(
        "padded_after_normalising",
        "Your pipeline pads with zeros after it normalised, which is the mean's grey level; the "
        "spec says padding with intensity {pad_value} before.",
        "Pad before mean and std in your pipeline, or set input.pad_value to the mean in the spec, "
        "where the mean is the same for all channels.",
        _pad_after,
    ),
)
