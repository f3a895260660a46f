"""Whether two data sets share an image: what calibrates or trains must not judge.

Images are compared by their decoded pixels, so neither another name nor another lossless format nor
more bits of the same picture hide one; a copy that was resized or compressed again is not found.
Of cases of several images, one image in common is enough, whatever its place in the case.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from mahtrt.data.facts import case_digests, facts_of
from mahtrt.data.sample import Dataset
from mahtrt.errors import DataError, some_of

JUDGE_ON_OTHERS = "Judge on other images: a result looks better on those that it was made with."
_THREADS = 4


def image_digests(
    dataset: Dataset,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[tuple[str, ...], ...]:
    """SHA-256 (hex) of the pixels of each image of each case; a few cases in memory at a time.

    Raises:
        ImageError: An image cannot be read.
    """
    known, names = facts_of(dataset).digests, list(dataset.names)

    def digests_of(index: int) -> tuple[str, ...]:
        name = names[index]
        if name not in known:
            known[name] = case_digests(dataset[index].images)
        return known[name]

    found: list[tuple[str, ...]] = []
    with ThreadPoolExecutor(_THREADS) as pool:  # decoding and hashing release the GIL
        for digests in pool.map(digests_of, range(len(dataset))):
            found.append(digests)
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
        DataError: An image is in both; names the cases that hold it.
        ImageError: An image cannot be read.
    """
    total = len(used) + len(evaluation)

    def digests(dataset: Dataset, before: int) -> tuple[tuple[str, ...], ...]:
        def tell(done: int, _: int) -> None:
            if progress:
                progress(before + done, total)

        return image_digests(dataset, progress=tell)

    judging = {
        digest: (name, case)
        for name, case in zip(evaluation.names, digests(evaluation, 0), strict=True)
        for digest in case
    }
    both = [
        _in_words(name, case, *judging[shared])
        for name, case in zip(used.names, digests(used, len(evaluation)), strict=True)
        if (shared := next((digest for digest in case if digest in judging), None))
    ]
    if both:
        raise DataError(
            f"{used_for} and evaluation images",
            got=f"{len(both)} in both ({some_of(both)})",
            expected="none in common",
            fix=fix,
        )


def _in_words(name: str, case: tuple[str, ...], other: str, other_case: tuple[str, ...]) -> str:
    """How a case overlaps with another: it is the same one, or has an image of it."""
    if case != other_case:
        return f"{name} has an image of {other}"
    return name if name == other else f"{name} is {other}"
