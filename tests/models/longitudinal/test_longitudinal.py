"""The longitudinal networks: shapes, sizes, what each input does, and settings that cannot be."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mahtrt.data.pairs_phantom import CHEST_LABELS
from mahtrt.errors import ModelError
from mahtrt.models.families import build_model, example_data
from mahtrt.models.longitudinal.blocks import group_norm
from mahtrt.models.longitudinal.config import VARIANTS
from mahtrt.models.longitudinal.encoder import Encoder
from mahtrt.models.longitudinal.longitudinal import hide_patches
from mahtrt.models.network import Network

TINY: dict[str, Any] = {
    "input_size": (64, 96),
    "stem_channels": (4, 8),
    "block_channels": (8, 8, 8, 16, 16, 16, 32, 32),
    "hidden_dim": 32,
    "num_layers": 1,
    "num_heads": 2,
    "inter_channels": 32,
    "decoder_channels": (16, 16, 8, 8),
    "patch_channels": (8, 8, 8, 8),
    "refine_before": 1,
    "refine_after": 1,
}


def tiny(**settings: Any) -> Network:
    torch.manual_seed(0)
    return build_model("longitudinal/nano", **{**TINY, **settings})


def images_of(module: Network, batch: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(batch, image.channels, *image.size, generator=generator)
        for image in module.spec.inputs
    ]


@pytest.mark.parametrize("decoder", ["unet", "light"])
def test_a_pair_gives_a_map_over_the_image_that_starts_nearly_empty(decoder: str) -> None:
    module = tiny(decoder=decoder).eval()
    assert [image.name for image in module.spec.inputs] == ["baseline", "followup"]
    with torch.inference_mode():
        change = module(*images_of(module))["change"]
    assert change.shape == (2, 1, 64, 96)
    assert 0 < float(change.min()) < float(change.mean()) < 0.2


@pytest.mark.parametrize(
    ("task", "name", "shape"),
    [
        ("reconstruction", "reconstruction", (2, 1, 64, 96)),
        ("classification", "findings", (2, 14)),
        ("discriminator", "patches", (2, 1, 8, 12)),
    ],
)
def test_one_image_gives(task: str, name: str, shape: tuple[int, ...]) -> None:
    module = tiny(task=task).eval()
    with torch.inference_mode():
        outputs = module(*images_of(module))
    assert list(outputs) == [name] == [output.name for output in module.spec.outputs]
    assert tuple(outputs[name].shape) == shape


def test_logits_carry_the_labels() -> None:
    assert tiny(task="classification").spec.outputs[0].labels == CHEST_LABELS
    named = tiny(task="classification", labels=("a", "b")).eval()
    assert named.spec.outputs[0].labels == ("a", "b")
    with torch.inference_mode():
        assert named(*images_of(named))["findings"].shape == (2, 2)


def test_each_case_of_a_batch_is_its_own() -> None:
    """Both visits go through the encoder as one batch: no case may see another's image."""
    module = tiny().eval()
    baseline, followup = images_of(module)
    with torch.inference_mode():
        together = module(baseline, followup)["change"]
        alone = torch.cat(
            [module(baseline[i : i + 1], followup[i : i + 1])["change"] for i in range(2)]
        )
        swapped = module(followup, baseline)["change"]
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(together, swapped, atol=1e-4)


def test_skips_are_the_difference_of_the_visits() -> None:
    module = tiny().eval()
    baseline, _ = images_of(module)
    seen: list[torch.Tensor] = []
    for step in module.get_submodule("decoder.steps").children():
        step.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[1]))
    with torch.inference_mode():
        module(baseline, baseline)
    assert [tuple(skip.shape[1:]) for skip in seen] == [
        (16, 8, 12),
        (8, 16, 24),
        (8, 32, 48),
        (8, 64, 96),
    ]
    assert all(float(skip.abs().max()) < 1e-4 for skip in seen)


