"""Recipes: stages, schedules, averages, validation, mixed precision; each resumed bit for bit."""

from __future__ import annotations

import dataclasses
import itertools
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_network import run as run_command
from small_maht_net import TRAINED as SMALL
from torch import Tensor, nn

from mahtrt.data.datasets import open_dataset
from mahtrt.data.sample import Dataset
from mahtrt.errors import DataError, MissingComponentError, UsageError
from mahtrt.models.checkpoint import load_checkpoint
from mahtrt.models.families import build_model
from mahtrt.models.network import Network
from mahtrt.training import run as run_module
from mahtrt.training.annotations import open_training_data
from mahtrt.training.average import WeightAverage
from mahtrt.training.cases import Batch, Targets
from mahtrt.training.losses.options import LossOptions
from mahtrt.training.options import TrainOptions
from mahtrt.training.parts import freeze, parameter_groups, set_training
from mahtrt.training.rates import Rates
from mahtrt.training.recipe import THREE_STAGES, Recipe, spans_of
from mahtrt.training.run import Run, StepReport
from mahtrt.training.state import TrainingInterrupted
from mahtrt.training.trainer import train
from mahtrt.training.validation import Best, validation_loss

PARTS = {"encoder": ("0.",), "transformer": ("1.",)}


def options_for(folder: Path, steps: int, **recipe: Any) -> TrainOptions:
    return TrainOptions(
        "phantom:4",
        out=folder / "net.safetensors",
        steps=steps,
        batch_size=2,
        workers=0,
        overrides=SMALL,
        recipe=Recipe(**recipe),
    )


def weights(path: Path) -> dict[str, Tensor]:
    return dict(load_checkpoint(path).state)


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), nn.Linear(3, 3), nn.Linear(3, 1)
    )


def _network_and_data(options: TrainOptions) -> tuple[Network, Dataset]:
    torch.manual_seed(options.seed)
    module = build_model(options.model, **SMALL)
    return module, open_training_data(options, module.spec)


# Stages and rates


def test_three_stages_cover_all_steps_of_a_network_with_parts() -> None:
    spans = spans_of(Recipe(stages="three"), PARTS, 51)
    assert [(span.first, span.last) for span in spans] == [(0, 20), (20, 31), (31, 51)]
    assert len(spans_of(Recipe(stages="three"), {"encoder": ("0.",)}, 51)) == 1
    assert len(spans_of(Recipe(), PARTS, 51)) == 1


def test_a_frozen_part_has_no_gradient_and_keeps_its_statistics() -> None:
    module = net()
    without_encoder = THREE_STAGES[1]
    freeze(module, PARTS, without_encoder)
    set_training(module, PARTS, without_encoder)
    assert not module[0].training
    assert module[2].training
    assert {name for name, p in module.named_parameters() if not p.requires_grad} == {
        *("0.0.weight", "0.0.bias", "0.1.weight", "0.1.bias")
    }
    freeze(module, PARTS, THREE_STAGES[2])
    assert all(p.requires_grad for p in module.parameters())


def test_parts_have_multiples_of_the_rate() -> None:
    optimizer = torch.optim.AdamW(parameter_groups(net(), PARTS), lr=1.0)
    span = spans_of(Recipe(stages="three"), PARTS, 100)[2]
    rates = Rates(optimizer, Recipe(), span, 0.2)
    optimizer.step()
    rates.after_step()  # the second of two steps of warm-up
    assert rates.of_parts() == pytest.approx({"encoder": 0.02, "transformer": 0.1, "": 0.2})


def test_a_plateau_halves_the_rate_after_its_warm_up() -> None:
    optimizer = torch.optim.AdamW(parameter_groups(net(), {}), lr=1.0)
    recipe = Recipe(schedule="plateau", validate="phantom:2")
    rates = Rates(optimizer, recipe, spans_of(recipe, {}, 100)[0], 0.1)
    seen = []
    for _ in range(7):
        seen.append(rates.of_parts()[""])
        optimizer.step()
        rates.after_step()
    np.testing.assert_allclose(seen, [0.02, 0.04, 0.06, 0.08, 0.1, 0.1, 0.1], rtol=1e-5)
    for _ in range(6):
        rates.after_validation(1.0)
    assert rates.of_parts()[""] == pytest.approx(0.05)


# Averages, the best


