from __future__ import annotations

import gc
import itertools
import math
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mahtrt.measure.timing import TimingOptions, Timings, interleave, speedup, wait_until_idle

durations = st.lists(st.floats(0.001, 1e4), min_size=1, max_size=300)


class Clock:
    """Nanoseconds that pass only when somebody works or sleeps."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now

    def work(self, ms: float) -> None:
        self.now += round(ms * 1e6)


def rests() -> bool:
    return True


@given(durations, st.sampled_from([50, 90, 95, 99]))
def test_percentile_is_a_sample_that_enough_do_not_exceed(values: list[float], q: int) -> None:
    found = Timings(tuple(values)).percentile_ms(q)
    assert found in values
    assert sum(value <= found for value in values) >= math.ceil(q * len(values) / 100)
    assert sum(value < found for value in values) < q * len(values) / 100


@given(durations)
def test_percentiles_are_ordered(values: list[float]) -> None:
    t = Timings(tuple(values))
    assert min(values) <= t.p50_ms <= t.p90_ms <= t.p95_ms <= t.p99_ms <= t.max_ms
    if t.runs < 100:
        assert t.p99_ms == t.max_ms


def test_p99_of_a_hundred_leaves_the_worst_out() -> None:
    assert Timings(tuple(float(i) for i in range(1, 101))).p99_ms == 99


def test_every_callable_is_measured_in_every_round_in_changing_order() -> None:
    clock, calls = Clock(), list[str]()

    def work(name: str, ms: float) -> object:
        calls.append(name)
        clock.work(ms)
        return name

    timings = interleave(
        {"a": lambda: work("a", 1), "b": lambda: work("b", 2), "c": lambda: work("c", 3)},
        TimingOptions(warmup=2, rounds=60, rest=rests),
        clock=clock,
    )
    assert {name: t.samples_ms for name, t in timings.items()} == {
        "a": (1.0,) * 60,
        "b": (2.0,) * 60,
        "c": (3.0,) * 60,
    }
    timed = [tuple(calls[i : i + 3]) for i in range(6, len(calls), 3)]
    assert all(sorted(order) == ["a", "b", "c"] for order in timed)
    assert len(set(timed)) == 6  # every order came up
    assert min(Counter(order[0] for order in timed).values()) >= 10


def test_order_is_the_same_for_the_same_seed() -> None:
    def order(seed: int) -> str:
        clock, calls = Clock(), list[str]()
        interleave(
            {name: partial(calls.append, name) for name in "abcd"},
            TimingOptions(rounds=8, seed=seed, rest=rests),
            clock=clock,
        )
        return "".join(calls)

    assert order(1) == order(1) != order(2)


def test_stops_at_max_seconds_but_measures_once() -> None:
    clock = Clock()
    slow = {"slow": lambda: clock.work(10_000)}
    few = interleave(slow, TimingOptions(warmup=1, max_seconds=35, rest=rests), clock=clock)
    assert few["slow"].runs == 3
    once = interleave(slow, TimingOptions(warmup=9, max_seconds=5, rest=rests), clock=clock)
    assert once["slow"].runs == 1


def test_goes_on_until_min_seconds() -> None:
    clock = Clock()
    timings = interleave(
        {"fast": lambda: clock.work(100)},
        TimingOptions(warmup=0, rounds=2, min_seconds=1, rest=rests),
        clock=clock,
    )
    assert timings["fast"].runs == 10


@pytest.mark.parametrize("busy_steps", [0, 1, 7, 100])
def test_waits_until_the_process_rests(busy_steps: int) -> None:
    cpu, slept = Clock(), []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        cpu.work(2.0 if len(slept) <= busy_steps else 0.1)  # a thread spins, then stops

    rested = wait_until_idle(step_s=0.002, limit_s=0.1, cpu_clock=cpu, sleep=sleep)
    assert rested is (busy_steps < 50)
    assert len(slept) == min(busy_steps + 1, 50)


def test_a_thread_that_spins_is_noticed() -> None:
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            pass

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        # On a crowded machine the thread itself may wait for a step or two.
        assert not all(wait_until_idle(limit_s=0.004) for _ in range(50))
    finally:
        stop.set()
        thread.join()
    assert wait_until_idle(limit_s=5)


def test_who_does_not_come_to_rest_is_named() -> None:
    clock, last = Clock(), [""]
    timings = interleave(
        {name: partial(last.__setitem__, 0, name) for name in ("calm", "spins")},
        TimingOptions(rounds=20, rest=lambda: last[0] != "spins"),
        clock=clock,
    )
    assert timings["calm"].restless == 0
    assert timings["spins"].restless >= 18
    slowed = "stay busy after a call"
    assert any(
        slowed in warning.text
        for warning in replace(timings["spins"], samples_ms=(1.0,) * 20).warnings()
    )
    calm = replace(timings["calm"], samples_ms=(1.0,) * 20)
    assert not any(slowed in warning.text for warning in calm.warnings())


def test_progress_ends_complete() -> None:
    clock, told = Clock(), []
    interleave(
        {"a": lambda: clock.work(1)},
        TimingOptions(rounds=3, rest=rests),
        clock=clock,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_collector_rests_and_comes_back_even_after_a_failure() -> None:
    states = []

    def fail() -> None:
        states.append(gc.isenabled())
        raise RuntimeError("engine")

    with pytest.raises(RuntimeError, match="engine"):
        interleave({"a": fail})
    assert states == [False]
    assert gc.isenabled()


def test_nothing_to_time_is_refused() -> None:
    with pytest.raises(ValueError, match="0 callables"):
        interleave({})
    with pytest.raises(ValueError, match="0 rounds"):
        interleave({"a": lambda: None}, TimingOptions(rounds=0))


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=50), st.floats(0.5, 20))
def test_drift_that_both_share_does_not_change_the_speedup(
    drift: list[float], ratio: float
) -> None:
    reference = Timings(tuple(ratio * d for d in drift))
    assert speedup(reference, Timings(tuple(drift))) == pytest.approx(ratio)


def test_warnings_say_what_is_wrong_with_the_numbers() -> None:
    assert Timings((1.0,) * 100).warnings() == []
    (few,) = Timings((1.0,) * 10).warnings()
    assert few.text == "only 10 runs: p99 is the maximum"
    assert "p90 is 3.0 times p50" in Timings((1.0, 1.0, 1.0, 3.0) * 25).warnings()[0].text
    assert "from 1 to 1.4 ms" in Timings((1.0,) * 50 + (1.4,) * 50).warnings()[0].text


def settled(times_ms: Callable[[int], float], **options: Any) -> Timings:
    clock, calls = Clock(), itertools.count()
    asked: dict[str, Any] = {
        "warmup": 0,
        "rounds": 40,
        "most_rounds": 160,
        "settle": 0.05,
        "rest": rests,
    }
    how = TimingOptions(**(asked | options))
    return interleave({"a": lambda: clock.work(times_ms(next(calls)))}, how, clock=clock)["a"]


def test_rounds_follow_until_the_last_windows_agree() -> None:
    found = settled(lambda call: 10.0 if call < 30 else 20.0)
    assert 40 < found.runs < 160
    assert not found.unstable
    assert found.window_spread == 0
    assert settled(lambda _: 10.0).runs == 40


def test_what_never_settles_is_told_unstable_with_the_spread() -> None:
    found = settled(lambda call: 10.0 * 1.01**call)
    assert found.runs == 160
    assert found.unstable
    assert found.window_spread is not None
    assert found.window_spread > 0.4
    (warning,) = (w for w in found.warnings() if w.kind == "unstable")
    told = "unstable: p50 of the last 3 windows of rounds differs by "
    assert warning.text == f"{told}{100 * found.window_spread:.0f}%"


def test_nobody_waits_where_nobody_asked_or_the_time_is_up() -> None:
    drifting = settled(lambda call: 10.0 * 1.01**call, settle=None)
    assert (drifting.runs, drifting.unstable) == (40, False)
    short = settled(lambda call: 10.0 * 1.01**call, max_seconds=0.8)
    assert 40 < short.runs < 160
    assert short.unstable


def test_a_few_rounds_have_no_windows() -> None:
    found = settled(lambda call: 10.0 + call, rounds=12, most_rounds=12)
    assert (found.window_spread, found.unstable) == (None, False)
    assert Timings((0.0,) * 40).window_spread is None
