"""The images of a dossier, chosen once, and the digests that name them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mahtrt.benchmarks.bench import images_of
from mahtrt.benchmarks.options import BenchOptions
from mahtrt.bundle.bundle import Bundle
from mahtrt.data.overlap import image_digests
from mahtrt.data.sample import Dataset
from mahtrt.data.subset import spread_out
from mahtrt.errors import DataError
from mahtrt.names import bytes_of_name
from mahtrt.progress import StageProgress, silent


@dataclass(frozen=True, slots=True, eq=False)
class ImageSet:
    """The images that everything in a dossier is measured on.

    Attributes:
        digests: SHA-256 (hex) of the decoded pixels of each image of each case, in order.
        notes: What a reader has to know of the images, one sentence each.
    """

    dataset: Dataset
    digests: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """One digest of all: over the name of each case and the digests of its images."""
        whole = hashlib.sha256()
        for name, digests in zip(self.dataset.names, self.digests, strict=True):
            whole.update(bytes_of_name(name) + b"\0" + "\0".join(digests).encode() + b"\n")
        return whole.hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """What a protocol says of the images."""
        names: Sequence[str] = self.dataset.names
        return {
            "source": self.dataset.source,
            "images": len(self.dataset),
            "sha256": self.sha256,
            "cases": [
                {"name": name, "sha256": list(digests)}
                for name, digests in zip(names, self.digests, strict=True)
            ],
        }


def open_image_set(
    bundle: Bundle, options: BenchOptions, progress: StageProgress = silent
) -> ImageSet:
    """Open the images of a bench, and take their digests.

    Raises:
        DataError: No images are given, and the bundle has no golden images; or there are none.
        ImageError: An image cannot be read.
    """
    notes: list[str] = []
    opened = images_of(bundle, options, notes)
    if options.images < 1 or len(opened) < 1:
        raise DataError("--data", got="no image", expected="at least one")
    chosen = spread_out(opened, options.images)
    digests = image_digests(chosen, progress=lambda done, of: progress("hashing images", done, of))
    return ImageSet(chosen, digests, tuple(notes))


def on_images(options: BenchOptions, images: ImageSet) -> BenchOptions:
    """A bench on exactly these images."""
    return replace(options, data=images.dataset, images=len(images.dataset))
