"""The choice between configurations, with times that are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_network as tiny
from cpus import Cpu

import mahtrt.targets.openvino.run as ov_runtime
from mahtrt.bundle.manifest import EngineRecord
from mahtrt.measure.timing import Timings
from mahtrt.targets.backend import EngineToOpen
from mahtrt.targets.openvino import build as ov_builder
from mahtrt.targets.openvino import tune as ov_tuning
from mahtrt.targets.openvino.tune import (
    MIN_ROUNDS,
    Configuration,
    Measure,
    candidates_for,
    time_configurations,
    tune,
)
from mahtrt.targets.target import EngineOptions

DEFAULT = Configuration("bf16")
ONE, F32 = Configuration("bf16", 1), Configuration("f32")


def taking(times_ms: Mapping[Configuration, Sequence[float]]) -> Measure:
    def measure(
        onnx: Path, configurations: Sequence[Configuration]
    ) -> dict[Configuration, Timings]:
        return {config: Timings(tuple(times_ms[config])) for config in configurations}

    return measure


def never(ir: Path, configurations: Sequence[Configuration]) -> dict[Configuration, Timings]:
    raise AssertionError("measured")


@pytest.mark.parametrize(
    ("one_ms", "choice"),
    [(9.0, ONE), (9.6, DEFAULT), (10.0, DEFAULT), (20.0, DEFAULT)],
)
def test_the_default_stays_unless_another_is_clearly_faster(
    one_ms: float, choice: Configuration
) -> None:
    times = {DEFAULT: [10.0] * 9, ONE: [one_ms] * 9}
    tuned = tune(Path("x"), DEFAULT, [ONE], taking(times))
    assert tuned.choice == choice
    assert tuned.tried_ms == {"bf16, threads default": 10.0, "bf16, threads 1": one_ms}


def test_the_fastest_of_several_is_taken() -> None:
    times = {DEFAULT: [10.0] * 9, ONE: [9.0] * 9, F32: [8.0] * 9}
    assert tune(Path("x"), DEFAULT, [ONE, F32, DEFAULT], taking(times)).choice == F32


def test_rounds_are_compared_not_their_medians() -> None:
    """A machine that slows down in the middle slows both; one lucky round decides nothing."""
    slowing = [10.0, 10.0, 10.0, 30.0, 30.0]
    times = {DEFAULT: slowing, ONE: [9.8, 9.8, 2.0, 29.4, 29.4]}
    assert tune(Path("x"), DEFAULT, [ONE], taking(times)).choice == DEFAULT
    times = {DEFAULT: slowing, ONE: [t * 0.9 for t in slowing]}
    assert tune(Path("x"), DEFAULT, [ONE], taking(times)).choice == ONE


def test_few_rounds_change_nothing() -> None:
    few = MIN_ROUNDS - 1
    times = {DEFAULT: [10.0] * few, ONE: [5.0] * few}
    assert tune(Path("x"), DEFAULT, [ONE], taking(times)).choice == DEFAULT


def test_without_a_choice_nothing_is_measured() -> None:
    assert tune(Path("x"), DEFAULT, [DEFAULT], never).tried_ms == {}


def test_candidates_vary_one_thing_at_a_time() -> None:
    assert candidates_for(DEFAULT, precisions=["f32"], threads=[1, 4]) == [
        F32,
        ONE,
        Configuration("bf16", 4),
    ]


def saved(folder: Path) -> Path:
    return tiny.save(tiny.make_model(), folder)


def test_real_configurations_are_timed_in_the_same_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ov_tuning, "ROUNDS", 25)  # as outside of tests, where it has to decide
    configurations = [Configuration("f32", 1), Configuration("f32", 2)]
    timings = time_configurations(saved(tmp_path), configurations)
    assert list(timings) == configurations
    assert timings[configurations[0]].runs == timings[configurations[1]].runs >= MIN_ROUNDS


@pytest.mark.parametrize("one_wins", [True, False])
def test_the_choice_is_recorded_and_used_on_this_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpu: Callable[[str], Cpu], one_wins: bool
) -> None:
    def measure(
        onnx: Path, configurations: Sequence[Configuration]
    ) -> dict[Configuration, Timings]:
        assert onnx.is_file()
        return {
            config: Timings((1.0 if (config.threads == 1) == one_wins else 2.0,) * 9)
            for config in configurations
        }

    monkeypatch.setattr(ov_builder, "thread_counts", lambda own: [1, 2])
    cpu("avx2")
    artifact = ov_builder.build_engine(saved(tmp_path), "int8", tmp_path / "out", measure=measure)
    device = artifact.device
    assert set(device.tried_ms) == {f"f32, threads {n}" for n in ("default", "1", "2")}
    assert device.threads == (1 if one_wins else None)
    record = replace(artifact.record("openvino", "int8"), files={"onnx": "x"})

    asked: list[int | None] = []
    compile_model = ov_runtime.compile_model

    def spy(path: Path, *, inference_precision: str, threads: int | None) -> object:
        asked.append(threads)
        return compile_model(path, inference_precision=inference_precision, threads=1)

    monkeypatch.setattr(ov_runtime, "compile_model", spy)

    def threads_asked(record: EngineRecord, threads: int | None = None) -> int | None:
        asked.clear()
        engine = EngineToOpen(record, artifact.files, tiny.SPEC, threads)
        ov_runtime.OpenVinoBackend.open(engine)
        return asked[0]

    assert threads_asked(record) == (1 if one_wins else None)
    assert threads_asked(record, 3) == 3
    for other in (replace(device, name="Other CPU"), replace(device, cores=4096)):
        assert threads_asked(replace(record, device=other)) is None


@pytest.mark.parametrize(
    ("precision", "tried"),
    [("int8", ["bf16, threads 1", "f32, threads 1"]), ("bf16", []), ("fp32", [])],
)
def test_only_the_float_part_of_int8_may_change_its_precision(
    tmp_path: Path, cpu: Callable[[str], Cpu], precision: str, tried: list[str]
) -> None:
    def measure(
        onnx: Path, configurations: Sequence[Configuration]
    ) -> dict[Configuration, Timings]:
        times = {"f32": 1.0, "bf16": 2.0}
        return {c: Timings((times[c.inference_precision],) * 9) for c in configurations}

    cpu("bf16")
    artifact = ov_builder.build_engine(
        saved(tmp_path),
        precision,
        tmp_path / "out",
        EngineOptions(threads=1),
        measure=measure,
    )
    assert list(artifact.device.tried_ms) == tried
    expected = "bf16" if precision == "bf16" else "f32"
    assert artifact.device.inference_precision == expected
    assert artifact.device.threads is None


def test_a_trial_is_neither_tuned_nor_kept_as_a_blob(tmp_path: Path) -> None:
    artifact = ov_builder.build_engine(
        saved(tmp_path),
        "int8",
        tmp_path / "out",
        EngineOptions(trial=True),
        measure=never,
    )
    device = artifact.device
    assert (device.tried_ms, device.threads, device.cores) == ({}, None, None)
    assert set(artifact.files) == {"onnx"}
