"""Which engine of a bundle runs: the one asked for, the default, or what stands in for it.

A kind of device that the caller requires is a condition on all of these: where a GPU is required,
an engine on a CPU is never chosen, and the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Literal, get_args

from mahtrt.bundle.bundle import Bundle
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.errors import MissingComponentError, UsageError, some_of
from mahtrt.targets.table import all_targets, find_target

Require = Literal["any", "gpu", "cpu"]
# What kinds of device are called in a sentence, and by targets.
_IN_WORDS = {"gpu": "a GPU", "cpu": "a CPU"}
_DEVICES = {"gpu": "cuda", "cpu": "cpu"}


def choose_engine(
    bundle: Bundle, engine: str | None = None, require: Require = "any"
) -> tuple[EngineRecord, str | None]:
    """Choose the engine that is opened.

    Args:
        engine: Name of an engine or of a target; None is the bundle's default, or, where that
            cannot run here or not on the kind of device required, the fastest that can.
        require: Kind of device that the engine has to run on.

    Returns:
        The engine's record, and what to tell where another one stands in for the default.

    Raises:
        UsageError: No such engine, or one for another kind of device than required.
        MissingComponentError: A kind of device is required, and no engine of the bundle that
            passed its gate can run on one here.
    """
    check_require(require)
    record = bundle.engine(engine)
    if engine is not None:
        check_device(record, require)
        return record, None
    if runs_on(record, require) and find_target(record.target).runs_here:
        return record, None
    found = _fastest(bundle, require)
    if found is not None:
        return found, f"{_why_not_default(record, require)} {found.name} runs instead."
    if require != "any":
        raise nothing_runs(bundle.manifest.engines, require)
    return record, None  # opening it says what to install


def check_require(require: str, subject: str = "require") -> Require:
    """A kind of device as it was given.

    Raises:
        UsageError: There is no such kind.
    """
    known: tuple[Require, ...] = get_args(Require)
    for each in known:
        if each == require:
            return each
    raise UsageError(subject, got=repr(require), expected=f"one of {', '.join(known)}")


def runs_on(record: EngineRecord, require: Require) -> bool:
    """Whether an engine is for the kind of device that is required."""
    return require == "any" or find_target(record.target).device == _DEVICES[require]


def check_device(record: EngineRecord, require: Require) -> None:
    """Refuse an engine that was asked for by name.

    Raises:
        UsageError: It is for another kind of device than required.
    """
    if not runs_on(record, require):
        raise UsageError(
            f"engine {record.name}",
            got=f"an engine that does not run on {_IN_WORDS[require]}",
            expected="one that does, as is required",
        )


def nothing_runs(engines: Sequence[EngineRecord], require: Require) -> MissingComponentError:
    """The error where none of the engines can run on the kind of device that is required."""
    device, device_kind = _IN_WORDS[require], _DEVICES[require]
    fitting = [record for record in engines if runs_on(record, require)]
    targets = [find_target(name) for name in dict.fromkeys(each.target for each in fitting)]
    findings = {target.name: target.finding() for target in targets}
    able = [record.name for record in fitting if findings[record.target].able]
    got = [f"{name}: {found.detail}" for name, found in findings.items() if not found.able]
    got += [f"{some_of(able)} without a passed gate"] if able else []
    fixes = [found.fix for found in findings.values() if not found.able]
    fixes += ["Name it as the engine to run it all the same."] if able else []
    names = " or ".join(each.name for each in all_targets() if each.device == device_kind)
    return MissingComponentError(
        f"{device} is required",
        got="; ".join(got) or f"engines for another device ({', '.join(e.name for e in engines)})",
        expected=f"an engine that runs on {device} here",
        fix=fixes[0] if fixes else f"Compile one: mahtrt compile BUNDLE --target {names}.",
    )


def nothing_opened(require: Require, why: str) -> MissingComponentError:
    """The error where an engine should run on the kind of device required, and does not open."""
    device = _IN_WORDS[require]
    return MissingComponentError(
        f"{device} is required", got=why, expected=f"an engine that runs on {device} here"
    )


def _fastest(bundle: Bundle, require: Require) -> EngineRecord | None:
    """The fastest engine that passed its gate among those that this machine can run."""
    able = [
        record
        for record in bundle.manifest.engines
        if record.verdict
        and record.verdict.passed
        and runs_on(record, require)
        and find_target(record.target).runs_here
    ]
    if not able:
        return None
    return min(able, key=lambda r: (r.latency.p50_ms if r.latency else inf) / r.batch)


def _why_not_default(default: EngineRecord, require: Require) -> str:
    if not runs_on(default, require):
        return f"The default, {default.name}, does not run on {_IN_WORDS[require]}."
    why = find_target(default.target).finding().detail
    return f"The default, {default.name}, cannot run here: {why}."
