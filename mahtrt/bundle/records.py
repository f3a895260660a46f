"""What a manifest says of engines and of what was measured, field by field.

These dataclasses are the format (docs/bundle-format.md): a manifest with a field that is not here,
or with a value of another type, is refused. Numbers that are not finite are null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from mahtrt.bundle.output_records import (
    LogitsRecord,
    MapRecord,
    Share,
    Similarity,
    VisibilityRecord,
)
from mahtrt.digest import sha256_of_bytes
from mahtrt.schema import Between, Count, Measured, plain

Precision = Literal["fp32", "fp16", "bf16", "int8"]
Interval = tuple[float, float]
Cpus = Annotated[int, Between(1, 65_536)]
# How far landmarks may move.
Distance = Annotated[float, Between(0, math.inf)]

KEY_SCHEMA = "mahtrt.engine-key/1"


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """What an engine was compiled for; which fields are set depends on the target.

    Attributes:
        name: CPU or GPU on which the engine was compiled and measured; "" where it was compiled
            for capabilities alone, on a machine that cannot run it.
        platform: Operating system and architecture, ``linux_x86_64``.
        capabilities: What the device computes in (OpenVINO) or CUDA compute capabilities (SM89).
        inference_precision: Type that floating-point parts are computed in, ``f32`` or ``bf16``;
            "" where the graph alone decides.
        threads: Threads of one inference; None leaves them to the runtime.
        cores: Logical CPUs that were usable when configurations were tried.
        tried_ms: Median latency of each configuration that was tried.
        settings: What only this target has, as text: TensorRT's ``hardware_compatibility`` (its
            level, or ``none``), ONNX Runtime's ``provider``.
    """

    name: str = ""
    platform: str = ""
    capabilities: tuple[str, ...] = ()
    inference_precision: str = ""
    threads: Cpus | None = None
    cores: Cpus | None = None
    tried_ms: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Everything that decides what a TensorRT engine is.

    Attributes:
        onnx_sha256: Digest of the graph as it was given.
        tensorrt: Version of the flavour's package.
        platform: ``linux_x86_64``.
        gpu: The card whose kernels were timed, "" where none was.
        cuda_driver: CUDA version of the driver, "" where none was used.
        plugin_sha256: Digest of how the soft-argmax was cut off for a kernel, "" where it was not.
    """

    onnx_sha256: str
    precision: str
    flavour: str
    tensorrt: str
    platform: str
    gpu: str
    compute_capabilities: tuple[str, ...]
    cuda_driver: str
    workspace_mib: Count | None
    optimization_level: Count | None
    hardware_compatibility: str
    plugin_sha256: str = ""
    schema: str = KEY_SCHEMA

    @property
    def sha256(self) -> str:
        """Digest over the fields by name."""
        return sha256_of_bytes(json.dumps(plain(self), sort_keys=True).encode())


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """An input or output of an engine."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class BuildFacts:
    """What a TensorRT build found out.

    Attributes:
        timing_cache: Whether kernel timings of earlier builds were used.
        parse_s, build_s: Seconds of reading the graph and of building.
        layers: Type of network layer to number of layers.
        warnings: TensorRT's own.
        peak_memory_mib: Most memory the builder held; None where the system does not say.
    """

    plan_bytes: Count
    plan_sha256: str
    timing_cache: Literal["hit", "miss", "off"]
    parse_s: float
    build_s: float
    inputs: tuple[TensorRecord, ...]
    outputs: tuple[TensorRecord, ...]
    layers: Mapping[str, Count]
    warnings: tuple[str, ...]
    peak_memory_mib: Count | None


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """How a TensorRT engine was built.

    Attributes:
        key_sha256: Digest over the key's fields, the engine's name in the cache.
        cached: Whether the engine came from the cache.
        seconds: How long the build took, also where it was an earlier one.
    """

    key: EngineKey
    key_sha256: str
    cached: bool
    seconds: float
    facts: BuildFacts


@dataclass(frozen=True, slots=True)
class TwoPeakedRecord:
    """A point whose heatmap is far wider than usual; lengths in pixels of the network's input.

    Attributes:
        image: Name of the image, or its number from 0.
        moved_px: Displacement against the reference.
        spread_px, reference_spread_px: Spread of the engine's heatmap and of the reference's.
        usual_spread_px: The reference's median spread of this landmark.
        new: Whether only the engine's heatmap is wide; such a point is judged like others.
        reach_px: How far the reference's heatmap can jump, and no further is the point excused;
            None where ``new``, and in bundles of earlier versions.
    """

    image: str
    landmark: str
    moved_px: Measured
    spread_px: Measured
    reference_spread_px: Measured
    usual_spread_px: Measured
    new: bool = False
    reach_px: float | None = None


@dataclass(frozen=True, slots=True)
class LandmarkRecord:
    """One landmark over all images; the fields mean what they mean in :class:`AccuracyRecord`.

    Attributes:
        mre_change_percent: Growth of the MRE: in mm where every annotated image has a spacing,
            in image pixels where none has, else the larger of that in mm over images with a
            spacing and that in pixels over all.
        usual_spread_px: The reference's median spread, in pixels of the network's input; None
            where the network gives none. Heatmaps several times as wide are counted under
            ``two_peaked`` (:mod:`mahtrt.measure.wide_heatmaps`).
    """

    name: str
    mean_px: Measured
    max_px: Measured
    mre_px: float | None = None
    mre_mm: float | None = None
    reference_mre_px: float | None = None
    reference_mre_mm: float | None = None
    mre_change_percent: float | None = None
    mre_change_percent_interval: Interval | None = None
    two_peaked: int | None = None
    usual_spread_px: float | None = None


@dataclass(frozen=True, slots=True)
class AccuracyRecord:
    """An engine against the reference, and both against annotations.

    Displacements are in pixels of the network's input; errors against annotations (MRE, SDR) in
    pixels of the image or mm. Intervals are of 95%, over images, None with fewer than eight of
    them (:mod:`mahtrt.measure.bootstrap`, for the SDR :mod:`mahtrt.measure.proportions`).

    A network without landmarks is told of by ``maps``, ``logits`` and ``visibility`` alone: its
    displacements are None (0 in bundles of earlier versions).

    Attributes:
        images: Number of images that were compared.
        non_finite_points: Landmarks that are NaN or infinite in engine or reference. They count
            as infinitely displaced.
        mean_px, p99_px, max_px: Displacement over all landmarks of all images; None also where a
            manifest was read in which it is not finite.
        worst_landmark_mean_px: The largest of the landmarks' mean displacements.
        per_landmark: One row per landmark, in the order of the spec.
        mean_px_interval: Interval of ``mean_px``.
        mean_mm, max_mm: Displacement over the images whose pixel spacing is known.
        two_peaked: Points whose heatmap is far wider than usual in the reference, as it is with
            two peaks; None where the network gives no spread.
        two_peaked_max_px: Their largest displacement, None without any.
        two_peaked_excused: How many of them moved no further than their heatmap can jump; None
            also in bundles of earlier versions.
        new_two_peaks, new_two_peaks_max_px: The same for the engine alone.
        two_peaked_points: Those of either kind that moved most.
        single_peak_p99_px, single_peak_max_px: Displacement over the points that are not
            excused, None without any. A point that is not finite is among them.
        annotated_points, annotated_points_mm: How many points the errors below average.
        mre_px, mre_mm: The engine's mean radial error.
        reference_mre_px, reference_mre_mm: The reference's, over the same points.
        delta_mre_px, delta_mre_mm: Engine minus reference: positive is worse.
        delta_mre_px_interval, delta_mre_mm_interval: Intervals of these.
        worst_mre_change_percent: The largest growth of a landmark's MRE.
        sdr_percent, reference_sdr_percent: Share of points within a distance, by distance in mm.
        delta_sdr_percent, delta_sdr_percent_interval: Engine minus reference in percentage
            points: negative is worse.
        maps, logits, visibility: The outputs of these kinds, in the order of the spec.
    """

    images: Count
    non_finite_points: Count
    mean_px: float | None
    p99_px: float | None
    max_px: float | None
    worst_landmark_mean_px: float | None
    per_landmark: tuple[LandmarkRecord, ...]
    mean_px_interval: Interval | None = None
    mean_mm: float | None = None
    max_mm: float | None = None
    two_peaked: int | None = None
    two_peaked_max_px: float | None = None
    two_peaked_excused: int | None = None
    new_two_peaks: int | None = None
    new_two_peaks_max_px: float | None = None
    two_peaked_points: tuple[TwoPeakedRecord, ...] = ()
    single_peak_p99_px: float | None = None
    single_peak_max_px: float | None = None
    annotated_points: int = 0
    annotated_points_mm: int = 0
    mre_px: float | None = None
    mre_mm: float | None = None
    reference_mre_px: float | None = None
    reference_mre_mm: float | None = None
    delta_mre_px: float | None = None
    delta_mre_mm: float | None = None
    delta_mre_px_interval: Interval | None = None
    delta_mre_mm_interval: Interval | None = None
    worst_mre_change_percent: float | None = None
    sdr_percent: Mapping[str, float] | None = None
    reference_sdr_percent: Mapping[str, float] | None = None
    delta_sdr_percent: Mapping[str, float | None] | None = None
    delta_sdr_percent_interval: Mapping[str, Interval | None] | None = None
    maps: tuple[MapRecord, ...] = ()
    logits: tuple[LogitsRecord, ...] = ()
    visibility: tuple[VisibilityRecord, ...] = ()

    @property
    def is_finite(self) -> bool:
        """Whether every value that was compared is finite, in the engine and in the reference."""
        broken = [each.non_finite for each in self.maps]
        broken += [each.non_finite for each in self.logits]
        broken += [each.non_finite for each in self.visibility]
        return not self.non_finite_points and not any(broken)

    @property
    def worst_landmark(self) -> LandmarkRecord | None:
        """The landmark that moved most, None without landmarks."""
        return max(self.per_landmark, key=lambda row: row.mean_px, default=None)


@dataclass(frozen=True, slots=True)
class VerdictRecord:
    """The accuracy gate's verdict on an engine.

    Attributes:
        reasons: Every reason why it did not pass.
        measured_on: ``engine``, or in words what stood in for an engine that could not run where
            it was built.
    """

    passed: bool
    reasons: tuple[str, ...] = ()
    measured_on: str = "engine"


@dataclass(frozen=True, slots=True)
class LatencyRecord:
    """Latency from a prepared tensor to outputs, ms per inference, on the machine that built."""

    p50_ms: float
    p90_ms: float
    runs: Count


@dataclass(frozen=True, slots=True)
class BudgetsRecord:
    """What the accuracy gate allowed; what is null was not judged.

    Attributes:
        budget_px: Mean displacement of a reduced precision, network pixels.
        worst_landmark_px: Mean displacement of its worst landmark, network pixels.
        fp32_px: Mean displacement of each landmark of an FP32 engine, network pixels.
        fp32_max_px: Displacement of any single point of an FP32 engine, network pixels.
        budget_mm: Mean displacement in mm, which replaces ``budget_px``.
        delta_mre_mm: Growth of the MRE.
        p99_px, max_px: 99th percentile and maximum over points that are not excused, network
            pixels.
        landmark_mre_percent: Growth of the MRE of any landmark.
        map_mean: Mean difference of each map of a reduced precision.
        map_max, map_ssim: Largest difference and least mean SSIM of each map.
        logits_max: Largest difference of a logit.
        logits_agreement, visibility_agreement: Least share of labels, and of landmarks' being
            visible, that are as the reference says.
        fp32_map_max, fp32_logits_max, fp32_visibility_max: Largest differences of an FP32 engine.
    """

    budget_px: Distance
    worst_landmark_px: Distance
    fp32_px: Distance
    fp32_max_px: Distance
    budget_mm: Distance | None = None
    delta_mre_mm: float | None = None
    p99_px: Distance | None = None
    max_px: Distance | None = None
    landmark_mre_percent: float | None = None
    map_mean: Distance = 0.01
    map_max: Distance | None = None
    map_ssim: Similarity = 0.98
    logits_max: Distance | None = None
    logits_agreement: Share = 0.99
    visibility_agreement: Share = 0.99
    fp32_map_max: Distance = 1e-3
    fp32_logits_max: Distance = 0.01
    fp32_visibility_max: Distance = 1e-3


@dataclass(frozen=True, slots=True)
class GateRecord:
    """The accuracy gate of a build; each engine has its own verdict.

    Attributes:
        reference: What engines were compared with, in words.
    """

    reference: str
    budgets: BudgetsRecord
