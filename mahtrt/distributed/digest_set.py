"""A set of texts of which only digests are kept: ten million of them take 160 MB.

A Python set of the same texts would take ten times as much, in the driver and in every worker.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

_BYTES = 16  # two of ten million names have the same digest once in 10**24 archives
_NEW = 4096  # kept in a Python set until they are sorted into an array


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_BYTES).digest()


class DigestSet:
    """Texts that were added, as sorted arrays of digests, each twice as long as the next."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._arrays: list[NDArray[np.void]] = []
        self._new: set[bytes] = set()
        for text in texts:
            self.add(text)

    def __len__(self) -> int:
        return sum(map(len, self._arrays)) + len(self._new)

    def __contains__(self, text: str) -> bool:
        digest = _digest(text)
        return digest in self._new or any(_holds(array, digest) for array in self._arrays)

    def add(self, text: str) -> bool:
        """Add a text.

        Returns:
            Whether it is new.
        """
        if text in self:
            return False
        self._new.add(_digest(text))
        if len(self._new) >= _NEW:
            self._sort_in()
        return True

    def array(self) -> NDArray[np.void]:
        """All digests as one sorted array, which processes of a machine can share."""
        self._sort_in()
        while len(self._arrays) > 1:
            self._merge_last()
        return self._arrays[0] if self._arrays else _sorted([])

    @classmethod
    def of_array(cls, digests: NDArray[np.void]) -> DigestSet:
        """The set that :meth:`array` gave."""
        made = cls()
        made._arrays = [digests] if len(digests) else []
        return made

    def _sort_in(self) -> None:
        if not self._new:
            return
        self._arrays.append(_sorted(list(self._new)))
        self._new.clear()
        while len(self._arrays) > 1 and len(self._arrays[-2]) < 2 * len(self._arrays[-1]):
            self._merge_last()

    def _merge_last(self) -> None:
        *rest, first, second = self._arrays
        joined = np.concatenate([first, second])
        joined.sort(kind="stable")  # which merges parts that are sorted already
        self._arrays = [*rest, joined]


def _sorted(digests: Sequence[bytes]) -> NDArray[np.void]:
    # A padded text compares as its bytes do: all are of one length.
    array = np.array(digests, f"S{_BYTES}")
    array.sort()
    return array


def _holds(array: NDArray[np.void], digest: bytes) -> bool:
    wanted = np.array(digest, f"S{_BYTES}")
    place = int(np.searchsorted(array, wanted))
    return place < len(array) and bool(array[place] == wanted)
