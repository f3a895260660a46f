"""The bars of a GPU, each with what the suite's steps found of it, or why it was not tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.gpu_plan import SANITIZERS
from experiments.gpu_steps import StepRecord

SOAK_RUNS = 100_000


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
    """The best engine on a GPU; of the demo network, since ``base`` takes too long to build."""
    report = result.get("bench_compiled") or result["bench"]
    rows = [row for row in report["rows"] if row["scope"] == "end_to_end" and row["runs"]]
    on_gpu = [row for row in rows if row["device"].startswith("cuda")]
    engines = [row for row in on_gpu if not (row["reference"] or row["peer"])]
    if not engines:
        return "no engine of a bundle ran on the GPU"
    best = min(engines, key=lambda row: row["p50_ms"])
    compiled = [row for row in on_gpu if row["name"] in ("torch-compile", "torch-compile-quick")]
    got = f"{best['name']} of {report['model']['family']}: p99 {best['p99_ms']:.3g} ms"
    if not compiled:
        peers = report.get("conditions", {}).get("peers", {})
        why = result.get("compile_note") or peers.get("torch-compile") or "no reason is known"
        return f"{got}; torch-compile has no row: {why}"
    ratio = compiled[0]["p50_ms"] / best["p50_ms"]
    return f"{got}, {ratio:.2f} times as fast as {compiled[0]['name']}", best[
        "p99_ms"
    ] < 5 and ratio > 1


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
