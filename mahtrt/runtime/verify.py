"""The verb ``verify``: is a bundle whole, and do its engines give here what they should?"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mahtrt.bundle.bundle import Bundle, read_bundle
from mahtrt.bundle.golden import read_golden
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.bundle.records import AccuracyRecord
from mahtrt.errors import GateError, UsageError
from mahtrt.progress import StageProgress, silent
from mahtrt.runtime.engine_choice import Require, check_require, nothing_runs, runs_on
from mahtrt.runtime.expectation.check import (
    EXPECT_PX,
    Expected,
    check_expectation,
    check_options,
    read_expected,
)
from mahtrt.runtime.expectation.fp32 import fp32_session
from mahtrt.runtime.expectation.records import ImageParity
from mahtrt.runtime.opening import open_engine
from mahtrt.runtime.replay import replay, replay_limits
from mahtrt.targets.backend import compile_here
from mahtrt.targets.table import find_target

if TYPE_CHECKING:
    from mahtrt.bundle.signature import Trust


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """What to verify.

    Attributes:
        bundle: The ``.mahtrt`` folder.
        trust: Whose signature it has to have; None asks for none.
        require: Kind of device of the engines that are replayed; at least one of them has to run.
        expect: CSV of landmarks that the user's own pipeline gave for DATA's images
            (:mod:`mahtrt.runtime.expectation.predictions`); None compares with none.
        data: DATA, the images of these predictions.
        expect_px: Limit on the mean displacement of any landmark from them, in image pixels.
    """

    bundle: Path
    trust: Trust | None = None
    require: Require = "any"
    expect: Path | None = None
    data: str | None = None
    expect_px: float = EXPECT_PX


@dataclass(frozen=True, slots=True)
class Replay:
    """Golden images through one engine.

    Attributes:
        absent: Why the engine cannot run here, "" where it ran.
        mean_px: Mean displacement of all landmarks, in network pixels; None without any.
        worst_px: Mean displacement of the landmark that moved most, likewise.
        accuracy: All that was compared; None where the engine did not run.
        device: What it ran on, ``cpu`` or ``cuda:0 NVIDIA H200``; "" where it did not.
    """

    engine: str
    absent: str = ""
    mean_px: float | None = None
    worst_px: float | None = None
    accuracy: AccuracyRecord | None = None
    device: str = ""


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """A bundle that is whole.

    Attributes:
        files: How many files were hashed.
        signature: Whether there is a signature, and whether it was held against a trusted key.
        replays: One per engine; none where the bundle keeps no golden images.
        expectation: How near the default engine is to the user's own pipeline; None where no
            predictions were given.
    """

    files: int
    replays: tuple[Replay, ...]
    signature: Literal["none", "not checked", "trusted"] = "none"
    expectation: ImageParity | None = None


def verify(options: VerifyOptions, progress: StageProgress = silent) -> VerifyResult:
    """Hash every file, then run the golden images through every engine that can run here.

    Raises:
        IntegrityError: A file is missing, changed or extra, or the bundle has no signature by whom
            the caller trusts.
        MissingComponentError: No engine can run here on the kind of device required.
        GateError: An engine is further from the golden vectors than the build's gate allows, and
            than it was when it was built.
        ExpectationError: The default engine's landmarks are not those that the user's own pipeline
            gave (exit 3).
        UsageError: Predictions without DATA, or of a network without landmarks.
        DataError: Predictions or DATA that cannot be used.
    """
    check_options(options.expect, options.data, options.expect_px)
    if options.data is not None and options.expect is None:
        expected_options = "the predictions of these images, --expect predictions.csv"
        raise UsageError(f"--data {options.data}", got="no --expect", expected=expected_options)
    progress("hashing, MiB", 0, 0)
    check_require(options.require)
    bundle = read_bundle(
        options.bundle, trust=options.trust, progress=partial(progress, "hashing, MiB")
    )
    expected = _expected(options, bundle)
    manifest = bundle.manifest
    known = () if manifest.golden is None else manifest.engines
    engines = [record for record in known if runs_on(record, options.require)]
    replays = tuple(_replay(bundle, record, progress) for record in engines)
    if known and options.require != "any" and not any(each.device for each in replays):
        raise nothing_runs(known, options.require)
    signature: Literal["none", "not checked", "trusted"] = (
        "trusted" if options.trust else "not checked" if bundle.is_signed else "none"
    )
    expectation = None if expected is None else _compare(bundle, expected, options, progress)
    return VerifyResult(len(manifest.files), replays, signature, expectation)


def _expected(options: VerifyOptions, bundle: Bundle) -> Expected | None:
    """The user's predictions, read before anything runs; None where none were given."""
    if options.expect is None or options.data is None:
        return None
    return read_expected(options.expect, options.data, bundle.spec, options.expect_px)


def _compare(
    bundle: Bundle, expected: Expected, options: VerifyOptions, progress: StageProgress
) -> ImageParity:
    """The default engine against the user's predictions, and the FP32 graph where it is over."""
    with open_engine(bundle, require=options.require) as session:
        is_fp32 = session.engine is not None and session.engine.precision == "fp32"
        graph = None if is_fp32 else functools.partial(fp32_session, bundle)
        return check_expectation(session, expected, progress, graph)


def _replay(bundle: Bundle, record: EngineRecord, progress: StageProgress) -> Replay:
    finding = find_target(record.target).finding()
    if not finding.able:
        return Replay(record.name, finding.detail)
    progress(f"replaying {record.name}", 0, 0)
    with open_engine(bundle, engine=record.name) as session:
        found, device = replay(session, read_golden(bundle)), session.device
    limits = replay_limits(bundle.manifest, found.mean_mm is not None, record)
    over = limits.over(found, record.precision)
    if over:
        raise GateError(
            f"{record.name} on golden images",
            got="; ".join(over),
            expected="what the build's gate allows, or what it gave then",
            fix=compile_here(record.target),
        )
    return Replay(record.name, "", found.mean_px, found.worst_landmark_mean_px, found, device)
