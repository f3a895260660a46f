"""The trainer, on phantoms and a network of a few channels."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cpus import CPUS, Cpu
from small_maht_net import TRAINED as SMALL
from torch import Tensor, nn

from mahtrt.data.datasets import open_dataset
from mahtrt.errors import CheckpointError, DataError, ModelError, UsageError
from mahtrt.models.checkpoint import load_checkpoint, load_into
from mahtrt.models.families import build_model
from mahtrt.training import state as state_module
from mahtrt.training.annotations import PHANTOM_TRAINING_SEED, open_training_data
from mahtrt.training.options import TrainOptions
from mahtrt.training.parts import parameter_groups
from mahtrt.training.precision import autocast_dtype
from mahtrt.training.rates import learning_rate_at
from mahtrt.training.run import StepReport
from mahtrt.training.state import TrainingInterrupted
from mahtrt.training.trainer import train

pytestmark = pytest.mark.slow


def options_for(folder: Path, steps: int, **changes: Any) -> TrainOptions:
    plain = TrainOptions(
        model="maht-net/nano",
        data="phantom:4",
        out=folder / "net.safetensors",
        steps=steps,
        batch_size=2,
        learning_rate=3e-3,
        workers=0,
        overrides=SMALL,
    )
    return dataclasses.replace(plain, **changes)


def weights(path: Path) -> dict[str, Tensor]:
    return dict(load_checkpoint(path).state)


def interrupt_after(step: int) -> Callable[[StepReport], None]:
    def on_step(report: StepReport) -> None:
        if report.step == step:
            signal.raise_signal(signal.SIGINT)

    return on_step


# Whole runs


@pytest.mark.parametrize("name", CPUS)
def test_bf16_is_trained_in_where_it_is_native(name: str, cpu: Callable[[str], Cpu]) -> None:
    expected = torch.bfloat16 if cpu(name).bf16 else None
    assert autocast_dtype() is expected


@pytest.mark.parametrize("kind", ["avx2", "bf16"])
def test_the_loss_falls(tmp_path: Path, kind: str, cpu: Callable[[str], Cpu]) -> None:
    cpu(kind)
    reports: list[StepReport] = []
    options = options_for(tmp_path, 15, learning_rate=1e-2)
    spec = train(options, reports.append)
    assert [(report.step, report.steps) for report in reports] == [(i + 1, 15) for i in range(15)]
    losses = [report.loss for report in reports]
    assert np.mean(losses[-4:]) < 0.85 * np.mean(losses[:4])

    checkpoint = load_checkpoint(options.out)
    assert checkpoint.spec == spec
    assert "'steps': 15" in checkpoint.notes["mahtrt.training"]
    load_into(build_model(options.model, **SMALL), checkpoint)
    assert list(tmp_path.iterdir()) == [options.out]  # the state for resuming is gone


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    losses: dict[str, list[float]] = {"whole": [], "parts": []}
    train(options_for(whole, 5, settle=1), lambda report: losses["whole"].append(report.loss))

    handler = signal.getsignal(signal.SIGINT)
    options = options_for(parts, 5, settle=1)
    with pytest.raises(
        TrainingInterrupted, match=r"after step 3.*net\.safetensors\.state\.pt"
    ) as e:
        train(options, interrupt_after(3))
    assert isinstance(e.value, KeyboardInterrupt)
    assert e.value.step == 3
    assert e.value.state_path.is_file()
    assert not options.out.exists()
    assert signal.getsignal(signal.SIGINT) is handler

    resumed = dataclasses.replace(options, resume=True)
    train(resumed, lambda report: losses["parts"].append(report.loss))
    assert losses["parts"] == losses["whole"][3:]
    expected, got = weights(whole / "net.safetensors"), weights(options.out)
    assert list(got) == list(expected)
    assert all(torch.equal(got[key], expected[key]) for key in expected)
    assert not e.value.state_path.exists()


def test_the_same_options_give_the_same_file_and_other_seeds_others(tmp_path: Path) -> None:
    files = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        options = options_for(tmp_path / name, 1, seed=seed)
        train(options)
        files.append(options.out.read_bytes())
    assert files[0] == files[1]
    assert files[0] != files[2]


def test_init_starts_from_the_checkpoint_at_another_size(tmp_path: Path) -> None:
    first = options_for(tmp_path / "first", 1)
    train(first)
    second = options_for(
        tmp_path / "second", 0, init=first.out, overrides={**SMALL, "input_size": (96, 64)}
    )
    assert train(second).input.size == (96, 64)
    before, after = weights(first.out), weights(second.out)
    assert all(torch.equal(after[key], before[key]) for key in before)
    odd = options_for(tmp_path / "odd", 0, init=first.out, overrides={**SMALL, "hidden_dim": 16})
    with pytest.raises(CheckpointError, match="of another shape"):
        train(odd)


def test_settling_changes_batch_norm_statistics_only(tmp_path: Path) -> None:
    plain, settled = options_for(tmp_path / "a", 0), options_for(tmp_path / "b", 0, settle=2)
    train(plain)
    train(settled)
    before, after = weights(plain.out), weights(settled.out)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    statistics = {
        key for key in before if key.endswith(("running_mean", "running_var", "batches_tracked"))
    }
    assert changed == statistics
    assert all(after[key] == 2 for key in after if key.endswith("batches_tracked"))


def test_half_writes_a_smaller_file_of_the_same_weights(tmp_path: Path) -> None:
    full, half = options_for(tmp_path / "a", 0), options_for(tmp_path / "b", 0, half=True)
    train(full)
    train(half)
    assert half.out.stat().st_size < 0.6 * full.out.stat().st_size
    expected, got = weights(full.out), weights(half.out)
    for key, value in expected.items():
        torch.testing.assert_close(got[key], value, rtol=1e-3, atol=1e-6)


# Refusals


def test_resuming_needs_a_state(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no state of an interrupted run.*without --resume"):
        train(options_for(tmp_path, 2, resume=True))


def test_resuming_with_other_options_is_refused(tmp_path: Path) -> None:
    options = options_for(tmp_path, 2)
    with pytest.raises(TrainingInterrupted):
        train(options, interrupt_after(1))
    state = tmp_path / "net.safetensors.state.pt"
    kept = state.read_bytes()
    for changes in (
        {"steps": 4},
        {"seed": 1},
        {"data": "phantom:5"},
        {"overrides": {**SMALL, "dropout": 0.0}},
    ):
        with pytest.raises(UsageError, match="--resume") as caught:
            train(dataclasses.replace(options, resume=True, **changes))
        assert next(iter(changes)) in str(caught.value)
        assert state.read_bytes() == kept
    # What does not change the result may differ.
    train(dataclasses.replace(options, resume=True, half=True))


def test_a_state_larger_than_is_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_module, "_MOST_STATE_BYTES", 10)
    (tmp_path / "net.safetensors.state.pt").write_bytes(b"not a state")
    with pytest.raises(CheckpointError, match="11 bytes, of at most 10"):
        train(options_for(tmp_path, 2, resume=True))


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    (tmp_path / "net.safetensors.state.pt").write_bytes(b"not a state")
    with pytest.raises(CheckpointError, match=r"net\.safetensors\.state\.pt: got a damaged file"):
        train(options_for(tmp_path, 2, resume=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": (0, 1, 2)}, "got 3 landmarks per image; expected 7"),
        (
            {"overrides": {**SMALL, "landmarks": ("a", "b")}},
            r"7 landmarks.*expected 2.*--landmarks",
        ),
    ],
)
def test_another_number_of_landmarks_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        train(options_for(tmp_path, 1, **changes))
    assert not list(tmp_path.iterdir())


def test_other_refusals_come_before_training(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"net\.pt; expected a name ending in \.safetensors"):
        train(options_for(tmp_path, 1, out=tmp_path / "net.pt"))
    with pytest.raises(ModelError, match="huge"):
        train(options_for(tmp_path, 1, model="maht-net/huge"))
    with pytest.raises(CheckpointError, match="no such file"):
        train(options_for(tmp_path, 1, init=tmp_path / "none.safetensors"))


# Its parts


@pytest.mark.parametrize("steps", [1, 2, 15, 200])
def test_the_learning_rate_rises_then_falls_to_a_hundredth(steps: int) -> None:
    rates = [learning_rate_at(step, steps, 0.1) for step in range(steps)]
    top = rates.index(max(rates))
    assert rates[top] == pytest.approx(0.1)
    assert top <= max(1, round(0.05 * steps))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert all(0 < rate <= 0.1 for rate in rates)
    assert steps == 1 or learning_rate_at(steps, steps, 0.1) == pytest.approx(0.001)


def test_warm_up_is_a_line_and_decay_half_a_cosine() -> None:
    rates = [learning_rate_at(step, 200, 1.0) for step in range(201)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    assert rates[105] == pytest.approx(0.505)  # half way between 1 and 0.01
    assert rates[10] - rates[11] < 0.1 * (rates[105] - rates[106])


def test_only_matrices_are_decayed() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    decayed, rest = parameter_groups(net, {})
    assert [p.shape for p in decayed["params"]] == [(4, 3, 3, 3), (2, 4)]
    assert len(rest["params"]) == 4
    assert rest["weight_decay"] == 0.0
    assert decayed["weight_decay"] > 0


def test_training_phantoms_are_not_those_of_evaluation(tmp_path: Path) -> None:
    spec = build_small().spec
    names = set()
    for seed in (0, 1):
        options = options_for(tmp_path, 1, data="phantom", seed=seed)
        dataset = open_training_data(options, spec)
        assert dataset.source == f"phantom:1000000@{PHANTOM_TRAINING_SEED + seed}"
        names.add(dataset[0].name)
    assert len(names) == 2
    assert open_dataset("phantom")[0].name not in names


def build_small() -> Any:
    with torch.device("meta"):
        return build_model("maht-net/nano", **SMALL)
