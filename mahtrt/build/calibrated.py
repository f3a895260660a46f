"""Calibration of a network on a data set: what every INT8 graph of a build is made from.

Ranges, method, plan and the card that says what they rest on do not depend on the target; the
graph that is quantised (FP32, FP16 or BF16) and the bits of its weights do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import onnx

from mahtrt.build.options import AUTO_METHOD, CalibrationOptions
from mahtrt.bundle.origin import CardRecord, MethodChoiceRecord
from mahtrt.bundle.plan import Plan
from mahtrt.calibration.bias_correction import BiasCorrection, apply_correction, measure_bias
from mahtrt.calibration.card import make_card
from mahtrt.calibration.method_choice import choose_methods, methods_by_tensor, tensor_classes
from mahtrt.calibration.methods import DEFAULT_PERCENTILE, LEARNED, Method
from mahtrt.calibration.qdq import quantize, tensors_to_calibrate
from mahtrt.calibration.ranges import Ranges, collect_ranges
from mahtrt.calibration.tuned import Tuned
from mahtrt.data.feed import Feed, stack
from mahtrt.data.subset import NetworkTensors
from mahtrt.errors import UsageError
from mahtrt.graph.graph_file import GraphFile
from mahtrt.measure.distances import mean_distance
from mahtrt.progress import StageProgress
from mahtrt.runtime.decode import Decoded, decode, needed_outputs
from mahtrt.runtime.session import Session
from mahtrt.schema import plain
from mahtrt.targets.onnxruntime.run import OnnxRuntimeBackend, OrtMode, open_onnx

# What is left of the error of the mean after so many images is noise of other causes.
BIAS_IMAGES = 32
CHOICE_IMAGES = 8


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """A network that is ready to be quantised.

    Attributes:
        graph: The export.
        plan: Which blocks become INT8.
        ranges: What was seen of the plan's tensors, at least.
        method: One for all tensors, or tensor -> method.
        card: What it rests on.
        choice: How ``auto`` chose; None otherwise.
    """

    graph: GraphFile
    plan: Plan
    ranges: Ranges
    method: Method | Mapping[str, Method]
    card: CardRecord
    choice: MethodChoiceRecord | None = None
    _corrections: dict[tuple[int, bool], BiasCorrection] = field(default_factory=dict, repr=False)

    def quantized(
        self, of: onnx.ModelProto, weight_bits: int, declares: str = "fp32"
    ) -> onnx.ModelProto:
        """The network with the plan's blocks in INT8.

        Args:
            of: :attr:`graph`, or the same in half precision.
            declares: Type of what is not INT8 where the graph runs; in BF16 tensors are not centred
                (:mod:`mahtrt.calibration.centring`).
        """
        centred = _is_centred(declares)
        made = self._uncorrected(of, weight_bits, centred)
        known = self._corrections.get((weight_bits, centred))
        return made if known is None else apply_correction(made, known)

    def measure_bias(
        self,
        calib: NetworkTensors,
        weight_bits: int,
        threads: int | None,
        progress: StageProgress,
        declares: str = "fp32",
    ) -> None:
        """Let :meth:`quantized` correct biases for weights of so many bits and a type."""
        centred = _is_centred(declares)
        self._corrections[weight_bits, centred] = measure_bias(
            self.graph.proto,
            self._uncorrected(self.graph.proto, weight_bits, centred),
            calib.spread_out(BIAS_IMAGES),
            threads=threads,
            progress=lambda done, of: progress("correcting biases", done, of),
        )

    def is_corrected(self, weight_bits: int, declares: str) -> bool:
        """Whether :meth:`measure_bias` was called for these, or for others that are the same."""
        return (weight_bits, _is_centred(declares)) in self._corrections

    def correction(self, weight_bits: int) -> BiasCorrection | None:
        """What was measured for weights of so many bits; None before :meth:`measure_bias`."""
        return self._corrections.get((weight_bits, True))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the manifest."""
        return {
            "method": self.method if isinstance(self.method, str) else AUTO_METHOD,
            "percentile": self.ranges.percentile if self._uses("percentile") else None,
            "method_choice": plain(self.choice),
            "bias_correction_images": max(
                (c.images for c in self._corrections.values()), default=0
            ),
            "card": plain(self.card),
        }

    def _uncorrected(self, of: onnx.ModelProto, weight_bits: int, centred: bool) -> onnx.ModelProto:
        return quantize(
            of,
            self.ranges,
            self.plan,
            method=self.method,
            weight_bits=weight_bits,
            centred=centred,
        )

    def _uses(self, method: str) -> bool:
        return method in (
            {self.method} if isinstance(self.method, str) else {*self.method.values()}
        )


