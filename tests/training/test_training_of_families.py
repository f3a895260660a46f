"""Every family is trained and judged by its spec alone, on its own synthetic data."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mahtrt.models.families import FAMILIES, build_model, example_data, model_names
from mahtrt.training.options import TrainOptions
from mahtrt.training.parts import REST, parameter_groups, part_of
from mahtrt.training.recipe import Recipe
from mahtrt.training.train import train

# The smallest of each kind: which data, and what is measured afterwards.
TRAINED = {
    "maht-net/nano": ("phantom", {"MRE"}),
    "unet/nano": ("phantom", {"MRE"}),
    "pose-spi/nano": ("phantom-pose", {"MRE", "visibility"}),
    "longitudinal/nano": ("phantom-pairs", {"map MAE", "map SSIM"}),
    "longitudinal/nano-classification": ("phantom-chest", {"AUROC"}),
    "spine/nano": ("phantom-spine", {"MRE"}),
}


def test_every_family_is_trained_here() -> None:
    assert {name.partition("/")[0] for name in TRAINED} == set(FAMILIES)
    for name, (data, _) in TRAINED.items():
        if name.endswith("/nano"):
            assert example_data(name) == data


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_a_family_learns_from_its_data(name: str, tmp_path: Path) -> None:
    data, measured = TRAINED[name]
    small = {"input_size": (64, 64)} if name == "maht-net/nano" else {}
    options = TrainOptions(
        f"{data}:4@1",
        model=name,
        out=tmp_path / "net.safetensors",
        steps=2,
        batch_size=2,
        workers=0,
        eval=f"{data}:6@2",
        overrides=small,
        recipe=Recipe(stages="three", average="ema", average_decay=0.5),
    )
    result = train(options)
    assert result.scores is not None
    assert result.scores.images == 6
    assert set(result.scores.in_words()) == measured


@pytest.mark.parametrize("name", model_names())
def test_the_parts_of_a_network_are_its_own(name: str) -> None:
    with torch.device("meta"):
        module = build_model(name)
    parts = module.parameter_groups()
    names = [each for each, _ in module.named_parameters()]
    if parts:
        assert {part_of(each, parts) for each in names} - {REST} == set(parts)
        assert all(sum(each.startswith(p) for p in parts.values()) <= 1 for each in names)
    grouped = [p for group in parameter_groups(module, parts) for p in group["params"]]
    assert len(grouped) == len(names)
