"""Whether a bench can be trusted with a comparison, tried on a real machine.

    python experiments/bench_trials.py nano.mahtrt --trials 10 --out benchmarks/results/trials.json

Each trial benches a bundle three times: A, then B of the unchanged build with A as its baseline,
then C with every engine slowed by a tenth, with A as its baseline. The slowdown is planted in the
session: each call is made, and then its own measured time times the share is burned on top. The
trial holds where every engine's rows are "no difference" in B and "worse" in C. How far the ratios
to the reference of A and B differ is noted too: the bar is 5%. The document is written after every
trial, so that an interrupted run leaves what it found.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mahtrt.atomic import write_text_atomic
from mahtrt.benchmarks import bench as bench_module
from mahtrt.benchmarks.options import BenchOptions
from mahtrt.benchmarks.report import BenchReport
from mahtrt.machine import describe_machine, load_average, package_versions
from mahtrt.scratch import temporary_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = "mahtrt.bench-trials/1"
PLANTED = 0.10
AGREE = 0.05
SLOWED = ("run", "run_batch", "infer")

_BENCH: Any = bench_module  # where another opener of engines is put in


class SlowSession:
    """A session whose calls take a share of their own time longer.

    Args:
        session: The real one, which has everything else.
        share: Of each call's measured time.
    """

    def __init__(self, session: Any, share: float) -> None:
        self._session, self._share = session, share

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._session, name)
        return self._slowed(found) if name in SLOWED else found

    def _slowed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def slow(*arguments: Any, **options: Any) -> Any:
            begun = time.perf_counter()
            result = call(*arguments, **options)
            until = time.perf_counter() + self._share * (time.perf_counter() - begun)
            while time.perf_counter() < until:
                pass
            return result

        return slow


@contextmanager
def slowed_engines(share: float) -> Iterator[None]:
    """Let a bench open engines that are slower by a share; the reference stays as it is."""
    real = _BENCH.open_engine

    def open_slow(*arguments: Any, **options: Any) -> Any:
        return SlowSession(real(*arguments, **options), share)

    _BENCH.open_engine = open_slow
    try:
        yield
    finally:
        _BENCH.open_engine = real


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", default="phantom:8@1")
    parser.add_argument("--engine", action="append", default=None)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--planted", type=float, default=PLANTED)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    options = BenchOptions(
        given.bundle,
        data=given.data,
        engines=tuple(given.engine) if given.engine else None,
        rounds=given.rounds,
        latency_budget_ms=None,
        cold_starts=0,
    )
    trials: list[dict[str, Any]] = []
    for number in range(given.trials):
        trials.append(trial(options, given.planted, seed=number))
        document = summary(trials, options, given.planted)
        write_text_atomic(given.out, json.dumps(document, indent=2) + "\n")
        print(json.dumps(document["verdict"]))


def trial(options: BenchOptions, planted: float, seed: int) -> dict[str, Any]:
    """A, B and C once.

    Args:
        seed: Of the order of the rounds; that of B and C differs from A's.
    """
    load = load_average()
    with temporary_folder() as folder:
        saved = folder / "a.json"
        first = run(options, seed=3 * seed)
        write_text_atomic(saved, json.dumps(first.to_dict()))
        same = run(options, seed=3 * seed + 1, baseline=saved)
        with slowed_engines(planted):
            slower = run(options, seed=3 * seed + 2, baseline=saved)
    return {
        "load_average": None if load is None else list(load),
        "rounds": [report.conditions["rounds"] for report in (first, same, slower)],
        "ratios_differ": differences(first, same),
        "unchanged": changes(same),
        "slowed": changes(slower),
    }


def run(options: BenchOptions, *, seed: int, baseline: Path | None = None) -> BenchReport:
    """One bench."""
    return bench_module.bench(replace(options, seed=seed, baseline=baseline))


def changes(report: BenchReport) -> list[dict[str, Any]]:
    """What the comparison with the baseline says of every engine's rows."""
    engines = {row.name for row in report.rows if row.is_engine}
    return [
        {
            "name": change.name,
            "scope": change.scope,
            "verdict": change.verdict,
            "percent": change.percent,
            "interval": change.interval,
            "reason": change.reason,
        }
        for change in report.changes
        if change.name in engines
    ]


def differences(first: BenchReport, second: BenchReport) -> dict[str, float]:
    """By which share the ratio to the reference of each engine's row differs, later by earlier."""
    before, after = ratios(first), ratios(second)
    return {name: after[name] / before[name] - 1 for name in before if name in after}


def ratios(report: BenchReport) -> dict[str, float]:
    """``vs ref`` of every engine's row."""
    return {
        f"{row.name} {row.scope}": row.speedup_vs_reference
        for row in report.rows
        if row.is_engine and row.speedup_vs_reference is not None
    }


def summary(trials: list[dict[str, Any]], options: BenchOptions, planted: float) -> dict[str, Any]:
    """The document: verdict, conditions and every trial."""
    calm = sum(_all(each, "unchanged", "no difference") for each in trials)
    largest = [max(map(abs, each["ratios_differ"].values()), default=0.0) for each in trials]
    return {
        "schema": SCHEMA,
        "verdict": {
            "trials": len(trials),
            "unchanged_no_difference": calm,
            "slowed_worse": sum(_all(each, "slowed", "worse") for each in trials),
            "ratios_within_5_percent": sum(each <= AGREE for each in largest),
            "largest_difference": max(largest),
        },
        "planted": planted,
        "bundle": options.bundle.name,
        "data": str(options.data),
        "rounds": options.rounds,
        "settle": options.settle,
        "machine": describe_machine().to_dict(),
        "versions": package_versions(),
        "trials": trials,
    }


def _all(found: Mapping[str, Any], which: str, verdict: str) -> bool:
    rows = found[which]
    return bool(rows) and all(row["verdict"] == verdict for row in rows)


if __name__ == "__main__":
    main()
