"""How far outputs of every kind lie from the reference's: one number per case and target.

A *target* is a landmark, a channel of a map, a label, or a landmark's visibility. Its distance is

- of a landmark: the displacement in network pixels (:func:`.displacement.compare_points`);
- of a channel of a map: the mean absolute difference (:func:`.maps.difference`);
- of a label: the absolute difference of its logit;
- of visibility: the absolute difference of the probability.

The sensitivity, the choice of methods and the planner's guesses rest on these; verdicts do not
(:mod:`.limits`). Where targets of several units have to make one number, a distance counts as many
pixels as are as far within the usual limits (:data:`PX_OF`). Pure numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mahtrt.measure.displacement import compare_points
from mahtrt.measure.judged import OutputSet, judged_outputs
from mahtrt.measure.logits import label_names
from mahtrt.measure.maps import span_of
from mahtrt.spec import ModelSpec, OutputSpec

Unit = Literal["px", "map", "logit", "visibility"]

# Pixels that a distance of 1 counts for, beside targets of other units: 0.25 px are as far as 0.01
# of a map (the usual limits), as 0.25 of a logit and as 0.05 of a probability.
PX_OF: Mapping[Unit, float] = {"px": 1.0, "map": 25.0, "logit": 1.0, "visibility": 5.0}
_WORDS: Mapping[Unit, str] = {
    "px": "px",
    "map": "of the map",
    "logit": "of a logit",
    "visibility": "of visibility",
}

Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Target:
    """What a distance is of."""

    name: str
    unit: Unit = "px"


def other_targets(spec: ModelSpec, outputs: OutputSet) -> tuple[Target, ...]:
    """The targets beside landmarks, in the order of the judged outputs.

    Args:
        outputs: Every judged output, for their numbers of channels and labels.
    """
    return tuple(
        target
        for output in judged_outputs(spec)
        for target in _targets(output, outputs[output.name].shape[1], spec)
    )


def _targets(output: OutputSpec, count: int, spec: ModelSpec) -> list[Target]:
    if output.kind == "map":
        numbered = [f"{output.name} {i}" for i in range(count)]
        return [Target(name, "map") for name in (numbered if count > 1 else [output.name])]
    if output.kind == "logits":
        return [Target(name, "logit") for name in label_names(output.labels, count)]
    return [Target(f"{name} visible", "visibility") for name in spec.landmarks]


def other_distances(
    candidate: OutputSet, reference: OutputSet, spec: ModelSpec
) -> NDArray[np.float64]:
    """Distances of the targets beside landmarks, and their shifts.

    Args:
        candidate, reference: Every judged output of the same N cases.

    Returns:
        (N, T, 2): the distance, and the mean difference with its sign; both infinite where a value
        is not finite. (0, 0, 2) of a network without such outputs.
    """
    found = [
        _compare(candidate[o.name], reference[o.name], o.kind == "map")
        for o in judged_outputs(spec)
    ]
    return np.concatenate(found, axis=1) if found else np.zeros((0, 0, 2))


def _compare(candidate: Floats, reference: Floats, is_map: bool) -> NDArray[np.float64]:
    """(N, T, 2) of one output."""
    ours, theirs = np.asarray(candidate, np.float64), np.asarray(reference, np.float64)
    finite = np.isfinite(ours) & np.isfinite(theirs)
    apart = np.where(finite, ours, 0.0) - np.where(finite, theirs, 0.0)
    if is_map:
        spans = np.array([span_of(each) for each in theirs])
        apart = apart / spans[:, None, None, None]
        broken = np.asarray(~finite.all(axis=(2, 3)))
        pair = np.abs(apart).mean(axis=(2, 3)), apart.mean(axis=(2, 3))
    else:
        broken = ~finite
        pair = np.abs(apart), apart
    return np.where(broken[..., None], np.inf, np.stack(pair, axis=-1))


def mean_distance(
    points_px: tuple[Floats, Floats], others: tuple[OutputSet, OutputSet], spec: ModelSpec
) -> float:
    """One number for how far a network's outputs are from the reference's.

    Args:
        points_px: (N, K, 2) landmarks of the candidate and of the reference, in network pixels.
        others: Their judged outputs.

    Returns:
        The mean over cases and targets, in the unit of the targets where they have one, else in
        pixels; infinite where a value is not finite.
    """
    moved = compare_points(*points_px)  # (N, K)
    targets = other_targets(spec, others[1])
    apart = other_distances(*others, spec)[..., 0].reshape(len(moved), len(targets))  # (N, T)
    units: list[Unit] = ["px"] * moved.shape[1]
    units += [target.unit for target in targets]
    return float(common(np.concatenate([moved, apart], axis=1), units).mean())


def common(distances: Floats, units: Sequence[Unit]) -> NDArray[np.float64]:
    """Distances (…, T) in one unit: their own where all have the same, else pixels."""
    values = np.asarray(distances, np.float64)
    if len(set(units)) <= 1:
        return values
    return np.asarray(values * np.array([PX_OF[unit] for unit in units]), np.float64)


def unit_in_words(units: Sequence[Unit]) -> str:
    """The unit of :func:`common`, as it stands behind a number."""
    kinds = set(units) or {"px"}
    return _WORDS[next(iter(kinds))] if len(kinds) == 1 else "px or as far"
