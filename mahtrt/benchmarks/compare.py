"""Open sessions, side by side: the same images, in one process.

First accuracy: all images go once through every session, a few at a time. Then timing: both
scopes of every session, interleaved round by round. A session on the CPU prepares and decodes for
the reference exactly as for an engine, so that ``end_to_end`` differs by the network alone. A
session on a GPU prepares images there, PyTorch's on the CPU: that is a part of what differs, and
the conditions say so (``images``).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mahtrt.benchmarks.accuracy_pass import AccuracyPart, AccuracyPass
from mahtrt.benchmarks.conditions import (
    conditions_of_gpu,
    describe_conditions,
    find_warnings,
    watch_gpu,
)
from mahtrt.benchmarks.options import TIMED_IMAGES, CompareOptions
from mahtrt.benchmarks.peer_failures import PeerFailedError, watched
from mahtrt.benchmarks.report import SCOPES, BenchReport, Clock, ReportFacts, Row, Scope
from mahtrt.bundle.records import AccuracyRecord
from mahtrt.data.feed import Feed, Image, prepare, stack
from mahtrt.data.subset import spread_out
from mahtrt.errors import DataError
from mahtrt.machine import describe_machine, load_average, package_versions
from mahtrt.measure.limits import Limits
from mahtrt.measure.timing import OwnClock, Progress, Timings, interleave, speedup
from mahtrt.runtime.decode import check_judged
from mahtrt.spec import ModelSpec

if TYPE_CHECKING:
    from mahtrt.data.sample import Dataset
    from mahtrt.runtime.landmarks import Landmarks

T = TypeVar("T")


class Runner(Protocol):
    """What bench needs of a session."""

    @property
    def spec(self) -> ModelSpec: ...
    @property
    def threads(self) -> int | None: ...
    @property
    def device(self) -> str: ...
    def run(self, *images: Image) -> Landmarks: ...
    def run_batch(self, images: Sequence[tuple[Image, ...]]) -> list[Landmarks]: ...
    def infer(self, tensor: Feed) -> Mapping[str, NDArray[np.float32]]: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Contender:
    """A session that takes part.

    Attributes:
        name: Unique among the contenders.
        batch: Images per call that the engine was built for.
        stand_in: What ``session`` runs, where that is not the engine itself: it is judged by its
            landmarks and not timed.
        device: Kind of device that the session runs on. An engine's time is compared with that of
            the reference on the same kind, where there is one.
        recorded: Judged outputs that a recorded reference has, and every how many rows and columns
            of their maps; None where it gives all that the network gives.
        is_peer: Neither an engine nor a reference: timed and compared, and not judged.
    """

    name: str
    backend: str
    precision: str
    batch: int
    session: Runner
    is_reference: bool = False
    is_default: bool = False
    stand_in: str = ""
    device: str = "cpu"
    recorded: Mapping[str, int] | None = None
    is_peer: bool = False

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU computes."""
        return self.session.device.startswith("cuda")

    @property
    def device_ms(self) -> Callable[[Feed], float] | None:
        """Times the network by the GPU's own clock, where the session can."""
        is_timed = self.on_gpu and not self.stand_in
        return getattr(self.session, "device_ms", None) if is_timed else None


def compare(
    contenders: Sequence[Contender],
    dataset: Dataset,
    options: CompareOptions,
    facts: ReportFacts,
    *,
    progress: Progress | None = None,
) -> BenchReport:
    """Measure open sessions against those of them that are references.

    Args:
        contenders: One with ``is_reference`` for each kind of device. Results are compared with
            those of the first, times with those of the one on the same device.
        dataset: The images, with annotations and spacing where it has them.
        progress: Called with (done, expected) images and rounds together.

    Raises:
        DataError: An empty data set, or annotations that do not fit the network.
        ModelError: The network gives nothing that could be compared.
    """
    spec, load = contenders[0].session.spec, load_average()
    images, tell = _check(spec, dataset, options), progress or (lambda *_: None)
    dataset = spread_out(dataset, images)  # the first of a sorted folder may all be one patient's
    found, timed = _accuracy_pass(
        contenders, dataset, options.parts, lambda n: tell(n, images + options.rounds)
    )
    clocks = watch_gpu(any(contender.on_gpu for contender in contenders))
    timings, failures = _timed_together(
        *(contenders, found.failures, timed, options),
        lambda done, rounds: tell(images + done, images + rounds),
    )
    clocks = clocks.ended() if clocks else None
    found.failures = failures
    contenders = [each for each in contenders if each.name not in failures]
    facts = replace(facts, peers={**facts.peers, **failures})
    rows = _rows(contenders, found.records(options.seed), timings, options.limits)
    conditions = describe_conditions(
        rows, options, data=dataset.source, images=images, facts=facts, load=load
    )
    return BenchReport(
        machine=describe_machine().to_dict(),
        versions=package_versions(),
        model=_model(spec) | dict(facts.model),
        conditions=conditions | conditions_of_gpu(clocks, _run_facts(contenders)),
        rows=rows,
        latency_budget_ms=options.latency_budget_ms,
        warnings=(*facts.warnings, *find_warnings(rows, load=load, clocks=clocks)),
        beside={name: timings[name, "engine"] for name in options.beside},
        **_in_detail(found, options),
    )


