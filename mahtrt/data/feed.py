"""Feeds: what a network is fed with, its prepared images by the names of its inputs.

A *case* is the images that a network takes together: one for most networks, a pair for one that
compares two visits. Callers give a case as an image, as a tuple in the order of the spec's inputs,
or as a mapping by input name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.preprocess import Placement, preprocess
from mahtrt.data.preprocess_version import PREPROCESS_VERSION
from mahtrt.errors import InputError
from mahtrt.spec import ModelSpec

Image = NDArray[Any]
Case = Image | tuple[Image, ...] | Mapping[str, Image]
# Input name to (C, H, W) of one case, or (B, C, H, W) of several; float32.
Feed = Mapping[str, NDArray[np.float32]]


def images_of_case(case: Case, spec: ModelSpec, subject: str = "case") -> tuple[Image, ...]:
    """The images of a case in the order of the spec's inputs.

    Raises:
        InputError: Another number of images than the network takes, or a name that is missing or
            of no input.
    """
    names = [each.name for each in spec.inputs]
    expected = f"{len(names)} image(s): {', '.join(names)}"
    if isinstance(case, Mapping):
        if set(case) != set(names):
            got = f"images for {', '.join(map(str, case)) or 'no input'}"
            raise InputError(subject, got=got, expected=expected)
        return tuple(case[name] for name in names)
    images = tuple(case) if isinstance(case, tuple) else (case,)
    if len(images) != len(names):
        raise InputError(subject, got=f"{len(images)} image(s)", expected=expected)
    return images


def prepare(
    images: Sequence[Image], spec: ModelSpec, version: int = PREPROCESS_VERSION
) -> tuple[Feed, Placement]:
    """The feed of one case, and where its first image lies on the first input.

    Args:
        version: The definition of preprocessing to follow.

    Raises:
        ImageError: An image cannot be used.
        InputError: Another number of images than the network takes.
    """
    images = images_of_case(tuple(images), spec)
    pairs = [
        preprocess(image, each, version) for image, each in zip(images, spec.inputs, strict=True)
    ]
    tensors = zip(spec.inputs, pairs, strict=True)
    return {each.name: tensor for each, (tensor, _) in tensors}, pairs[0][1]


def stack(feeds: Sequence[Feed]) -> dict[str, NDArray[np.float32]]:
    """Feeds of single cases as one of a batch."""
    return {name: np.stack([feed[name] for feed in feeds]) for name in feeds[0]}


def batches(feeds: Sequence[Feed], batch: int) -> Iterator[tuple[Feed, int]]:
    """Feeds of single cases as batches, with how many cases of each are real.

    The last batch is filled up with its own cases.
    """
    for start in range(0, len(feeds), batch):
        group = feeds[start : start + batch]
        yield stack([group[i % len(group)] for i in range(batch)]), len(group)


def empty_feed(spec: ModelSpec, batch: int) -> dict[str, NDArray[np.float32]]:
    """Zeros of the shapes that the network takes."""
    return {
        each.name: np.zeros((batch, each.channels, *each.size), np.float32) for each in spec.inputs
    }
