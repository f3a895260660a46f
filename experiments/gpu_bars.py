"""The bars of a GPU, each with what the suite's steps found of it, or why it was not tried."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.gpu_plan import SANITIZERS
from experiments.gpu_steps import StepRecord

SOAK_RUNS = 100_000
BASE, MOST_OVERHEAD = "maht-net/base", 1.15
# How to try what takes too long for the suite.
BASE_COMMAND = f"python experiments/gpu_bench.py --model {BASE} --out FILE"
# Beginnings of the names of the tests that decide a bar.
THREADS = ("tests/runtime/test_gpu_session.py::test_threads_get_the_bits_of_a_serial_run[real]",)
DEFINITIONS = (
    "tests/cuda/test_soft_argmax_fused.py::test_kernel_is_the_definition_on_a_gpu",
    "tests/cuda/test_dark_kernel.py::test_on_a_gpu_the_kernel_is_its_definition",
)


@dataclass(frozen=True, slots=True)
class BarRecord:
    """One bar.

    Attributes:
        bar: What has to hold.
        got: What was found, in words; "" where it was not tried.
        held: None where it was not tried, or not to its end.
        reason: Why it was not.
    """

    bar: str
    got: str = ""
    held: bool | None = None
    reason: str = ""


def bars_of(steps: Sequence[StepRecord]) -> tuple[BarRecord, ...]:
    """All bars, in the order of the issue that set them."""
    by_name = {step.name: step for step in steps}
    sanitizers = [by_name.get(name) for name in SANITIZERS]
    return (
        _bar("soft-argmax of 64x7 maps of 512x512 in FP16 at 85% of the copy bandwidth or more",
             by_name.get("bandwidth"), _share),
        _bar("soft-argmax at 5 times the speed of eager PyTorch or more",
             by_name.get("bandwidth"), _speedup),
        _bar("preprocessing of 2400x1935 uint8 in less than 0.1 ms",
             by_name.get("preprocess"), _preprocess),
        _bar("an engine's end-to-end p99 under 5 ms, and faster than torch.compile",
             by_name.get("bench"), _end_to_end),
        _bar(f"end to end within {MOST_OVERHEAD} times engine time plus bytes copied",
             by_name.get("bench"), functools.partial(_overhead, by_name.get("preprocess"))),
        _bar(f"both of these for {BASE}", by_name.get("bench"), _base),
        _bar("8 threads of 1,000 runs each equal to serial runs bit for bit",
             by_name.get("tests"), functools.partial(_of_tests, THREADS)),
        _bar("kernels within 1e-3 px of their definition on FP32 maps, 2e-2 px on FP16",
             by_name.get("tests"), functools.partial(_of_tests, DEFINITIONS)),
        _sanitized("compute-sanitizer finds nothing", sanitizers),
        _bar("every test marked gpu passes", by_name.get("tests"), _tests),
        _bar(f"{SOAK_RUNS} runs without growth", by_name.get("soak"), _soak),
    )  # fmt: skip


def line_of(bar: BarRecord) -> str:
    """A bar in a line."""
    verdict = {True: "held", False: "NOT HELD", None: "not run"}[bar.held]
    return f"{verdict:<9} {bar.bar}: {bar.got or bar.reason}"


def _bar(
    text: str, step: StepRecord | None, judge: Callable[[Mapping[str, Any]], tuple[str, bool] | str]
) -> BarRecord:
    """A bar that one step's own JSON decides; ``judge`` gives what was found, or why nothing."""
    if step is None:
        return BarRecord(text, reason="the step was not asked for")
    found: tuple[str, bool] | str
    try:
        found = judge(step.result) if step.result else step.reason or step.status
    except (KeyError, TypeError, IndexError) as error:
        found = f"the step's JSON lacks {error}"
    if isinstance(found, str):
        return BarRecord(text, reason=found)
    return BarRecord(text, found[0], found[1])


def _share(result: Mapping[str, Any]) -> tuple[str, bool]:
    bar = result["bars"]["share_of_copy"]
    return f"{bar['got']:.1%} of {result['copy_gb_per_s']} GB/s", bar["got"] >= bar["least"]


def _speedup(result: Mapping[str, Any]) -> tuple[str, bool] | str:
    bar = result["bars"]["speedup_over_eager"]
    if bar["got"] is None:
        return str(result["rows"][0]["no_eager"])
    return f"{bar['got']:.2f} times", bar["got"] >= bar["least"]


def _preprocess(result: Mapping[str, Any]) -> tuple[str, bool]:
    return f"{result['kernel_ms']} ms", bool(result["bar"]["held"])


def _end_to_end(result: Mapping[str, Any]) -> tuple[str, bool] | str:
    """The best engine on a GPU, beside ``torch.compile``."""
    report = result.get("bench_compiled") or result["bench"]
    best = _best(report)
    if best is None:
        return "no engine of a bundle ran on the GPU"
    peers = [row for row in _timed(report, "end_to_end") if row["peer"]]
    compiled = [row for row in peers if row["name"] in ("torch-compile", "torch-compile-quick")]
    got = f"{best['name']} of {report['model']['family']}: p99 {best['p99_ms']:.3g} ms"
    if not compiled:
        reasons = report.get("conditions", {}).get("peers", {})
        why = result.get("compile_note") or reasons.get("torch-compile") or "no reason is known"
        return f"{got}; torch-compile has no row: {why}"
    ratio = compiled[0]["p50_ms"] / best["p50_ms"]
    got = f"{got}, {ratio:.2f} times as fast as {compiled[0]['name']}"
    return got, best["p99_ms"] < 5 and ratio > 1


