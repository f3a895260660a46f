"""Which configuration of OpenVINO runs a network fastest here, by measuring.

OpenVINO's own choice (one thread per physical core, BF16 where it is native) is right for most
networks. It is left alone unless another wins by more than what interleaved rounds still differ by.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mahtrt.measure.timing import TimingOptions, Timings, interleave, speedup
from mahtrt.targets.openvino.run import compile_model

# What a configuration has to gain to be taken instead of OpenVINO's own, and the rounds it takes
# to believe it. A network so slow that the seconds do not suffice for them keeps the default.
MIN_SPEEDUP = 1.05
MIN_ROUNDS, ROUNDS, SECONDS = 5, 25, 2.0


@dataclass(frozen=True, slots=True)
class Configuration:
    """How OpenVINO compiles.

    Attributes:
        inference_precision: Type of the floating-point part, ``f32`` or ``bf16``.
        threads: Threads of one inference; None leaves their number to OpenVINO.
    """

    inference_precision: str
    threads: int | None = None

    def __str__(self) -> str:
        threads = "default" if self.threads is None else str(self.threads)
        return f"{self.inference_precision}, threads {threads}"


@dataclass(frozen=True, slots=True)
class Tuned:
    """What was chosen.

    Attributes:
        choice: The configuration to compile with.
        tried_ms: p50 of each that was measured, by its name; empty where there was no choice.
    """

    choice: Configuration
    tried_ms: Mapping[str, float]


Measure = Callable[[Path, Sequence[Configuration]], Mapping[Configuration, Timings]]


def tune(
    onnx: Path, default: Configuration, candidates: Sequence[Configuration], measure: Measure
) -> Tuned:
    """Choose between configurations.

    Args:
        onnx: The network.
        default: Kept unless another is faster by more than 5% in the median of the rounds.
        candidates: Others.
        measure: Times configurations in interleaved rounds, see :func:`time_configurations`.
    """
    others = [config for config in dict.fromkeys(candidates) if config != default]
    if not others:
        return Tuned(default, {})
    timings = measure(onnx, [default, *others])
    tried = {str(config): round(found.p50_ms, 3) for config, found in timings.items()}
    gains = {config: speedup(timings[default], timings[config]) for config in others}
    best = max(gains, key=gains.__getitem__)
    sure = timings[default].runs >= MIN_ROUNDS and gains[best] > MIN_SPEEDUP
    return Tuned(best if sure else default, tried)


def candidates_for(
    default: Configuration, *, precisions: Sequence[str], threads: Sequence[int]
) -> list[Configuration]:
    """The default with each other precision, and with each other number of threads.

    Not their products: compiling is what tuning costs most of.
    """
    return [
        *(Configuration(precision, default.threads) for precision in precisions),
        *(Configuration(default.inference_precision, count) for count in threads),
    ]


def time_configurations(
    onnx: Path, configurations: Sequence[Configuration]
) -> dict[Configuration, Timings]:
    """Compile each and time them on random input, interleaved, for a few seconds.

    Raises:
        RuntimeError: OpenVINO's own error.
    """
    calls: dict[str, Callable[[], object]] = {}
    for config in configurations:
        compiled = compile_model(
            onnx, inference_precision=config.inference_precision, threads=config.threads
        )
        request, rng = compiled.create_infer_request(), np.random.default_rng(0)
        # The values do not matter: no kernel of these networks is faster for some of them.
        shapes = [tuple(each.shape) for each in compiled.inputs]
        tensors = [rng.standard_normal(shape, np.float32) for shape in shapes]
        calls[str(config)] = functools.partial(request.infer, tensors)
    timings = interleave(calls, TimingOptions(1, ROUNDS, max_seconds=SECONDS))
    return {config: timings[str(config)] for config in configurations}
