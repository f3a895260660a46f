"""How far logits lie from others, whether they name the same labels, and how well they rank."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.bundle.output_records import LabelRecord, LogitsRecord
from mahtrt.measure.decisions import Differences, auroc, compare_decisions

Floats = NDArray[np.floating]


def sigmoid(logits: Floats) -> NDArray[np.float64]:
    """Probabilities, of whatever shape; NaN stays NaN."""
    clipped = np.clip(np.asarray(logits, np.float64), -700, 700)  # exp of more overflows
    probabilities: NDArray[np.float64] = 1 / (1 + np.exp(-clipped))
    return probabilities


def logit(probability: float) -> float:
    """The logit whose sigmoid is a probability; infinite for 0 and 1."""
    if probability <= 0 or probability >= 1:
        return -math.inf if probability <= 0 else math.inf
    return math.log(probability / (1 - probability))


def label_names(labels: Sequence[str], count: int) -> tuple[str, ...]:
    """Names of so many labels: numbers from 0 where there are no names."""
    return tuple(labels) if labels else tuple(str(i) for i in range(count))


def measure_logits(
    name: str,
    labels: Sequence[str],
    threshold: float,
    candidate: Floats,
    reference: Floats,
    truth: Floats | None = None,
) -> LogitsRecord:
    """Compare the logits of N images.

    Args:
        name: Name of the output.
        labels: Names of the L labels, or none.
        threshold: Probability from which a label counts as present.
        candidate, reference: (N, L).
        truth: (N, L) 1 where a label applies, 0 where not, NaN where it is not known.

    Raises:
        ValueError: Shapes do not fit each other.
    """
    # A threshold on the sigmoid is one on the logit, which nothing rounds to 0 or 1.
    found = compare_decisions(candidate, reference, logit(threshold))
    known = np.full(found.apart.shape, np.nan) if truth is None else np.asarray(truth, np.float64)
    if known.shape != found.apart.shape:
        raise ValueError(f"labels: got {known.shape}; expected {found.apart.shape}")
    rows = tuple(
        _label(each, found, i, candidate[:, i], reference[:, i], known[:, i])
        for i, each in enumerate(label_names(labels, found.apart.shape[1]))
    )
    counts: dict[str, Any] = found.counts
    return LogitsRecord(name=name, per_label=rows, **counts, **_mean_auroc(rows))


def _label(
    name: str, found: Differences, i: int, ours: Floats, theirs: Floats, truth: Floats
) -> LabelRecord:
    return LabelRecord(
        name=name,
        max=float(found.apart[:, i].max()),
        agreement=float(found.same[:, i].mean()),
        positives=int((truth > 0.5).sum()),
        negatives=int((truth <= 0.5).sum()),
        auroc=auroc(ours, truth),
        reference_auroc=auroc(theirs, truth),
    )


def _mean_auroc(rows: Sequence[LabelRecord]) -> dict[str, Any]:
    """Means over the labels that have an AUROC."""
    known = [(r.auroc, r.reference_auroc) for r in rows if r.auroc is not None]
    if not known:
        return {}
    ours, theirs = (float(np.mean(column)) for column in zip(*known, strict=True))
    return {"auroc": ours, "reference_auroc": theirs, "delta_auroc": ours - theirs}
