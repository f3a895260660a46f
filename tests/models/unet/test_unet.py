"""The U-Net: shapes, skips, gradients, and settings that cannot be."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mahtrt.errors import ModelError
from mahtrt.models.families import build_model
from mahtrt.models.unet.unet import UNet

SMALL: dict[str, Any] = {
    "channels": (4, 6, 8, 10, 12),
    "input_size": (32, 48),
    "landmarks": ("a", "b", "c"),
}


def small_unet(**settings: Any) -> UNet:
    torch.manual_seed(0)
    module = build_model("unet/nano", **{**SMALL, **settings})
    assert isinstance(module, UNet)
    return module


def test_heatmaps_have_the_size_of_the_input() -> None:
    module = small_unet().eval()
    with torch.inference_mode():
        outputs = module(torch.randn(2, 3, 32, 48))
    assert outputs["heatmaps"].shape == (2, 3, 32, 48)
    assert module.spec.decode.heatmap_size == module.spec.input.size == (32, 48)
    assert module.spec.heatmap_cell_px == 1.0
    assert bool(((outputs["heatmaps"] > 0) & (outputs["heatmaps"] < 0.1)).all())  # nearly empty
    x, y = outputs["landmarks"].unbind(-1)
    assert bool(((x > -0.5) & (x < 47.5) & (y > -0.5) & (y < 31.5)).all())
    torch.testing.assert_close(outputs["confidence"], outputs["heatmaps"].amax((2, 3)))


def test_it_halves_four_times_and_skips_every_level() -> None:
    module = small_unet().eval()
    assert len(module.encoder) == len(module.decoder) == 4
    seen: list[tuple[int, ...]] = []
    for block in (*module.encoder, module.bottleneck, *module.decoder):
        block.register_forward_hook(lambda _m, _i, out: seen.append(tuple(out.shape[1:])))
    with torch.inference_mode():
        module(torch.randn(1, 3, 32, 48))
    down = [(4, 32, 48), (6, 16, 24), (8, 8, 12), (10, 4, 6)]
    assert seen == [*down, (12, 2, 3), (8, 4, 6), (6, 8, 12), (4, 16, 24), (4, 32, 48)]


@pytest.mark.parametrize("level", range(4))
def test_every_skip_carries_something(level: int) -> None:
    module = small_unet().eval()
    images = torch.randn(1, 3, 32, 48)
    with torch.inference_mode():
        before = module(images)["heatmaps"]
        weight = module.get_parameter(f"decoder.{level}.0.0.weight")
        skipped = module.config.channels[3 - level]
        weight[:, -skipped:] = 0
        assert not torch.equal(before, module(images)["heatmaps"])


def test_gradients_reach_every_parameter() -> None:
    module = small_unet()
    outputs = module(torch.randn(2, 3, 32, 48))
    loss = sum((value * torch.randn_like(value)).sum() for value in outputs.values())
    assert isinstance(loss, torch.Tensor)
    loss.backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.ndim == 1 or bool(parameter.grad.any()), name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"input_size": (100, 128)}, r"input size: got 100x128; expected multiples of 16"),
        ({"channels": (8, 8, 8, 8, 0)}, "channels"),
        ({"landmarks": ()}, "landmarks"),
        ({"temperature": 0.0}, "temperature"),
        ({"std": (0.2, 0.0, 0.2)}, "std"),
        ({"encoder": "resnet50"}, "encoder"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        small_unet(**settings)


def test_an_unknown_variant_lists_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"unet/huge.*nano, small, base"):
        build_model("unet/huge")