def _is_centred(declares: str) -> bool:
    return declares != "bf16"


def fine_tuned(graph: GraphFile, tuned: Tuned) -> Calibrated:
    """A network with the weights and ranges that ``mahtrt qat`` found for it."""
    learned = dataclasses.replace(graph, proto=tuned.model)
    return Calibrated(learned, tuned.plan, tuned.ranges, LEARNED, tuned.card)


def calibrate(
    graph: GraphFile,
    calib: NetworkTensors,
    plan: Plan,
    options: CalibrationOptions,
    progress: StageProgress,
    ranges: Ranges | None = None,
) -> Calibrated:
    """Calibrate a plan on images.

    Args:
        graph: The floating-point export.
        plan: Plan with at least one INT8 block.
        progress: Display that is told of images.
        ranges: Ranges of this graph on these images, where they were collected before.

    Raises:
        UsageError: A plan without INT8.
        DataError, ModelError: As :func:`mahtrt.calibration.ranges.collect_ranges`.
    """
    tensors = tensors_to_calibrate(graph.proto, plan)
    if not tensors:
        raise UsageError(
            "--int8",
            got="a plan without any INT8 block",
            expected="at least one",
            fix="Build --fp32, --bf16 or --fp16 instead, or plan at least one block in INT8.",
        )
    # A plan may force what the planner does not consider, so it may need more than was seen.
    if ranges is None or set(tensors) - set(ranges.tensors):
        ranges = _collected(graph, calib, tensors, options, progress)
    method: Any = options.method
    choice: MethodChoiceRecord | None = None
    if method == AUTO_METHOD:
        few = stack(list(calib.spread_out(CHOICE_IMAGES)))
        choice = choose_methods(
            graph.proto,
            ranges,
            plan,
            OutputError(graph, few, options.threads),
            weight_bits=options.trial_bits,
            progress=lambda done, of: progress("choosing methods", done, of),
        )
        method = methods_by_tensor(
            tensor_classes(graph.proto, plan), cast("Mapping[str, Method]", choice.methods)
        )
    card = make_card(_restricted(ranges, tensors), method)
    return Calibrated(graph, plan, ranges, method, card, choice)


def _collected(
    graph: GraphFile,
    calib: NetworkTensors,
    tensors: list[str],
    options: CalibrationOptions,
    progress: StageProgress,
) -> Ranges:
    return collect_ranges(
        graph.path,
        tensors,
        calib,
        percentile=DEFAULT_PERCENTILE if options.percentile is None else options.percentile,
        progress=lambda done, of: progress("calibrating", done, of),
        threads=options.threads,
    )


def _restricted(ranges: Ranges, tensors: tuple[str, ...] | list[str]) -> Ranges:
    """Only what the plan reads: a planner's ranges cover every block."""
    return dataclasses.replace(ranges, tensors={name: ranges.tensors[name] for name in tensors})


class OutputError:
    """How far a quantised graph is from FP32, its Q/DQ computed literally.

    Args:
        feed: N cases, each input (N, C, H, W).
    """

    def __init__(self, graph: GraphFile, feed: Feed, threads: int | None) -> None:
        self._graph, self._feed, self._threads = graph, feed, threads
        self._reference = self._decoded(graph.proto)

    def __call__(self, quantized: onnx.ModelProto) -> float:
        """The mean over all cases and targets (:mod:`mahtrt.measure.distances`).

        Of a network of landmarks: network pixels.
        """
        ours, theirs = self._decoded(quantized), self._reference
        points, others = (ours.points_px, theirs.points_px), (ours.others, theirs.others)
        return mean_distance(points, others, self._graph.spec)

    def _decoded(self, model: onnx.ModelProto) -> Decoded:
        spec, text = self._graph.spec, model.SerializeToString()
        opened = open_onnx(
            text, "a trial of methods", threads=self._threads, mode=OrtMode.LITERAL_INT8
        )
        with Session(OnnxRuntimeBackend(opened, spec, "trial"), spec) as session:
            return decode(session.infer(self._feed, needed_outputs(spec)), spec)
