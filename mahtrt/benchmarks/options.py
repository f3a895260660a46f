"""What a bench is asked to measure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mahtrt.data.sample import Dataset
from mahtrt.measure.limits import Limits
from mahtrt.measure.quantities import Selection
from mahtrt.measure.timing import TimingOptions
from mahtrt.models.reference import ModelSource
from mahtrt.runtime.engine_choice import Require

if TYPE_CHECKING:
    from mahtrt.benchmarks.accuracy_pass import AccuracyPart
    from mahtrt.bundle.signature import Trust

DEFAULT_IMAGES = 64
# Two runs of one build agree to this share.
TOLERANCE = 0.05
# Medians of windows of rounds that differ by no more than this have settled, if not after this many
# times the rounds asked for.
SETTLED, MOST_ROUNDS = 0.05, 4
# How long a quantiser that checks itself may search.
PEER_MINUTES = 10.0
# Kept prepared in memory while timing; a network's time does not depend on what it looks at.
TIMED_IMAGES = 8


@dataclass(frozen=True, slots=True)
class CompareOptions(TimingOptions):
    """How open sessions are compared: timed as its base says, and judged.

    Attributes:
        images: How many of the data set's images to use, evenly spread over it.
        latency_budget_ms: Limit of the default engine's end-to-end p99; None judges no latency.
        threads: Threads that the sessions were opened with; None is each runtime's default.
        quantities: Clinical quantities that are compared; None compares none.
        beside: What else runs once in every round, by a name that no session has.
        parts: What finds the landmarks of all images elsewhere, part by part, in their order, of
            (images, images per inference); None runs them through the sessions.
    """

    images: int = DEFAULT_IMAGES
    latency_budget_ms: float | None = 100.0
    limits: Limits = field(default_factory=Limits)
    threads: int | None = None
    quantities: Selection | None = None
    beside: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    parts: Callable[[int, int], Iterator[AccuracyPart]] | None = None


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure, on which images, and against what.

    Attributes:
        bundle: The ``.mahtrt`` folder.
        data: DATA, or an open data set; None takes the bundle's golden images, which have no
            annotations.
        points: Which annotated points of DATA are the network's landmarks.
        spacing_mm: Millimetres per image pixel of DATA.
        skip_bad: Leave unreadable images of DATA out.
        images: How many of the images to use, evenly spread over them.
        engines: Names or targets; None means all that this machine can open.
        batch: Only engines of this batch size.
        reference: Checkpoint of the PyTorch reference, where it is not found by itself.
        model: A foreign network's code, for the reference.
        limits: How far engines may be from the reference.
        latency_budget_ms: Limit of the default engine's end-to-end p99; None judges no latency.
        rounds: Timed rounds; fewer when ``max_seconds`` are over.
        settle: Share by which p50 of the last windows of rounds may differ; more rounds follow
            until then, ``MOST_ROUNDS`` times as many at most. 0.0 does not wait for that.
        seed: Seed of the order of the rounds and of the bootstrap.
        threads: Threads of one inference; None leaves it to each runtime.
        trust: Whose signature the bundle has to have; None asks for none.
        peers: Names of :data:`mahtrt.benchmarks.peers.PEERS` that are measured beside the engines,
            or ``all-cpu`` for :data:`mahtrt.benchmarks.peers.ALL_CPU`.
        peer_calib: DATA, or an open data set, that peers calibrate with; None takes the images of
            ``data`` that are not measured.
        peer_minutes: How long a peer may search for a network within ``limits.budget_px``.
        peer_device: Where peers run, ``cpu`` or ``cuda``; "auto": where the default engine does, if
            PyTorch can.
        require: Kind of device of the engines that are measured; at least one of them has to run.
        baseline: The JSON of an earlier bench; each row says whether it is better or worse.
        tolerance: Share by which two runs of one build may differ.
        cold_starts: How many fresh processes start with each engine; 0 for none.
        streams: Numbers of callers at a time that throughput is measured with; none measures none.
        stream_seconds: How long each of these runs.
        sweep: Bundles of the same network with other batch sizes, whose throughput is measured too.
        quantities: A file that defines clinical quantities (docs/quantities.md); "auto" for those
            that mahtrt ships, as far as the network has their points; "none".
        roofline: Whether large operations are timed beside the engines, to tell how far those are
            from what the machine reaches.
        ray: Run the images of accuracy on Ray: ``local``, ``auto`` or HOST:PORT of a cluster
            (docs/scale.md); None runs them in this process. Times are measured here.
    """

    bundle: Path
    data: Dataset | Path | str | None = None
    points: tuple[int, ...] | None = None
    spacing_mm: float | None = None
    skip_bad: bool = False
    images: int = DEFAULT_IMAGES
    engines: tuple[str, ...] | None = None
    batch: int | None = None
    reference: Path | None = None
    model: ModelSource | None = None
    limits: Limits = field(default_factory=Limits)
    latency_budget_ms: float | None = 100.0
    rounds: int = 100
    settle: float = SETTLED
    max_seconds: float = 120.0
    seed: int = 0
    threads: int | None = None
    trust: Trust | None = None
    require: Require = "any"
    peers: tuple[str, ...] = ()
    peer_device: str = "auto"
    peer_calib: Dataset | Path | str | None = None
    peer_minutes: float = PEER_MINUTES
    baseline: Path | None = None
    tolerance: float = TOLERANCE
    cold_starts: int = 3
    streams: tuple[int, ...] = ()
    stream_seconds: float = 3.0
    sweep: tuple[Path, ...] = ()
    quantities: Path | str = "auto"
    roofline: bool = False
    ray: str | None = None

    @property
    def comparison(self) -> CompareOptions:
        """How the opened engines are compared."""
        return CompareOptions(
            images=self.images,
            rounds=self.rounds,
            max_seconds=self.max_seconds,
            settle=self.settle or None,
            most_rounds=MOST_ROUNDS * self.rounds,
            latency_budget_ms=self.latency_budget_ms,
            limits=self.limits,
            seed=self.seed,
            threads=self.threads,
        )
