"""How a floating-point graph becomes a quantised one: everything but the plan."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx

from mahtrt.bundle.plan import Plan
from mahtrt.calibration.methods import DEFAULT_METHOD, DEFAULT_PERCENTILE, Method
from mahtrt.calibration.qdq import quantize, tensors_to_calibrate
from mahtrt.calibration.ranges import Ranges, collect_ranges
from mahtrt.data.preprocess_version import PREPROCESS_VERSION
from mahtrt.digest import sha256_of_bytes
from mahtrt.graph.graph_file import GraphFile
from mahtrt.graph.runner import Images
from mahtrt.planning.blocks import Candidate, compose, decidable


@dataclass(frozen=True, slots=True)
class Recipe:
    """What :func:`mahtrt.calibration.qdq.quantize` is given besides model and plan.

    It leaves bias correction out, on purpose: that depends on the plan as a whole, so every
    candidate of a search would need a run of the calibration images of its own. What a search
    measures is therefore as a rule more than the same plan costs when it is built with it.

    Attributes:
        ranges: Ranges, at least for the tensors of :func:`tensors_of_candidates`.
        method: One for all tensors, or tensor -> method.
        weight_bits: 8 or 7.
    """

    ranges: Ranges
    method: Method | Mapping[str, Method] = DEFAULT_METHOD
    weight_bits: int = 8

    def apply(self, model: onnx.ModelProto, plan: Plan) -> onnx.ModelProto:
        """The quantised model; raises as :func:`mahtrt.calibration.qdq.quantize` does."""
        return quantize(model, self.ranges, plan, method=self.method, weight_bits=self.weight_bits)

    @property
    def method_name(self) -> str:
        """The method in a word."""
        return self.method if isinstance(self.method, str) else "by tensor"

    def digest(self) -> str:
        """SHA-256 (hex) over everything that changes the result."""
        method = self.method if isinstance(self.method, str) else dict(self.method)
        text = json.dumps([method, self.weight_bits, self.ranges.to_json()], sort_keys=True)
        return sha256_of_bytes(text.encode())


@dataclass(frozen=True, slots=True, eq=False)
class NetworkToPlan:
    """The network that a plan is made for.

    Attributes:
        graph: The floating-point export.
        candidates: Its blocks (:func:`mahtrt.planning.blocks.find_candidates`).
        recipe: How blocks become INT8; its ranges cover :func:`tensors_of_candidates`.
    """

    graph: GraphFile
    candidates: Sequence[Candidate]
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class RecipeOptions:
    """How scales are found.

    Attributes:
        method, percentile: See :mod:`mahtrt.calibration.methods`.
        weight_bits: 8, or 7 where the target's sums could saturate
            (:func:`mahtrt.targets.cpu.weight_bits_here`).
        threads: Threads of ONNX Runtime; None lets it choose.
    """

    method: Method = DEFAULT_METHOD
    percentile: float = DEFAULT_PERCENTILE
    weight_bits: int = 8
    threads: int | None = None


def make_recipe(
    graph: GraphFile,
    candidates: Sequence[Candidate],
    images: Images,
    options: RecipeOptions | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Recipe:
    """Calibrate everything that a plan of these candidates may need, in one pass.

    Where there is nothing to decide, there is nothing to run: the ranges are of no image then.

    Args:
        images: Preprocessed (C, H, W), to calibrate on.

    Raises:
        DataError, ModelError: As :func:`mahtrt.calibration.ranges.collect_ranges`.
    """
    how = options or RecipeOptions()
    tensors = tensors_of_candidates(graph.proto, candidates)
    if tensors:
        ranges = collect_ranges(
            graph.path,
            tensors,
            images,
            percentile=how.percentile,
            threads=how.threads,
            progress=progress,
        )
    else:
        ranges = replace(no_recipe().ranges, percentile=how.percentile)
    return Recipe(ranges, how.method, how.weight_bits)


def no_recipe() -> Recipe:
    """The recipe of plans without INT8: it rests on no image."""
    return Recipe(Ranges({}, 0, "", PREPROCESS_VERSION, DEFAULT_PERCENTILE))


def tensors_of_candidates(
    model: onnx.ModelProto, candidates: Sequence[Candidate]
) -> tuple[str, ...]:
    """Every tensor whose range some plan of these candidates needs.

    Not just those of the plan with all of them: which operand of a residual addition is quantised
    depends on which of the convolutions before it are INT8.
    """
    names = [candidate.name for candidate in decidable(candidates)]
    plans = [compose(candidates, chosen) for chosen in (names, *([name] for name in names))]
    found = [tensor for plan in plans for tensor in tensors_to_calibrate(model, plan)]
    return tuple(dict.fromkeys(found))
