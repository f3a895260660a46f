"""Parts of a data set, and its images as network tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.facts import facts_of
from mahtrt.data.feed import Feed, images_of_case
from mahtrt.data.preprocess import fit_image, tensor_from_fitted
from mahtrt.data.preprocess_version import PREPROCESS_VERSION
from mahtrt.data.sample import Dataset, Sample
from mahtrt.errors import DataError
from mahtrt.names import bytes_of_name
from mahtrt.spec import ModelSpec

KEPT_MIB = 512  # some 2,000 gray images of 512x512


class Subset:
    """Some samples of a data set, in the order of ``indices``.

    Attributes:
        skipped: What the whole data set left out because it cannot be read.
        notes: What the user should know of what the whole data set's source holds.
        facts: What decoding its images has told so far.
    """

    def __init__(self, dataset: Dataset, indices: Sequence[int]) -> None:
        self._dataset, self._indices = dataset, tuple(indices)
        self.source = dataset.source
        self.skipped: tuple[str, ...] = getattr(dataset, "skipped", ())
        self.notes: tuple[str, ...] = getattr(dataset, "notes", ())
        self.facts = facts_of(dataset)
        names = dataset.names
        self.names = tuple(names[index] for index in self._indices)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Sample:
        return self._dataset[self._indices[index]]

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


class Unannotated:
    """A data set without its annotations: stand-in images for a network of other outputs.

    Args:
        dataset: Cases of one image.
        images: Images of a case. Each takes those of its successors as further images.
    """

    def __init__(self, dataset: Dataset, images: int = 1) -> None:
        self._dataset, self.source, self.names = dataset, dataset.source, tuple(dataset.names)
        self._images = images

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Sample:
        sample, count = self._dataset[index], len(self)
        others = (self._dataset[(index + step) % count].image for step in range(1, self._images))
        return Sample(sample.name, sample.image, None, sample.spacing_mm, tuple(others))

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


class NetworkTensors:
    """The cases of a data set as feeds of (C, H, W) float32, prepared as a session prepares them.

    The first time through, images are decoded in order, and the digest of the set is taken on the
    way. What they are at the network's size is kept, in integers, as far as it fits in memory, so
    that nothing is decoded again.

    Args:
        kept_mib: How much to keep; images beyond are decoded anew each time.
        version: The definition of preprocessing to follow.
    """

    def __init__(
        self,
        dataset: Dataset,
        spec: ModelSpec,
        *,
        kept_mib: int = KEPT_MIB,
        version: int = PREPROCESS_VERSION,
    ) -> None:
        self._dataset, self._spec, self._room = dataset, spec, kept_mib * 2**20
        self._version = version
        self._kept: dict[int, tuple[NDArray[np.generic], ...]] = {}
        self._digest, self._seen = hashlib.sha256(), 0
        self.source = dataset.source
        self.skipped: tuple[str, ...] = getattr(dataset, "skipped", ())

    def __len__(self) -> int:
        return len(self._dataset)

    def __iter__(self) -> Iterator[Feed]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Feed:
        if not 0 <= index < len(self):
            raise IndexError(index)
        for earlier in range(self._seen, index):
            self._prepare(earlier)
        fitted = self._kept[index] if index in self._kept else self._prepare(index)
        pairs = zip(self._spec.inputs, fitted, strict=True)
        return {each.name: tensor_from_fitted(image, each) for each, image in pairs}

    @property
    def images_digest(self) -> str:
        """SHA-256 (hex) over the names, shapes, dtypes and pixels of the images."""
        for index in range(self._seen, len(self)):
            self._prepare(index)
        return self._digest.hexdigest()

    def spread_out(self, count: int) -> Few:
        """At most ``count`` of them, evenly spread."""
        return Few(self, _evenly(len(self), count))

    def _prepare(self, index: int) -> tuple[NDArray[np.generic], ...]:
        sample = self._dataset[index]
        images = images_of_case(sample.images, self._spec, f"{self.source}: {sample.name}")
        if index == self._seen:
            for image in images:
                facts = f"{sample.name}\0{image.shape}\0{image.dtype.name}\0"
                self._digest.update(bytes_of_name(facts))
                self._digest.update(image.tobytes())
            self._seen += 1
        pairs = zip(images, self._spec.inputs, strict=True)
        fitted = tuple(_own(fit_image(image, each, self._version)[0]) for image, each in pairs)
        size = sum(image.nbytes for image in fitted)
        if size <= self._room and index not in self._kept:
            self._kept[index] = fitted
            self._room -= size
        return fitted


def _own(image: NDArray[np.generic]) -> NDArray[np.generic]:
    """The image alone: a view keeps all of what it is a part of."""
    return image if image.base is None else image.copy()


class Few:
    """Some of the cases of a data set, as feeds of (C, H, W) float32."""

    def __init__(self, tensors: NetworkTensors, indices: Sequence[int]) -> None:
        self._tensors, self._indices = tensors, tuple(indices)

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator[Feed]:
        return (self._tensors[index] for index in self._indices)


def spread_out(dataset: Dataset, count: int) -> Subset:
    """At most ``count`` images, evenly spread over a data set."""
    return Subset(dataset, _evenly(len(dataset), count))


def left_over(dataset: Dataset, count: int) -> Subset:
    """The images that :func:`spread_out` leaves, in order."""
    taken = set(_evenly(len(dataset), count))
    return Subset(dataset, [place for place in range(len(dataset)) if place not in taken])


def hold_back(dataset: Dataset, count: int) -> tuple[Subset, Subset]:
    """Split a data set: evenly spread images are held back, the rest comes first.

    Args:
        dataset: A data set of at least two images.
        count: How many to hold back; never more than half.

    Returns:
        (the rest, the images held back).

    Raises:
        DataError: Fewer than two images.
    """
    total = len(dataset)
    if total < 2:
        raise DataError(
            dataset.source,
            got=f"{total} image(s)",
            expected="at least 2",
            fix="One part calibrates, the other checks; or give --eval.",
        )
    held = _evenly(total, min(count, total // 2))
    rest = sorted(set(range(total)) - set(held))
    return Subset(dataset, rest), Subset(dataset, held)


def _evenly(total: int, count: int) -> list[int]:
    """At most ``count`` different places out of ``total``, evenly spread, in order."""
    places = np.linspace(0, total - 1, min(count, total)).round().astype(int)
    return [int(place) for place in np.unique(places)]
