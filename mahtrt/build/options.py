"""What a build is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mahtrt.calibration.methods import METHODS
from mahtrt.errors import UsageError
from mahtrt.measure.limits import Limits
from mahtrt.models.reference import ModelSource
from mahtrt.targets.graph_kinds import FloatType
from mahtrt.targets.target import EngineOptions, TargetOptions

AUTO = "auto"
AUTO_METHOD = "auto"
AUTO_PLAN = "auto"


@dataclass(frozen=True, slots=True)
class CalibrationOptions:
    """How to calibrate.

    Attributes:
        method: ``minmax``, ``percentile``, ``entropy``, ``mse``, or ``auto``: for each class of
            tensors what changes the network's results least.
        percentile: What ``percentile`` keeps.
        threads: Threads of one inference; None leaves their number to the runtime.
        trial_bits: Bits of INT8 weights in the trials of ``auto``.
    """

    method: str = "minmax"
    percentile: float | None = None
    threads: int | None = None
    trial_bits: int = 8


def check_calibration(options: CalibrationOptions) -> None:
    """Refuse a method or percentile that cannot be.

    Raises:
        UsageError: It is one.
    """
    known = (*METHODS, AUTO_METHOD)
    if options.method not in known:
        raise UsageError("--method", got=repr(options.method), expected=" or ".join(known))
    if options.percentile is not None and not 0 < options.percentile <= 100:
        raise UsageError(
            "--percentile", got=str(options.percentile), expected="more than 0, at most 100"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineBuild:
    """Options that a build and a compilation share.

    Attributes:
        points: Annotated points of DATA that are the network's landmarks.
        skip_bad: Unreadable images are left out instead of refused.
        keep_failed: The bundle is written although an engine failed its gate.
        threads: Threads of one inference; None leaves their number to the runtime.
        cache: Whether engines and sensitivities of earlier builds are used again, and these kept.
        cache_dir: Folder in which they are kept; None: :func:`mahtrt.cache.cache_folder` says.
        target_options: Options that only some targets have, such as ``TensorRtOptions``.
    """

    points: tuple[int, ...] | None = None
    skip_bad: bool = False
    keep_failed: bool = False
    threads: int | None = None
    cache: bool = True
    cache_dir: Path | None = None
    target_options: tuple[TargetOptions, ...] = ()

    @property
    def engine(self) -> EngineOptions:
        """How engines are built."""
        return EngineOptions(
            self.threads,
            cache=self.cache,
            cache_dir=self.cache_dir,
            target_options=self.target_options,
        )


@dataclass(frozen=True, slots=True)
class BuildOptions(EngineBuild):
    """What to build from an exported ONNX, beside the shared options.

    Attributes:
        onnx: The FP32 export.
        out: The bundle to write.
        precisions: Any of ``fp32``, ``fp16``, ``bf16``, ``int8``; each is built for the targets
            that compute in it.
        targets: Targets by name, or ``auto``: all whose engines run here. Whichever, the fastest
            engine that passes its gate becomes the bundle's default.
        calib: DATA to calibrate INT8 and to search for plans on.
        eval: DATA to check engines on; None holds back some of ``calib``, and takes phantoms
            where there is none.
        method: ``minmax``, ``percentile``, ``entropy``, ``mse``, or ``auto``: for each class of
            tensors what changes the network's results least.
        percentile: What ``percentile`` keeps.
        bias_correction: Take the mean error of INT8 products out through their biases.
        plan: A plan file, or ``auto``: the planner's, instead of the default plan. A file is
            INT8's where INT8 is built, else that of every half precision.
        plan_minutes: How long the planner may search for a plan, of which each precision has one.
        seed: Seed of the planner.
        tuned: What ``mahtrt qat`` made of the export: INT8 follows its plan, weights and ranges.
        weight_bits: 8, 7, or None: 7 where this CPU's INT8 sums could saturate.
        int8_float: What a TensorRT engine computes in where its plan has no INT8.
        check_images: How many images engines are checked on; of ``calib``, at most a quarter is
            held back.
        reference: Checkpoint of the PyTorch reference, where it is not found by itself.
        model: A foreign network's code, for the reference.
        golden: Keep a few of the checked images in the bundle, with what the reference gives.
    """

    onnx: Path
    out: Path = Path("model.mahtrt")
    precisions: tuple[str, ...] = ("fp32",)
    targets: tuple[str, ...] = (AUTO,)
    calib: str | None = None
    eval: str | None = None
    method: str = "minmax"
    percentile: float | None = None
    bias_correction: bool = True
    plan: str | Path | None = None
    plan_minutes: float = 10.0
    tuned: Path | None = None
    seed: int = 0
    weight_bits: int | None = None
    int8_float: FloatType = "fp16"
    check_images: int = 32
    reference: Path | None = None
    model: ModelSource | None = None
    limits: Limits = field(default_factory=Limits)
    golden: bool = True

    @property
    def calibration(self) -> CalibrationOptions:
        """How scales are found."""
        return CalibrationOptions(self.method, self.percentile, self.threads)