def test_the_encoder_is_efficientnet_b7s_chosen_blocks() -> None:
    import timm

    with torch.device("meta"):
        full = timm.create_model("efficientnet_b7")
        encoder = Encoder(VARIANTS["big"])
        features, skips = encoder(torch.empty(1, 1, 512, 512))
    assert features.shape == (1, 640, 32, 32)
    assert [tuple(skip.shape[1:]) for skip in skips] == [
        (32, 512, 512),
        (48, 256, 256),
        (80, 128, 128),
        (224, 64, 64),
    ]
    blocks = [block for stage in full.blocks for block in stage]
    assert len(blocks) == 55
    for index, block in zip((0, 4, 11, 18, 28, 38, 51, 52), encoder.blocks, strict=True):
        expected = {key: value.shape for key, value in blocks[index].state_dict().items()}
        assert {key: value.shape for key, value in block.state_dict().items()} == expected


@pytest.mark.parametrize(
    ("variant", "millions"),
    [("big", 177), ("small", 116), ("masked-reconstruction", 108), ("classification", 108)],
)
def test_sizes_are_the_seeds(variant: str, millions: int) -> None:
    """The seed: about 180, 120 and 100 million parameters."""
    with torch.device("meta"):
        module = build_model(f"longitudinal/{variant}")
    assert sum(p.numel() for p in module.parameters()) // 10**6 == millions


def test_weights_fit_every_input_size() -> None:
    """Positions are a table for 16x16 tokens, whatever the grid."""
    module, larger = tiny(), tiny(input_size=(128, 128))
    larger.load_state_dict(module.state_dict())
    with torch.inference_mode():
        assert larger.eval()(*images_of(larger, 1))["change"].shape == (1, 1, 128, 128)


def test_training_reaches_every_weight() -> None:
    for task in ("change", "reconstruction", "classification", "discriminator"):
        module = tiny(task=task).train()
        outputs = module(*images_of(module))
        sum(value.sum() for value in outputs.values()).backward()
        lost = [name for name, p in module.named_parameters() if p.grad is None]
        assert not lost


def test_reconstruction_hides_patches_while_training_only() -> None:
    module = tiny(task="reconstruction", mask_ratio=0.5)
    (image,) = images_of(module)
    hidden = hide_patches(image + 10, 0.5)
    patches = hidden.unflatten(2, (2, 32)).unflatten(4, (3, 32)).abs().amin((3, 5))
    assert 0 < int((patches == 0).sum()) < patches.numel()
    module.eval()
    with torch.inference_mode():
        first, again = module(image), module(image)
    torch.testing.assert_close(first["reconstruction"], again["reconstruction"])


@pytest.mark.parametrize("channels", [8, 40, 48, 80, 224, 640])
def test_groups_divide_the_channels(channels: int) -> None:
    norm = group_norm(channels)
    assert channels % norm.num_groups == 0
    assert norm.num_groups <= 32


def test_data_fits_what_a_variant_takes() -> None:
    assert example_data("longitudinal") == example_data("longitudinal/big") == "phantom-pairs"
    assert example_data("longitudinal/classification") == "phantom-chest"
    with pytest.raises(ModelError, match="unknown variant"):
        example_data("longitudinal/huge")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"input_size": (100, 96)}, "multiples of 32"),
        ({"hidden_dim": 33}, "num_heads"),
        ({"block_channels": (8, 8)}, "block_channels"),
        ({"block_channels": (8, 8, 8, 16, 16, 16, 32, 16)}, "last two are equal"),
        ({"decoder_channels": (8,)}, "decoder_channels"),
        ({"labels": ()}, "labels"),
        ({"mask_ratio": 1.0}, "mask_ratio"),
        ({"task": "other"}, "task"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        tiny(**settings)


def test_the_encoder_stays_in_floating_point() -> None:
    assert tiny().spec.quantize.exclude == ("encoder",)