def _overhead(preprocess: StepRecord | None, result: Mapping[str, Any]) -> tuple[str, bool] | str:
    """The best engine's time from pixels to landmarks, beside what has to be."""
    best = _best(result["bench"])
    if best is None:
        return "no engine of a bundle ran on the GPU"
    engine = [row for row in _timed(result["bench"], "engine") if row["name"] == best["name"]]
    if not engine or engine[0]["timed_by"] != "device":
        return f"the GPU's events did not time {best['name']}"
    if preprocess is None or not preprocess.result:
        return "the step preprocess did not say how fast this machine copies"
    known = preprocess.result
    ms_per_byte = max(known["with_copy_ms"] - known["kernel_ms"], 0) / math.prod(known["image"])
    copy_ms = ms_per_byte * result["image_bytes"]
    ratio = best["p50_ms"] / (engine[0]["p50_ms"] + copy_ms)
    got = (
        f"{best['name']} of {result['network']}: {best['p50_ms']:.3g} ms is {ratio:.2f} times "
        f"{engine[0]['p50_ms']:.3g} ms of engine and {copy_ms:.3g} ms of copies"
    )
    return got, ratio <= MOST_OVERHEAD


def _base(result: Mapping[str, Any]) -> tuple[str, bool] | str:
    """The suite has no time to build the large network."""
    if result["network"] == BASE:
        return "see the lines above: they are of it"
    return f"the suite benches {result['network']}; try {BASE_COMMAND}"


def _timed(report: Mapping[str, Any], scope: str) -> list[Mapping[str, Any]]:
    """Rows of a scope that were timed on a GPU."""
    rows = [row for row in report["rows"] if row["scope"] == scope and row["runs"]]
    return [row for row in rows if row["device"].startswith("cuda")]


def _best(report: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The fastest engine of the bundle on a GPU, end to end."""
    rows = [row for row in _timed(report, "end_to_end") if not (row["reference"] or row["peer"])]
    return min(rows, key=lambda row: float(row["p50_ms"]), default=None)


def _of_tests(names: Sequence[str], result: Mapping[str, Any]) -> tuple[str, bool] | str:
    """What became of the tests whose names begin so; each name needs one that passed."""
    reasons, passed = list[str](), 0
    for name in names:
        # A file that cannot be imported is noted by its own name.
        ran = [
            each
            for each in result["tests"]
            if each["test"].startswith(name) or name.startswith(each["test"] + "::")
        ]
        failed = [each for each in ran if each["status"] == "failed"]
        if failed:
            return f"{len(failed)} failed, first {failed[0]['test']}: {failed[0]['reason']}", False
        not_run = [each for each in result.get("not_run", ()) if each.startswith(name)]
        good = sum(each["status"] == "passed" for each in ran)
        passed += good
        if not_run:
            reasons.append(f"no time for {len(not_run)} tests, first {not_run[0]}")
        elif not good:
            reasons.append(ran[0]["reason"] if ran else f"{name} was not run")
    return "; ".join(reasons) or (f"{passed} tests passed", True)


def _sanitized(text: str, steps: Sequence[StepRecord | None]) -> BarRecord:
    ran = [step for step in steps if step is not None and step.result.get("tests")]
    if not ran:
        return BarRecord(
            text, reason=next((each.reason for each in steps if each), "not asked for")
        )
    told = ", ".join(f"{each.name} {each.result.get('sanitizer_errors', 0)} errors" for each in ran)
    failed = [f"{each.name}: {each.reason}" for each in ran if each.status == "failed"]
    if failed:
        return BarRecord(text, "; ".join([told, *failed]), False)
    whole = [each for each in ran if each.status == "passed" and each.result.get("passed")]
    if len(whole) == len(steps):
        return BarRecord(text, told, True)
    rest = [each for each in steps if each is not None and each not in whole]
    reasons = [f"{each.name}: {each.reason or 'all skipped'}" for each in rest]
    return BarRecord(text, reason="; ".join([told, *reasons]))


def _tests(result: Mapping[str, Any]) -> tuple[str, bool] | str:
    passed, failed, skipped = (result[name] for name in ("passed", "failed", "skipped"))
    if not passed and not failed:
        return f"all {skipped} skipped"
    got = f"{passed} passed, {failed} failed, {skipped} skipped"
    if result.get("incomplete") and not result["problem"]:
        return f"{got}; {result['incomplete']}"
    return got, not failed and not result["problem"]


def _soak(result: Mapping[str, Any]) -> tuple[str, bool] | str:
    if "runs" not in result:
        return str(result["problem"])
    got = f"{result['runs']} runs of {result['what']}: {result['problem'] or 'steady'}"
    return got, result["runs"] >= SOAK_RUNS and not result["problem"]