def _in_detail(found: AccuracyPass, options: CompareOptions) -> dict[str, Any]:
    """What a report says beyond its rows: landmarks, quantities and the worst cases."""
    return {
        "cohort": found.cohort(),
        "details": found.agreements(options.seed, options.quantities),
        "quantities": found.measurable(options.quantities),
        "map_cases": found.worst_maps.ranked(),
    }


def _check(spec: ModelSpec, dataset: Dataset, options: CompareOptions) -> int:
    """How many images there are to compare on."""
    check_judged(spec, f"bench of {spec.family}")
    images = min(options.images, len(dataset))
    if images < 1:
        raise DataError(
            "bench", got=f"{images} images", expected="at least one", fix="Give --data."
        )
    return images


def _accuracy_pass(
    contenders: Sequence[Contender],
    dataset: Dataset,
    parts: Callable[[int, int], Iterator[AccuracyPart]] | None,
    progress: Callable[[int], None],
) -> tuple[AccuracyPass, list[tuple[Image, ...]]]:
    """What every contender finds beside the reference, and the cases to time with."""
    step, images = max(contender.batch for contender in contenders), len(dataset)
    found = AccuracyPass(contenders, dataset.source)
    timed: list[tuple[Image, ...]] = []
    if parts is not None:
        done = 0
        for part in parts(images, step):
            found.take(part)
            done += part.images
            progress(done)
        return found, [dataset[i].images for i in range(min(TIMED_IMAGES, images))]
    for first in range(0, images, step):
        samples = [dataset[i] for i in range(first, min(first + step, images))]
        timed += [sample.images for sample in samples[: max(0, TIMED_IMAGES - len(timed))]]
        found.add(samples)
        progress(first + len(samples))
    return found, timed


def _timed_together(
    contenders: Sequence[Contender],
    failed: Mapping[str, str],
    cases: Sequence[tuple[Image, ...]],
    options: CompareOptions,
    progress: Progress,
) -> tuple[dict[tuple[str, Scope], Timings], dict[str, str]]:
    """The times of all, and the peers that failed now or before, with the reason.

    Where one fails, the rounds begin anew without it: all times of a report are from the same ones.
    """
    failures = dict(failed)
    while True:
        running = [c for c in contenders if not (c.stand_in or c.name in failures)]
        try:
            return _timing_pass(running, cases, options, progress), failures
        except PeerFailedError as error:
            failures[error.name] = error.reason


def _timing_pass(
    contenders: Sequence[Contender],
    cases: Sequence[tuple[Image, ...]],
    options: CompareOptions,
    progress: Progress,
) -> dict[tuple[str, Scope], Timings]:
    """Both scopes of every contender, in one interleaving."""
    spec = contenders[0].session.spec
    feeds = [prepare(case, spec)[0] for case in cases]  # (C, H, W) each
    by_device = _clocks(contenders)
    calls: dict[str, Callable[[], object]] = {}
    keys: dict[str, tuple[str, Scope]] = {}
    for contender in contenders:
        makers = {
            "engine": _engine_call(contender, feeds, by_device[contender.name]),
            "end_to_end": _whole_call(contender, cases),
        }
        for scope in SCOPES:
            keys[f"{contender.name} {scope}"] = (contender.name, scope)
            calls[f"{contender.name} {scope}"] = makers[scope]
    for name, call in options.beside.items():
        keys[name], calls[name] = (name, "engine"), call
    timings = interleave(calls, options, progress=progress)
    return {keys[name]: found for name, found in timings.items()}


