"""MahtNetConfig: what it derives, and what it refuses."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from mahtrt.errors import ModelError
from mahtrt.models.maht_net.config import VARIANTS, MahtNetConfig, variant_config

LANDMARKS = ("sella", "nasion", "a_point", "b_point", "pogonion", "menton", "gnathion")


def test_sizes_follow_from_the_input_size() -> None:
    config = MahtNetConfig(input_size=(96, 64))
    assert config.grid == (3, 2)
    assert config.heatmap_size == (24, 16)
    assert MahtNetConfig(input_size=(96, 64), heatmap_stride=2).heatmap_size == (48, 32)


def test_every_variant_has_the_seven_landmarks_and_a_sharp_temperature() -> None:
    assert set(VARIANTS) == {"nano", "small", "base", "large", "efficient"}
    for config in VARIANTS.values():
        assert config.landmarks == LANDMARKS
        assert config.temperature == 0.05


def test_a_config_survives_json() -> None:
    for name, config in VARIANTS.items():
        data = json.loads(json.dumps(config.to_dict()))
        assert data == config.to_dict()
        assert variant_config("base", data) == config, name


def test_overrides_replace_fields_and_nothing_else() -> None:
    config = variant_config("nano", {"input_size": [64, 96], "temperature": 1})
    assert config.input_size == (64, 96)
    assert config.temperature == 1.0
    assert config.encoder == VARIANTS["nano"].encoder
    assert VARIANTS["nano"].input_size == (256, 256)


@pytest.mark.parametrize(
    ("variant", "overrides", "parts"),
    [
        ("tiny", {}, ["maht-net/tiny", "nano, small, base, large, efficient"]),
        ("nano", {"depth": 3}, ["'depth'", "hidden_dim", "temperature"]),
        ("nano", {"encoder": "vgg16"}, ["encoder", "'vgg16'", "efficientnet_b3", "resnet50"]),
        ("nano", {"transformer": "mamba"}, ["transformer", "vit, swin"]),
        ("nano", {"num_layers": "4"}, ["num_layers", "type int"]),
        ("nano", {"input_size": (64, 64, 3)}, ["input_size", "3 values", "2 values"]),
    ],
)
def test_what_is_unknown_is_refused_with_what_is_known(
    variant: str, overrides: dict[str, Any], parts: list[str]
) -> None:
    with pytest.raises(ModelError) as caught:
        variant_config(variant, overrides)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("size", "proposal"), [((300, 300), "288x288"), ((65, 96), "64x96"), ((16, 1), "32x32")]
)
def test_a_size_the_encoder_cannot_halve_is_refused(size: tuple[int, int], proposal: str) -> None:
    with pytest.raises(ModelError, match=rf"multiples of 32.*choose e\.g\. {proposal}"):
        MahtNetConfig(input_size=size)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("landmarks", ()),
        ("num_layers", 0),
        ("num_heads", 0),
        ("hidden_dim", 0),
        ("hidden_dim", 100),  # not a multiple of 4 * 12 heads
        ("window_size", 0),
        ("decoder_dims", (8, 8, 8, 8)),
        ("decoder_dims", (1, 8, 8, 8, 8)),
        ("head_dims", (8, 0)),
        ("heatmap_stride", 0),
        ("heatmap_stride", 64),
        ("temperature", 0.0),
        ("temperature", math.nan),
        ("dropout", 1.0),
        ("std", (0.2, 0.0, 0.2)),
    ],
)
def test_values_that_make_no_network_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ModelError, match=field):
        MahtNetConfig(**{field: value})