def test_averages_are_what_their_definitions_say() -> None:
    module = nn.Linear(1, 1, bias=False)
    ema = WeightAverage(module, Recipe(average="ema", average_decay=0.75), 4)
    swa = WeightAverage(module, Recipe(average="swa"), 4)
    for step, value in enumerate((1.0, 2.0, 3.0, 5.0)):
        with torch.no_grad():
            module.weight.fill_(value)
        assert not swa.has_begun
        ema.after_step(step, module)
        swa.after_step(step, module)
    # The first value starts an average: then 1.25, 1.6875, 2.515625.
    assert next(ema.module.parameters()).item() == pytest.approx(2.515625)
    assert next(swa.module.parameters()).item() == 5.0


def test_the_batch_norms_of_an_average_are_settled_on_its_own_images() -> None:
    class Two(nn.Module):
        """Takes two images, as a network that compares."""

        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(1)

        def forward(self, first: Tensor, second: Tensor) -> Tensor:
            return self.norm(first + second)

    average = WeightAverage(Two(), Recipe(average="ema"), 2)
    image = torch.arange(8.0).view(2, 1, 2, 2)
    targets = Targets(torch.empty(2, 0, 2), torch.empty(2, 0))
    average.settle([Batch((image, image), targets)] * 2)
    norm = average.module.norm
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_mean.item() == pytest.approx(7.0)


def test_the_best_weights_are_copies_and_staleness_counts() -> None:
    best, weight = Best(), torch.zeros(1)
    for loss in (2.0, 1.0, 3.0, 1.0):
        weight.fill_(loss)
        best.see(loss, {"w": weight})
    assert best.weights is not None
    assert (best.loss, best.stale, best.weights["w"].item()) == (1.0, 2, 1.0)


# Whole runs

