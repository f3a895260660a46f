"""Pose-SPI: the layers that its text describes, and what was corrected of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mahtrt.data.pose_phantom import COCO_KEYPOINTS
from mahtrt.errors import ModelError
from mahtrt.models.families import build_model
from mahtrt.models.pose_spi.config import KEYPOINTS_13, POINTS_13
from mahtrt.models.pose_spi.pose_spi import PoseSpi

SMALL: dict[str, Any] = {"channels": 4, "hidden_dim": 12, "feature_dim": 10}


def small_pose(variant: str = "nano", **settings: Any) -> PoseSpi:
    torch.manual_seed(0)
    module = build_model(f"pose-spi/{variant}", **{**SMALL, **settings})
    assert isinstance(module, PoseSpi)
    return module


def test_the_simple_network_has_the_layers_and_weights_of_its_text() -> None:
    with torch.device("meta"):
        module = build_model("pose-spi/simple", landmarks=KEYPOINTS_13)
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    assert shapes["encoder.scale.weight"] == (64, 1, 1, 1)
    assert "encoder.scale.bias" not in shapes
    assert shapes["encoder.hidden.weight"] == (512, 65_536)
    assert shapes["encoder.features.weight"] == (256, 512)
    assert shapes["upsampling.expand.weight"] == (64 * 4 * 4, 256)
    assert {f"upsampling.mapping.{i}.0.weight" for i in range(3)} <= set(shapes)
    assert {f"upsampling.enlarge.{i}.weight" for i in range(4)} <= set(shapes)
    assert shapes["upsampling.combine.weight"] == (64, 64, 1, 1)
    assert shapes["head.refine.weight"] == (32, 64, 3, 3)
    assert shapes["head.predict.weight"] == (13 * 3, 32, 3, 3)
    parameters = sum(parameter.numel() for parameter in module.parameters())
    assert parameters == pytest.approx(33.5e6, rel=0.03)  # the table, not the first text


def test_the_efficientnet_head_has_the_layers_of_its_text() -> None:
    with torch.device("meta"):
        module = build_model("pose-spi/efficientnet").eval()
        outputs = module(torch.empty(1, 1, 64, 64))
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    assert shapes["head.transition.weight"] == (3, 64, 1, 1)
    linear = [shapes[f"head.predict.{index}.weight"] for index in (0, 3, 6)]
    assert linear == [(512, 1280), (256, 512), (51, 256)]
    assert outputs["landmarks"].shape == (1, 17, 2)
    parameters = sum(parameter.numel() for parameter in module.parameters())
    assert parameters == pytest.approx(39.3e6, rel=0.01)


@pytest.mark.parametrize("variant", ["nano", "efficientnet"])
def test_a_new_network_says_the_middle_of_the_image(variant: str) -> None:
    module = small_pose(variant).eval()
    with torch.inference_mode():
        outputs = module(torch.rand(3, 1, 64, 64))
    assert list(outputs) == ["landmarks", "visibility"]
    assert outputs["landmarks"].shape == (3, 17, 2)
    assert outputs["visibility"].shape == (3, 17)
    assert bool((outputs["landmarks"] - 0.5).abs().max() < 0.5)
    visibility = outputs["visibility"]
    assert bool(((visibility > 0) & (visibility < 1)).all())
    assert bool((visibility < 0.5).any())  # no ReLU keeps its logit above 0


def test_the_image_is_scaled_channel_by_channel_in_a_batch() -> None:
    encoder = small_pose().encoder
    images = torch.rand(5, 1, 64, 64)
    weights = encoder.scale.weight
    torch.testing.assert_close(encoder.scale(images), images * weights[:, 0])


def test_dropout_is_for_training_only() -> None:
    module = small_pose("efficientnet")
    images = torch.rand(2, 1, 64, 64)
    assert any(isinstance(m, torch.nn.Dropout) and m.p == 0.3 for m in module.modules())
    module.eval()
    with torch.inference_mode():
        first, second = module(images)["landmarks"], module(images)["landmarks"]
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize("variant", ["nano", "efficientnet"])
def test_gradients_reach_every_parameter(variant: str) -> None:
    module = small_pose(variant, dropout=0.0)
    outputs = module(torch.rand(4, 1, 64, 64))
    loss = sum((value * torch.randn_like(value)).sum() for value in outputs.values())
    assert isinstance(loss, torch.Tensor)
    loss.backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.ndim == 1 or bool(parameter.grad.any()), name


def test_thirteen_keypoints_are_cocos_without_eyes_and_ears() -> None:
    assert len(KEYPOINTS_13) == len(POINTS_13) == 13
    assert set(COCO_KEYPOINTS) - set(KEYPOINTS_13) == {
        f"{side}_{part}" for side in ("left", "right") for part in ("eye", "ear")
    }
    assert small_pose(landmarks=KEYPOINTS_13).spec.num_landmarks == 13


def test_other_input_sizes_change_the_first_linear_layer_only() -> None:
    small, wide = small_pose().state_dict(), small_pose(input_size=(32, 48)).state_dict()
    changed = {key for key in small if small[key].shape != wide[key].shape}
    assert changed == {"encoder.hidden.weight"}
    assert wide["encoder.hidden.weight"].shape == (12, 4 * 16 * 24)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"input_size": (63, 64)}, "multiples of 2"),
        ({"landmarks": ()}, "landmarks"),
        ({"channels": 0}, "channels"),
        ({"hidden_dim": 0}, "hidden_dim"),
        ({"feature_dim": 0}, "feature_dim"),
        ({"dropout": 1.0}, "dropout"),
        ({"std": (0.0,)}, "std"),
        ({"head": "vgg"}, "head"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        small_pose(**settings)


def test_an_unknown_variant_lists_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"pose-spi/huge.*nano, simple, efficientnet"):
        build_model("pose-spi/huge")
