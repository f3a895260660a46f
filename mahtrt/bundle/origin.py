"""Where a bundle's network came from, as its manifest says it: export, parity, calibration.

These dataclasses are the format, as those of :mod:`mahtrt.bundle.records` are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mahtrt.schema import Measured


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """The network that was exported.

    Attributes:
        model: A family of mahtrt, ``file.py:factory`` or ``package.module:factory``.
        kwargs: Arguments of the factory, or settings of the family; values as Python writes them.
        checkpoint, checkpoint_sha256: File name and digest of its weights.
        seed: Seed of random weights, None with a checkpoint.
        graph_passes: Optimization to the number of places it changed, None where it was skipped.
    """

    model: str = ""
    kwargs: Mapping[str, str] = field(default_factory=dict)
    checkpoint: str | None = None
    checkpoint_sha256: str | None = None
    seed: int | None = None
    graph_passes: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ParityRowRecord:
    """One output of the ONNX graph compared with PyTorch.

    Attributes:
        output, kind: Name and kind of the output, from the spec.
        unit: ``px`` of the network's input for landmarks; ``relative`` to the largest magnitude
            that PyTorch gave for this output, for the rest.
        max_abs, mean_abs: Absolute differences in px, or in the output's own unit.
        error: What is held against ``tolerance``, in ``unit``.
    """

    output: str
    kind: str
    unit: Literal["px", "relative"]
    max_abs: float
    mean_abs: float
    error: float
    tolerance: float
    passed: bool


@dataclass(frozen=True, slots=True)
class ParityRecord:
    """The export's check against PyTorch.

    Attributes:
        images: Number of images.
        runtime: What ran the graph, with its version.
    """

    rows: tuple[ParityRowRecord, ...]
    images: int
    runtime: str
    passed: bool


@dataclass(frozen=True, slots=True)
class ProvenanceRecord:
    """Where the bundle's network came from.

    Attributes:
        onnx_sha256: Digest of the export.
    """

    onnx_sha256: str
    source: SourceRecord
    parity: ParityRecord | None = None


@dataclass(frozen=True, slots=True)
class MethodChoiceRecord:
    """How calibration methods were chosen by measured landmark error.

    Attributes:
        methods: Class of tensors to method.
        error_px: Landmark error of this choice, network pixels.
        uniform_px: Landmark error with ``minmax`` everywhere.
        evaluations: How many graphs were tried.
        complete: Whether every trial fitted into the bound on their number.
    """

    methods: Mapping[str, str]
    error_px: Measured
    uniform_px: Measured
    evaluations: int
    complete: bool


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    """How far scales were from the final ones after so many images, in percent of these."""

    images: int
    median_percent: float
    largest_percent: float


@dataclass(frozen=True, slots=True)
class TensorCardRecord:
    """The calibration of one tensor.

    Attributes:
        method: The method that gave its scale.
        amax: The largest magnitude that INT8 represents.
        saturation: Share of the sampled values beyond ``amax``.
        moved_percent: How far ``amax`` moved over the second half of the images, in percent of
            the final one; None where no scale was noted on the way.
    """

    tensor: str
    method: str
    amax: float
    saturation: float
    moved_percent: float | None


@dataclass(frozen=True, slots=True)
class CardRecord:
    """What a calibration rests on, and whether the images were enough.

    Attributes:
        images: Number of images.
        digest: SHA-256 over the preprocessed images, in their order.
        methods: Method to number of tensors.
        snapshots: Distances of the scales from the final ones, after some numbers of images.
        most_saturated: The tensors of which the largest share saturates, worst first.
        most_moved: The tensors that moved most over the second half of the images.
        warnings: What is wrong, in words; empty where all is well.
    """

    images: int
    digest: str
    methods: Mapping[str, int]
    snapshots: tuple[SnapshotRecord, ...]
    most_saturated: tuple[TensorCardRecord, ...]
    most_moved: tuple[TensorCardRecord, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CalibrationRecord:
    """What INT8 graphs were calibrated on, and how.

    Attributes:
        data: Name of the data set, without folders.
        skipped: Images that were left out because they cannot be read.
        images_digest: SHA-256 over the data set's images.
        method: ``minmax``, ``percentile``, ``entropy``, ``mse`` or ``auto``; ``learned`` where
            ``mahtrt qat`` found the ranges.
        percentile: Percentile of ``percentile``, None where that method is not used.
        method_choice: How ``auto`` chose.
        bias_correction_images: Images that biases were corrected on, 0 without.
    """

    data: str
    images_digest: str
    method: str
    card: CardRecord
    skipped: tuple[str, ...] = ()
    percentile: float | None = None
    method_choice: MethodChoiceRecord | None = None
    bias_correction_images: int = 0
