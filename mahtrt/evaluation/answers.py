"""A network's answers to the cases of a data set, beside what the data set knows of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mahtrt.data.map_frames import network_map_from_image
from mahtrt.data.preprocess import fit_of
from mahtrt.data.sample import Dataset, Sample
from mahtrt.errors import DataError
from mahtrt.measure.displacement import radial_error
from mahtrt.measure.logits import label_names, sigmoid
from mahtrt.measure.maps import ssim
from mahtrt.runtime.session import Session
from mahtrt.spec import ModelSpec

Floats = NDArray[np.float64]
_NOTHING = np.empty(0, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What one network says of N cases; every array is NaN where nothing is annotated.

    Where the network says something that is not finite, errors are infinite and similarities -1.

    Attributes:
        names: Names of the cases.
        errors_px: (N, K) radial errors in each image's pixels.
        errors_mm: (N, K) likewise in mm; NaN where the spacing is not known.
        visibility: (N, K) probabilities that a landmark can be seen, as the network gave them;
            (N, 0) without the output.
        visible: (N, K) 1 or 0, as annotated.
        map_errors: (N,) mean absolute difference of the map and the annotated one.
        map_ssims: (N,) structural similarity of the two; what is beside the image counts as equal.
        probabilities: (N, L) of the labels, likewise; (N, 0) without logits.
        labels: (N, L) 1 or 0, as annotated.
        landmarks, label_names: K and L names.
        visibility_from, label_from: Probabilities from which a landmark counts as visible and a
            label as present.
    """

    names: tuple[str, ...]
    errors_px: Floats
    errors_mm: Floats
    visibility: Floats
    visible: Floats
    map_errors: Floats
    map_ssims: Floats
    probabilities: Floats
    labels: Floats
    landmarks: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    visibility_from: float = 0.5
    label_from: float = 0.5


def ask(
    session: Session, dataset: Dataset, progress: Callable[[int, int], None] | None = None
) -> Answers:
    """Run every case of a data set, one after the other.

    Args:
        session: A bundle's engine, or PyTorch.
        dataset: Annotated; its first images give the frame of points and maps.
        progress: Called with (cases done, cases in all).

    Raises:
        ImageError: An image cannot be used.
        DataError: Annotations of another number of channels, labels or landmarks than its own.
    """
    rows = []
    for index in range(len(dataset)):
        rows.append(_row(session, dataset[index]))
        if progress:
            progress(index + 1, len(dataset))
    columns = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    spec = session.spec
    visibility, logits = spec.output("visibility"), spec.output("logits")
    return Answers(
        names=tuple(dataset.names),
        **columns,
        landmarks=spec.landmarks,
        label_names=label_names(_label_names(spec), columns["labels"].shape[1]),
        visibility_from=visibility.threshold if visibility else 0.5,
        label_from=logits.threshold if logits else 0.5,
    )


def _label_names(spec: ModelSpec) -> tuple[str, ...]:
    """Names of the network's labels; none where it has none, or only numbers them."""
    logits = spec.output("logits")
    return logits.labels if logits else ()


def joined(parts: Sequence[Answers]) -> Answers:
    """The answers of several checkpoints of one network, each to its own cases."""
    first = parts[0]
    arrays: dict[str, Any] = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(Answers)
        if isinstance(getattr(first, field.name), np.ndarray)
    }
    names = tuple(name for part in parts for name in part.names)
    return replace(first, names=names, **arrays)


def _row(session: Session, sample: Sample) -> dict[str, Floats]:
    """One case's part of every array of :class:`Answers`."""
    spec = session.spec
    found = session.run(*sample.images, outputs=True)
    outputs = found.outputs or {}
    errors, change = _errors(found.points, sample, spec), _map_scores(outputs, sample, spec)
    visibility = _of_kind(outputs, spec, "visibility").reshape(-1)
    probabilities = sigmoid(_of_kind(outputs, spec, "logits").reshape(-1))
    return {
        "errors_px": errors[0],
        "errors_mm": errors[1],
        "visibility": visibility,
        "visible": _known(sample, sample.visible, len(visibility), "visible points"),
        "map_errors": np.asarray(change[0]),
        "map_ssims": np.asarray(change[1]),
        "probabilities": probabilities,
        "labels": _known(
            sample, sample.labels_of(_label_names(spec)), len(probabilities), "labels"
        ),
    }


def _errors(points: NDArray[np.float32], sample: Sample, spec: ModelSpec) -> tuple[Floats, Floats]:
    """Radial errors (K,) in pixels and in mm."""
    truth = sample.points_px
    if truth is None or not len(points):
        nothing = np.full(spec.num_landmarks, np.nan)
        return nothing, nothing
    spacing = np.array([sample.spacing_mm or (np.nan, np.nan)])
    pair = (points[None], truth[None])
    return radial_error(*pair)[0], radial_error(*pair, spacing)[0]


def _map_scores(
    outputs: Mapping[str, NDArray[np.float32]], sample: Sample, spec: ModelSpec
) -> tuple[float, float]:
    """Mean absolute error and structural similarity of the map, NaN where there is none."""
    found = _of_kind(outputs, spec, "map")
    if sample.target_map is None or not found.size:
        return np.nan, np.nan
    _check_count(sample, len(sample.target_map), len(found), "channels of a map")
    rows, columns = found.shape[-2:]
    placement = fit_of(sample.image.shape, spec.input).placement
    wanted = network_map_from_image(sample.target_map, placement, spec.input.size, (rows, columns))
    known = np.isfinite(wanted)
    alike = ssim(found, np.where(known, wanted, found), 1.0)
    apart = np.abs(found[known] - wanted[known])
    return float(np.where(np.isnan(apart), np.inf, apart).mean()), alike


def _of_kind(outputs: Mapping[str, NDArray[np.float32]], spec: ModelSpec, kind: str) -> Floats:
    """The first output of a kind, without a batch axis; empty where there is none."""
    output = spec.output(kind)  # type: ignore[arg-type]
    return np.asarray(_NOTHING if output is None else outputs[output.name], np.float64)


def _known(sample: Sample, values: NDArray[np.float32] | None, count: int, what: str) -> Floats:
    """What is annotated of so many values; of an output that the network lacks, nothing.

    Raises:
        DataError: Another number of them is annotated.
    """
    if values is None or not count:
        return np.full(count, np.nan)
    _check_count(sample, len(values), count, what)
    return np.asarray(values, np.float64)


def _check_count(sample: Sample, got: int, count: int, what: str) -> None:
    if got != count:
        raise DataError(sample.name, got=f"{got} annotated {what}", expected=f"{count}")
