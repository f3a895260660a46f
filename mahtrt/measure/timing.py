"""Interleaved timing: every callable once per round, in a new order each round.

Machines drift (temperature, other processes, memory). Timed one after the other, two callables
see two machines; interleaved, they see the same one, and a ratio per round cancels what both
shared. Percentiles are nearest-rank: with fewer than 100 runs p99 *is* the maximum.

What another device computes can be timed by that device's clock: see :class:`OwnClock`.

Runtimes leave threads spinning after a call (PyTorch for some ms, ONNX Runtime by default for
more than 50 ms, on a core each). They would steal from whatever is timed next, so each timed call
waits until the process is at rest.
"""

from __future__ import annotations

import gc
import itertools
import math
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

Progress = Callable[[int, int], None]

NOISY_RATIO = 1.5
DRIFT_RATIO = 1.2
RUNS_FOR_P99 = 100
IDLE_STEP_S = 0.002
IDLE_LIMIT_S = 0.1
IDLE_SHARE = 0.25  # of one core, over a step
WINDOWS = 3  # of rounds next to each other, the last ones, whose medians are held together
LEAST_WINDOW = 10  # rounds


@dataclass(frozen=True, slots=True)
class Timings:
    """How long one callable took, round by round.

    Attributes:
        samples_ms: One duration per round, in the order of the rounds.
        restless: After how many calls its threads did not come to rest.
        unstable: Whether the medians of the last windows of rounds still differed when the time was
            up; False too where nobody asked.
    """

    samples_ms: tuple[float, ...]
    restless: int = 0
    unstable: bool = False

    @property
    def runs(self) -> int:
        return len(self.samples_ms)

    @property
    def mean_ms(self) -> float:
        return statistics.fmean(self.samples_ms)

    @property
    def max_ms(self) -> float:
        return max(self.samples_ms)

    @property
    def p50_ms(self) -> float:
        return self.percentile_ms(50)

    @property
    def p90_ms(self) -> float:
        return self.percentile_ms(90)

    @property
    def p95_ms(self) -> float:
        return self.percentile_ms(95)

    @property
    def p99_ms(self) -> float:
        return self.percentile_ms(99)

    def percentile_ms(self, percent: int) -> float:
        """The smallest sample that at least ``percent`` of the samples do not exceed."""
        rank = -(-percent * self.runs // 100)  # ceiling, exact in integers
        return sorted(self.samples_ms)[max(rank, 1) - 1]

    @property
    def window_spread(self) -> float | None:
        """By which share the medians of the last windows differ; None of too few rounds."""
        return window_spread(self.samples_ms)

    def warnings(self) -> list[TimingWarning]:
        """What a reader of these numbers has to know."""
        found = []
        if self.runs < RUNS_FOR_P99:
            found.append(TimingWarning(f"only {self.runs} runs: p99 is the maximum"))
        noise = self.p90_ms / self.p50_ms if self.p50_ms else 1.0
        if noise > NOISY_RATIO:
            found.append(_noisy(noise))
        if self.unstable and self.window_spread is not None:
            found.append(_unstable(self.window_spread))
        if 2 * self.restless > self.runs:
            text = "its threads stay busy after a call, which slows what is timed next"
            found.append(TimingWarning(text))
        third = self.runs // 3
        if third >= 5:
            first = statistics.median(self.samples_ms[:third])
            last = statistics.median(self.samples_ms[-third:])
            if max(first, last) > DRIFT_RATIO * min(first, last):
                found.append(_drifting(first, last))
        return found


@dataclass(frozen=True, slots=True)
class TimingWarning:
    """What a reader of a row's times has to know.

    Attributes:
        text: A sentence without a subject.
        of_several: The same of several rows of which this is the worst; "" where all rows have the
            same text.
        size: How bad it is beside others of its kind.
    """

    text: str
    of_several: str = ""
    size: float = 0.0

    @property
    def kind(self) -> str:
        """What it is about: warnings of one kind can be told together."""
        return self.text.partition(":")[0]


def _noisy(ratio: float) -> TimingWarning:
    times, why = f"{ratio:.1f} times p50", "other work shares the machine"
    return TimingWarning(
        f"noisy: p90 is {times}, {why}", f"noisy: p90 is up to {times}, {why}", ratio
    )


def _unstable(spread: float) -> TimingWarning:
    what, size = f"p50 of the last {WINDOWS} windows of rounds differs by", f"{100 * spread:.0f}%"
    return TimingWarning(f"unstable: {what} {size}", f"unstable: {what} up to {size}", spread)


def _drifting(first_ms: float, last_ms: float) -> TimingWarning:
    went = f"p50 went from {first_ms:.3g} to {last_ms:.3g} ms during the run"
    ratio = max(first_ms, last_ms) / min(first_ms, last_ms) if min(first_ms, last_ms) else math.inf
    return TimingWarning(f"drifts: {went}", f"drifts: {went}, in the worst of them", ratio)


def window_spread(samples_ms: Sequence[float]) -> float | None:
    """By which share the medians of the last windows of rounds differ, largest against smallest.

    A window is a quarter of the rounds, so that the first quarter, which may still warm up, is in
    none. None where a window would have fewer than ``LEAST_WINDOW`` rounds, or no time passed.
    """
    size = len(samples_ms) // (WINDOWS + 1)
    if size < LEAST_WINDOW:
        return None
    ends = [len(samples_ms) - size * back for back in range(WINDOWS)]
    medians = [statistics.median(samples_ms[end - size : end]) for end in ends]
    return max(medians) / min(medians) - 1 if min(medians) > 0 else None


@dataclass(frozen=True, slots=True)
class OwnClock:
    """Something to time that times itself, such as work on a GPU between two of its events.

    Attributes:
        run: Does it once, and gives its milliseconds.
    """

    run: Callable[[], float]

    def __call__(self) -> float:
        """See ``run``."""
        return self.run()


def speedup(reference: Timings, candidate: Timings) -> float:
    """How many times faster the candidate is: the median of the ratios of each round.

    Args:
        reference, candidate: From the same :func:`interleave`, so that rounds correspond.
    """
    pairs = zip(reference.samples_ms, candidate.samples_ms, strict=True)
    return statistics.median(theirs / ours for theirs, ours in pairs)


@dataclass(frozen=True, slots=True)
class TimingOptions:
    """How to time.

    Attributes:
        warmup: Untimed rounds before the timed ones.
        rounds: Timed rounds; more follow until ``min_seconds`` have passed, and until all times
            have settled where ``settle`` says so.
        max_seconds: No new round starts after it, but one is always made. Warm-up included.
        seed: Seed of the order within a round.
        settle: Share by which the medians of the last windows of rounds may differ
            (:func:`window_spread`); None does not wait for that.
        most_rounds: With ``settle``, the number of rounds after which it is given up.
        rest: Called before each timed call, and says whether the process came to rest; None is
            :func:`wait_until_idle`.
    """

    warmup: int = 3
    rounds: int = 100
    min_seconds: float = 0.0
    max_seconds: float = 120.0
    seed: int = 0
    settle: float | None = None
    most_rounds: int = 400
    rest: Callable[[], bool] | None = None


def interleave(
    callables: Mapping[str, Callable[[], object]],
    options: TimingOptions | None = None,
    *,
    progress: Progress | None = None,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> dict[str, Timings]:
    """Time every callable once per round, shuffled anew each round.

    Args:
        callables: What to time, by name; an :class:`OwnClock` by its own clock.
        progress: Called after each timed round with (done, expected) rounds.
        clock: Nanoseconds, monotonic.

    Returns:
        Timings by name, all with the same number of runs.

    Raises:
        ValueError: Nothing to time, or ``rounds`` below 1.
    """
    how = options or TimingOptions()
    if not callables or how.rounds < 1:
        raise ValueError(f"interleave: got {len(callables)} callables, {how.rounds} rounds")
    samples: dict[str, list[float]] = {name: [] for name in callables}
    restless = dict.fromkeys(callables, 0)
    order, rng, rest = list(callables), random.Random(how.seed), how.rest or wait_until_idle
    with _collector_off():
        begun = clock()
        previous = _warm_up(callables, how.warmup, begun + how.max_seconds * 1e9, clock)
        for done in itertools.count(1):
            rng.shuffle(order)
            for name in order:
                if not rest() and previous is not None:
                    restless[previous] += 1
                samples[name].append(_timed_ms(callables[name], clock))
                previous = name
            passed = (clock() - begun) / 1e9
            enough = done >= how.rounds and passed >= how.min_seconds
            enough = enough and (done >= how.most_rounds or not _unsettled(samples, how))
            finished = enough or passed >= how.max_seconds
            if progress:
                progress(done, done if finished else max(how.rounds, done + 1))
            if finished:
                break
    unstable = _unsettled(samples, how)
    return {
        name: Timings(tuple(samples[name]), restless[name], name in unstable) for name in callables
    }


def _unsettled(samples: Mapping[str, Sequence[float]], how: TimingOptions) -> set[str]:
    """Those whose medians of the last windows differ by more than they may."""
    if how.settle is None:
        return set()
    spreads = {name: window_spread(found) for name, found in samples.items()}
    return {name for name, found in spreads.items() if found is not None and found > how.settle}


def wait_until_idle(
    *,
    step_s: float = IDLE_STEP_S,
    limit_s: float = IDLE_LIMIT_S,
    cpu_clock: Callable[[], int] = time.process_time_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Sleep until the threads of this process rest.

    Args:
        step_s: Slept at least once.
        limit_s: Slept at most, in all.
        cpu_clock: CPU time of all threads of the process, in nanoseconds.

    Returns:
        Whether they rest: a step went by with less than a quarter of a core used.
    """
    for _ in range(max(1, round(limit_s / step_s))):
        before = cpu_clock()
        sleep(step_s)
        if (cpu_clock() - before) / 1e9 < IDLE_SHARE * step_s:
            return True
    return False


def _warm_up(
    callables: Mapping[str, Callable[[], object]],
    rounds: int,
    deadline_ns: float,
    clock: Callable[[], int],
) -> str | None:
    """Untimed rounds, and the name of the last callable of them."""
    if rounds < 1:
        return None
    for _ in range(rounds):
        for call in callables.values():
            call()
        if clock() >= deadline_ns:
            break
    return list(callables)[-1]


def _timed_ms(call: Callable[[], object], clock: Callable[[], int]) -> float:
    if isinstance(call, OwnClock):
        return call()
    start = clock()
    result = call()
    end = clock()
    del result  # freed here, outside the timed region
    return (end - start) / 1e6


@contextmanager
def _collector_off() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
