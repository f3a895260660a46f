"""How a bench is to measure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mahtrt.measure.limits import Limits

DEFAULT_IMAGES = 64


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """How to measure.

    Attributes:
        images: How many of the data set's images to use.
        rounds: Timed rounds; fewer when ``max_seconds`` is over, more until ``min_seconds``.
        rest: See :func:`mahtrt.measure.timing.interleave`.
        seed: Of the order and of the bootstrap.
    """

    images: int = DEFAULT_IMAGES
    rounds: int = 100
    warmup: int = 3
    min_seconds: float = 0.0
    max_seconds: float = 120.0
    latency_budget_ms: float | None = 100.0
    limits: Limits = field(default_factory=Limits)
    seed: int = 0
    rest: Callable[[], bool] | None = None
