"""Whether two data sets share an image: what calibrates or trains must not judge.

Images are compared by their decoded pixels, so neither another name nor another lossless format nor
more bits of the same picture hide one; a copy that was resized or compressed again is not found.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from mahtrt.data.facts import case_digest, facts_of
from mahtrt.data.sample import Dataset
from mahtrt.errors import DataError, some_of

JUDGE_ON_OTHERS = "Judge on other images: a result looks better on those that it was made with."
_THREADS = 4


def image_digests(
    dataset: Dataset,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[str, ...]:
    """SHA-256 (hex) of each image's pixels, whatever its name; a few images in memory at a time.

    Raises:
        ImageError: An image cannot be read.
    """
    known, names = facts_of(dataset).digests, list(dataset.names)

    def digest_of(index: int) -> str:
        name = names[index]
        if name not in known:
            known[name] = case_digest(dataset[index].images)
        return known[name]

    found: list[str] = []
    with ThreadPoolExecutor(_THREADS) as pool:  # decoding and hashing release the GIL
        for digest in pool.map(digest_of, range(len(dataset))):
            found.append(digest)
            if progress:
                progress(len(found), len(dataset))
    return tuple(found)


def refuse_overlap(
    used: Dataset,
    evaluation: Dataset,
    *,
    used_for: str = "calibration",
    fix: str = JUDGE_ON_OTHERS,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Refuse to judge on images that a result was made with: it would look better than it is.

    The two parts of one data set are compared like any others: a data set may hold an image twice.

    Args:
        used_for: What the first images are for, in the message.
        fix: What the user can do, for the message.

    Raises:
        DataError: An image is in both; names the images.
        ImageError: An image cannot be read.
    """
    total = len(used) + len(evaluation)

    def digests(dataset: Dataset, before: int) -> tuple[str, ...]:
        def tell(done: int, _: int) -> None:
            if progress:
                progress(before + done, total)

        return image_digests(dataset, progress=tell)

    judging = dict(zip(digests(evaluation, 0), evaluation.names, strict=True))
    both = [
        f"{name} is {judging[digest]}" if name != judging[digest] else name
        for name, digest in zip(used.names, digests(used, len(evaluation)), strict=True)
        if digest in judging
    ]
    if both:
        raise DataError(
            f"{used_for} and evaluation images",
            got=f"{len(both)} in both ({some_of(both)})",
            expected="none in common",
            fix=fix,
        )
