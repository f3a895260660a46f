"""From the tensors of a request to the images of its cases, and from landmarks to an answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.images import ReadImage, image_from_bytes
from mahtrt.data.limits import MOST_IMAGE_BYTES
from mahtrt.data.preprocess import check_image
from mahtrt.data.spacing import Spacing, spacing_pair
from mahtrt.errors import ImageError, InputError
from mahtrt.runtime.landmarks import Landmarks
from mahtrt.spec import ModelSpec
from mahtrt.triton.tensors import (
    CONFIDENCE,
    DOCUMENT,
    LANDMARKS,
    SPACING,
    SPREAD,
    TWO_PEAKS,
    image_tensor_names,
)

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class GivenCase:
    """The images of one case, in the order of the network's inputs.

    Attributes:
        spacing_mm: (row, column) mm per pixel of the first image: as the request says, else as its
            file does; None where neither does.
    """

    images: tuple[NDArray[Any], ...]
    spacing_mm: Spacing | None


def cases_of_request(arrays: Arrays, spec: ModelSpec) -> list[GivenCase]:
    """The cases of a request.

    Args:
        arrays: What the request holds, by :mod:`mahtrt.triton.tensors`' names: bytes of files
            (N, 1), or pixels (N, H, W, C) with C 1 or 3; and spacings (N, 2).

    Raises:
        InputError: No image or several for an input, other numbers of them, or a spacing that is
            not two lengths above 0.
        ImageError: An image cannot be used.
        MissingComponentError: A DICOM file whose decoder is not installed.
    """
    read = [_read_input(arrays, spec, index) for index in range(len(spec.inputs))]
    count = len(read[0])
    if any(len(images) != count for images in read) or count < 1:
        got = f"{', '.join(str(len(images)) for images in read)} images for the inputs"
        raise InputError("request", got=got, expected="as many for each, and at least one")
    spacings = _spacings(arrays.get(SPACING), count)
    return [
        GivenCase(
            tuple(images[i].pixels for images in read),
            spacings[i] if spacings[i] is not None else read[0][i].spacing_mm,
        )
        for i in range(count)
    ]


def _read_input(arrays: Arrays, spec: ModelSpec, index: int) -> list[ReadImage]:
    """The images of one input of the network."""
    names = image_tensor_names(spec, index)
    there = [name for name in names if name in arrays]
    if len(there) != 1:
        got = f"the inputs {', '.join(there)}" if there else "no image"
        raise InputError("request", got=got, expected=f"exactly one of {', '.join(names)}")
    (name,) = there
    array = arrays[name]
    if name == names[0]:
        return [_read_file(content, name) for content in array.reshape(-1)]
    if array.ndim != 4:
        raise ImageError(name, got=f"shape {array.shape}", expected="(N, H, W, C) with C 1 or 3")
    images = [np.ascontiguousarray(image) for image in array]
    for image in images:
        check_image(image, name)
    return [ReadImage(image) for image in images]


def _read_file(content: Any, name: str) -> ReadImage:
    if not isinstance(content, bytes):
        raise ImageError(name, got=f"a {type(content).__name__}", expected="the bytes of a file")
    if len(content) > MOST_IMAGE_BYTES:
        expected = f"at most {MOST_IMAGE_BYTES}"
        raise ImageError(name, got=f"{len(content)} bytes", expected=expected, reason="too-large")
    return image_from_bytes(content, name)


def _spacings(array: NDArray[Any] | None, count: int) -> list[Spacing | None]:
    if array is None:
        return [None] * count
    if array.shape != (count, 2):
        raise InputError(SPACING, got=f"shape {array.shape}", expected=f"({count}, 2), mm")
    return [spacing_pair((float(row), float(column)), SPACING) for row, column in array]


def answer_arrays(
    found: Sequence[Landmarks], spec: ModelSpec, names: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """The tensors of an answer, the number of cases first.

    Args:
        found: What was found in each case.
        names: The tensors wanted, of those of :func:`mahtrt.triton.tensors.answer_tensors`.
    """
    from mahtrt.runtime.landmarks import output_set

    others = [name for name in names if any(name == output.name for output in spec.outputs)]
    own = (LANDMARKS, CONFIDENCE, SPREAD, TWO_PEAKS, DOCUMENT)
    found_others = output_set(found, spec, [name for name in others if name not in own])
    made: dict[str, Any] = {
        LANDMARKS: lambda each: each.points,
        CONFIDENCE: lambda each: each.confidence,
        SPREAD: lambda each: each.spread,
        TWO_PEAKS: lambda each: each.two_peaks,
        DOCUMENT: lambda each: np.array([json.dumps(each.to_dict()).encode()], np.object_),
    }
    arrays = {name: np.stack([make(each) for each in found])
              for name, make in made.items() if name in names}  # fmt: skip
    return {**arrays, **{name: np.asarray(array) for name, array in found_others.items()}}
