"""A sparse matrix along one axis as a batch of small dense ones.

Each output of an interpolation reads a few neighbours, so that its matrix has a band of numbers and
zeros elsewhere. Cut into blocks of rows, each block reads one short window of the input: a gather
of overlapping windows and a batch of small products give what one product with the whole matrix
gives, for a share of its arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Rows of the input that a block is made for. Measured on a CPU: with fewer, the products get too
# small for its kernels, and the overlap of the windows is copied too often.
ROWS_PER_BLOCK = 8


@dataclass(frozen=True, slots=True)
class Windows:
    """A matrix (out, low, taps) along one axis, cut into blocks.

    Attributes:
        indices: (blocks * window,), what the windows hold of the input's (low,) rows of taps.
        matrices: (blocks, out / blocks, window * taps).
    """

    indices: NDArray[np.int64]
    matrices: NDArray[np.float32]

    @property
    def blocks(self) -> int:
        return len(self.matrices)

    @property
    def depth(self) -> int:
        """How much of the input each output is a product of."""
        return int(self.matrices.shape[2])


def cut(matrix: NDArray[np.float64]) -> Windows:
    """Cut a matrix (out, low, taps) into the blocks that suit its size.

    Of one block the window is the whole input, even where the matrix does not read all of it.
    """
    out, low, taps = matrix.shape
    blocks = _block_count(out, low)
    parts = matrix.reshape(blocks, out // blocks, low, taps)
    read = [_span(part) for part in parts] if blocks > 1 else [(0, low)]
    width = max(end - begin for begin, end in read)
    begins = [min(begin, low - width) for begin, _ in read]
    windows = [
        part[:, begin : begin + width].reshape(out // blocks, width * taps)
        for part, begin in zip(parts, begins, strict=True)
    ]
    indices = [np.arange(begin, begin + width) for begin in begins]
    return Windows(np.concatenate(indices), np.stack(windows).astype(np.float32))


def _block_count(out: int, low: int) -> int:
    """The largest divisor of ``out`` that leaves each block its rows of the input."""
    most = max(1, low // ROWS_PER_BLOCK)
    return max(count for count in range(1, most + 1) if out % count == 0)


def _span(part: NDArray[np.float64]) -> tuple[int, int]:
    """The columns (begin, end) of a block (rows, low, taps) that are not all zero."""
    columns = np.flatnonzero(part.any(axis=(0, 2)))
    return (int(columns[0]), int(columns[-1]) + 1) if columns.size else (0, 1)