RECIPES: dict[str, dict[str, Any]] = {
    "stages": {"stages": "three", "clip": 0.0},
    "plateau and ema": {
        "schedule": "plateau",
        "average": "ema",
        "average_decay": 0.5,
        "validate": "phantom:2@9",
        "validate_every": 1,
    },
    "fp16, accumulated, swa": {"precision": "fp16", "accumulate": 2, "average": "swa"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_an_interrupted_recipe_ends_with_the_same_weights(tmp_path: Path, name: str) -> None:
    whole = options_for(tmp_path / "whole", 5, **RECIPES[name])
    whole = dataclasses.replace(whole, losses=LossOptions(weighting="learned"))
    if whole.recipe.precision == "fp16":  # which processors do slowly
        whole = dataclasses.replace(whole, overrides={**SMALL, "input_size": (32, 32)})
    train(whole)

    def interrupt(report: StepReport) -> None:
        if report.step == 3:
            signal.raise_signal(signal.SIGINT)

    parts = dataclasses.replace(whole, out=tmp_path / "parts" / "net.safetensors")
    with pytest.raises(TrainingInterrupted, match="after step 3"):
        train(parts, interrupt)
    train(dataclasses.replace(parts, resume=True))
    expected, got = weights(whole.out), weights(parts.out)
    assert list(got) == list(expected)
    assert all(torch.equal(got[key], expected[key]) for key in expected)


@pytest.mark.slow
def test_stages_leave_what_is_frozen_alone(tmp_path: Path) -> None:
    options = options_for(tmp_path, 5, stages="three")
    module, data = _network_and_data(options)
    run = Run(options, module, data)
    seen: list[dict[str, Tensor]] = []

    def keep(_report: StepReport) -> None:
        seen.append({name: value.clone() for name, value in module.state_dict().items()})

    keep(StepReport(0, 5, 0.0))
    run.loop(0, keep)
    changed = [
        {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
        for before, after in itertools.pairwise(seen)
    ]
    decoding = {"decoder", "head"}
    assert changed[0] == changed[1] == {"encoder", *decoding}
    assert changed[2] == {"transformer", *decoding}
    assert changed[3] == changed[4] == {"encoder", "transformer", *decoding}


@pytest.mark.slow
def test_patience_ends_a_training_and_the_best_weights_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, reports, best = iter([3.0, 1.0, 2.0, 1.5, 0.0]), list[StepReport](), 1
    monkeypatch.setattr(run_module, "validation_loss", lambda *_: next(told))
    options = options_for(tmp_path, 9, validate="phantom:2@9", validate_every=1, patience=2)
    train(options, reports.append)
    assert [report.validation for report in reports] == [3.0, 1.0, 2.0, 1.5]
    # As many steps of the same course, without validation, lead to the best weights.
    run = Run(dataclasses.replace(options, recipe=Recipe()), *_network_and_data(options))

    class Enough(Exception):  # noqa: N818
        """The step of the best weights is done."""

    def stop(report: StepReport) -> None:
        if report.step == best + 1:
            raise Enough

    with pytest.raises(Enough):
        run.loop(0, stop)
    expected, got = run.module.state_dict(), weights(options.out)
    assert all(torch.equal(got[key], expected[key]) for key in expected)


@pytest.mark.slow
def test_validation_is_the_loss_on_other_images_and_divergence_is_infinite(tmp_path: Path) -> None:
    options = options_for(tmp_path, 1)
    module, data = _network_and_data(options)
    run = Run(options, module, data)
    pairs = (module, run.judge, open_dataset("phantom:3@9"))
    assert module.training
    losses = [validation_loss(*pairs, size, "cpu") for size in (1, 3)]
    assert module.training
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    with torch.no_grad():
        next(module.head.parameters()).fill_(torch.nan)
    assert validation_loss(*pairs, 3, "cpu") == np.inf
    with pytest.raises(DataError, match="training step 1: got outputs that are not finite"):
        run.loop(0, None)


@pytest.mark.slow
def test_tensorboard_gets_losses_and_rates(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(options_for(tmp_path, 2, log=tmp_path / "log", stages="three"))
    found = EventAccumulator(str(tmp_path / "log"))
    found.Reload()
    tags = set(found.Tags()["scalars"])
    assert {"loss/sum", "loss/heatmap", "loss/coordinate", "rate/encoder"} <= tags
    assert [event.step for event in found.Scalars("loss/sum")] == [1, 2]


@pytest.mark.slow
def test_a_fold_is_left_out_and_judges(tmp_path: Path) -> None:
    out = tmp_path / "net.safetensors"
    told = run_command(
        *("train", "--data=phantom:6@3", "--folds=3", "--fold=2", "--steps=1", "--batch-size=2"),
        *("--workers=0", "--input-size=64", f"--out={out}", "--loss=coordinate=wing"),
    )
    assert told.exit_code == 0, told.output
    assert "MRE on fold 2 of 3 of phantom:6@3 (2 images)" in told.stdout
    assert "'fold': (3, 2)" in load_checkpoint(out).notes["mahtrt.training"]


# Refusals


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"patience": 2}, "--patience: got no validation data"),
        ({"schedule": "plateau"}, "--schedule plateau: got no validation data"),
        ({"average_decay": 1.0}, "--average-decay"),
    ],
)
def test_recipes_that_contradict_themselves_are_refused(
    tmp_path: Path, changes: dict[str, Any], match: str
) -> None:
    with pytest.raises(UsageError, match=match):
        train(options_for(tmp_path, 1, **changes))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is such a device")
def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingComponentError, match="--device cuda: got no such device"):
        train(options_for(tmp_path, 1, device="cuda"))


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ("--loss=heatmap=dice", "--loss heatmap"),
        ("--loss=nose=l1", "--loss: got 'nose'"),
        ("--loss=l1", "expected name=value"),
        ("--loss-weight=map=x", "--loss-weight: got 'x'"),
        ("--loss-weight=nose=1", "--loss-weight: got 'nose'"),
        ("--weighting=equal", "--weighting: got 'equal'; expected fixed, learned"),
        ("--stages=two", "--stages: got 'two'; expected one, three"),
        ("--folds=3", "--folds and --fold: got one of them"),
        ("--sigma=0", "--sigma"),
        ("--clip=-1", "--clip: got -1.0; expected a finite number, 0 or more"),
        ("--clip=nan", "--clip: got nan"),
        ("--lr=-1e-3", "--lr: got -0.001; expected a finite number above 0"),
        ("--seed=-1", "--seed: got -1; expected 0 to"),
    ],
)
def test_choices_that_are_none_are_refused(tmp_path: Path, given: str, match: str) -> None:
    told = run_command("train", "--data=phantom:4", given, f"--out={tmp_path / 'a.safetensors'}")
    assert told.exit_code == 2, told.output
    assert match in told.stderr