def _clocks(contenders: Sequence[Contender]) -> dict[str, Clock]:
    """Whose clock times the engine of each; those on a GPU all have the same, to be comparable."""
    on_gpu = [each for each in contenders if each.on_gpu and not each.stand_in]
    all_can = all(each.device_ms is not None for each in on_gpu)
    return {each.name: "device" if each in on_gpu and all_can else "wall" for each in contenders}


def _engine_call(contender: Contender, feeds: Sequence[Feed], clock: Clock) -> Callable[[], object]:
    groups = [stack(group) for group in _groups(feeds, contender.batch)]  # (B, C, H, W)
    turn = itertools.cycle(groups)
    device_ms = contender.device_ms
    if clock == "device" and device_ms is not None:
        return OwnClock(_watched(contender, lambda: device_ms(next(turn))))
    return _watched(contender, lambda: contender.session.infer(next(turn)))


def _whole_call(contender: Contender, cases: Sequence[tuple[Image, ...]]) -> Callable[[], object]:
    if contender.batch == 1:
        one = itertools.cycle(cases)
        return _watched(contender, lambda: contender.session.run(*next(one)))
    many = itertools.cycle(list(_groups(cases, contender.batch)))
    return _watched(contender, lambda: contender.session.run_batch(next(many)))


def _watched(contender: Contender, call: Callable[[], T]) -> Callable[[], T]:
    """The call; of a peer, with errors that say whose they are."""
    return watched(contender.name, call) if contender.is_peer else call


def _groups(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    """As many groups of ``size`` as there are items, wrapping around."""
    for first in range(len(items)):
        yield [items[(first * size + k) % len(items)] for k in range(size)]


def _rows(
    contenders: Sequence[Contender],
    accuracies: Mapping[str, AccuracyRecord],
    timings: Mapping[tuple[str, Scope], Timings],
    limits: Limits,
) -> tuple[Row, ...]:
    first = _reference(contenders)
    references = {c.device: c for c in contenders if c.is_reference}
    clocks = _clocks(contenders)
    rows = []
    for contender in sorted(contenders, key=lambda c: (not c.is_reference, c.is_peer)):
        accuracy = accuracies[contender.name]
        is_judged = not (contender.is_reference or contender.is_peer)
        reference = references.get(contender.device, first)
        for scope in SCOPES:
            times = timings.get((contender.name, scope))
            against = timings.get((reference.name, scope))
            alike = scope != "engine" or clocks[contender.name] == clocks[reference.name]
            ratio = None
            if alike and times is not None and against is not None and not contender.is_reference:
                per_call = speedup(against, times)
                ratio = per_call * contender.batch / reference.batch
            row = Row(
                scope=scope,
                timings=times,
                accuracy=accuracy,
                speedup_vs_reference=ratio,
                speedup_vs_torch=ratio if reference.backend == "pytorch" else None,
                gate=limits.judge(accuracy, contender.precision) if is_judged else None,
                timed_by=clocks[contender.name] if scope == "engine" else "wall",
                **_who(contender),
            )
            rows.append(row)
    return tuple(rows)


def _who(contender: Contender) -> dict[str, Any]:
    """What a row says of a contender, whatever was measured."""
    same = ["name", "backend", "precision", "batch"]
    same += ["is_reference", "is_default", "is_peer", "stand_in"]
    session = contender.session
    told = {name: getattr(contender, name) for name in same}
    return told | {"threads": session.threads, "device": session.device}


def _run_facts(contenders: Sequence[Contender]) -> dict[str, Mapping[str, str]]:
    """How each network runs, by its contender's name."""
    return {each.name: dict(getattr(each.session, "facts", {})) for each in contenders}


def _reference(contenders: Sequence[Contender]) -> Contender:
    """The one that results are compared with."""
    return next(contender for contender in contenders if contender.is_reference)


def _model(spec: ModelSpec) -> dict[str, Any]:
    return {
        "family": spec.family,
        "inputs": {
            each.name: {"size": list(each.size), "channels": each.channels} for each in spec.inputs
        },
        "outputs": {output.name: output.kind for output in spec.outputs},
        "landmarks": list(spec.landmarks),
        "decode": spec.decode.method,
    }
