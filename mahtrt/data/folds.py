"""Cross-validation: which cases of a data set judge in a fold, and which train."""

from __future__ import annotations

from dataclasses import dataclass

from mahtrt.data.sample import Dataset
from mahtrt.data.subset import Subset
from mahtrt.digest import sha256_of_bytes
from mahtrt.errors import DataError, UsageError
from mahtrt.names import bytes_of_name


@dataclass(frozen=True, slots=True)
class Fold:
    """One of the equal parts that a data set is split into.

    Cases are put in the order of the SHA-256 of their names and dealt out in turn: the same names
    are always split alike, in whatever order a folder lists them.

    Attributes:
        folds: Number of parts.
        number: Which part judges, from 1; the others train.
    """

    folds: int
    number: int

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise UsageError("--folds", got=str(self.folds), expected="at least 2")
        if not 1 <= self.number <= self.folds:
            raise UsageError("--fold", got=str(self.number), expected=f"1 to {self.folds}")

    def judging(self, dataset: Dataset) -> Subset:
        """The cases of this fold.

        Raises:
            DataError: There are fewer cases than folds.
        """
        return Subset(dataset, self._part(dataset, True))

    def training(self, dataset: Dataset) -> Subset:
        """The cases of all other folds; raises as :meth:`judging`."""
        return Subset(dataset, self._part(dataset, False))

    def _part(self, dataset: Dataset, judging: bool) -> list[int]:
        names = list(dataset.names)
        if len(names) < self.folds:
            raise DataError(
                dataset.source, got=f"{len(names)} case(s)", expected=f"{self.folds}, one per fold"
            )
        order = sorted(range(len(names)), key=lambda i: sha256_of_bytes(bytes_of_name(names[i])))
        return sorted(
            index
            for place, index in enumerate(order)
            if (place % self.folds == self.number - 1) == judging
        )
