"""The network: shapes, parts, gradients, and the traps its documentation names."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from small_maht_net import small_net

from mahtrt.models.families import build_model
from mahtrt.models.layers import sine_position_table
from mahtrt.models.maht_net.bottleneck import TransformerBottleneck
from mahtrt.models.maht_net.config import VARIANTS, Encoder, MahtNetConfig, Transformer
from mahtrt.models.maht_net.decoder import AttentionGate, DecoderBlock, MultiScaleFusion
from mahtrt.models.maht_net.encoders import STRIDES
from mahtrt.models.maht_net.encoders import Encoder as EncoderModule
from mahtrt.models.maht_net.head import HeatmapHead
from mahtrt.models.soft_argmax import SoftArgmax2d

OUTPUTS = ["landmarks", "confidence", "spread", "heatmaps"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_has_heatmaps_of_a_quarter_of_its_input(variant: str) -> None:
    with torch.device("meta"):
        spec = build_model(f"maht-net/{variant}").spec
    assert [output.name for output in spec.outputs] == OUTPUTS
    assert spec.num_landmarks == 7
    assert spec.decode.heatmap_size == tuple(side // 4 for side in spec.input.size)


@pytest.mark.parametrize("transformer", ["vit", "swin"])
@pytest.mark.parametrize(
    "encoder", ["efficientnet_b0", "efficientnet_b1", "efficientnet_b3", "resnet34", "resnet50"]
)
def test_every_encoder_runs_with_every_transformer(
    encoder: Encoder, transformer: Transformer
) -> None:
    size = (96, 64) if transformer == "swin" else (64, 96)
    module = small_net(
        encoder=encoder, transformer=transformer, input_size=size, landmarks=("a", "b", "c")
    ).eval()
    with torch.inference_mode():
        outputs = module(torch.randn(2, 3, *size))
    assert list(outputs) == OUTPUTS
    assert outputs["heatmaps"].shape == (2, 3, size[0] // 4, size[1] // 4)
    assert all(bool(value.isfinite().all()) for value in outputs.values())
    assert bool(((outputs["heatmaps"] >= 0) & (outputs["heatmaps"] <= 1)).all())
    x, y = outputs["landmarks"].unbind(-1)
    assert bool(((x > -0.5) & (x < size[1] - 0.5) & (y > -0.5) & (y < size[0] - 0.5)).all())
    torch.testing.assert_close(outputs["confidence"], outputs["heatmaps"].amax((2, 3)))


def test_the_spec_is_the_configs() -> None:
    module = small_net(temperature=0.1, heatmap_stride=8, mean=(0.1, 0.2, 0.3))
    assert module.spec.family == "maht-net"
    assert module.spec.input.size == (64, 96)
    assert module.spec.input.mean == (0.1, 0.2, 0.3)
    assert module.spec.decode.temperature == module.soft_argmax.temperature == 0.1
    assert module.spec.decode.heatmap_size == (8, 12)
    assert module.spec.config == module.config.to_dict()


def test_encoder_levels_have_the_strides_promised() -> None:
    encoder = EncoderModule("efficientnet_b0").eval()
    with torch.inference_mode():
        features = encoder(torch.zeros(1, 3, 64, 96))
    assert [tuple(f.shape) for f in features] == [
        (1, dim, 64 // stride, 96 // stride)
        for dim, stride in zip(encoder.dims, STRIDES, strict=True)
    ]


def test_the_auxiliary_output_is_for_training_only() -> None:
    module = small_net()
    assert module(torch.randn(2, 3, 64, 96))["auxiliary"].shape == (2, 7, 2)
    with torch.inference_mode():
        assert "auxiliary" not in module.eval()(torch.randn(2, 3, 64, 96))


@pytest.mark.parametrize("transformer", ["vit", "swin"])
def test_gradients_reach_every_parameter(transformer: Transformer) -> None:
    module = small_net(transformer=transformer)
    outputs = module(torch.randn(2, 3, 64, 96))
    loss = sum((outputs[name] * torch.randn_like(outputs[name])).sum() for name in outputs)
    assert isinstance(loss, torch.Tensor)
    loss.backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
        # Some biases change nothing (before a batch norm, of attention keys); weights all do.
        assert parameter.ndim == 1 or bool(parameter.grad.any()), name


def test_the_result_depends_on_both_branches_of_the_bottleneck() -> None:
    module = small_net().eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        before = module(images)["heatmaps"]
        module.transformer.output_projection.weight.zero_()
        module.transformer.output_projection.bias.zero_()
        after = module(images)["heatmaps"]
        features = torch.randn(1, module.encoder.dims[-1], 2, 3)
        torch.testing.assert_close(module.transformer(features), features, rtol=0, atol=0)
    assert not torch.equal(before, after)


# Soft-argmax


def test_temperature_one_over_sigmoid_maps_collapses_to_the_centre() -> None:
    """The trap of docs: 16,384 cells of weight about 1 against one of weight e."""
    config = VARIANTS["base"]
    heatmaps = torch.zeros(1, 1, *config.heatmap_size)
    heatmaps[0, 0, 100:103, 20:23] = 0.9
    heatmaps[0, 0, 101, 21] = 1.0
    peak = torch.tensor([21.0, 101.0]) * 4 + 1.5
    centre = torch.tensor([255.5, 255.5])

    flat = SoftArgmax2d(1.0, config.heatmap_size, config.input_size)(heatmaps)[0][0, 0]
    sharp = SoftArgmax2d(config.temperature, config.heatmap_size, config.input_size)(heatmaps)
    assert (flat - centre).norm() < 1.0
    assert (sharp[0][0, 0] - peak).norm() < 1.0


# Transformer


@pytest.mark.parametrize(("rows", "columns", "dim"), [(3, 5, 24), (16, 16, 768), (1, 1, 4)])
def test_position_table_is_the_formula(rows: int, columns: int, dim: int) -> None:
    table = sine_position_table(rows, columns, dim)
    assert table.shape == (1, rows * columns, dim)
    for row, column, channel in [
        (r, c, k)
        for r in {0, rows // 2, rows - 1}
        for c in {0, columns // 2, columns - 1}
        for k in {0, 1, 2, 3, dim // 2, dim - 2, dim - 1}
    ]:
        frequency = 10000.0 ** (-2 * (channel // 4) / (dim / 2))
        place = row if channel % 4 < 2 else column
        wave = math.sin if channel % 2 == 0 else math.cos
        expected = wave(place * frequency)
        assert table[0, row * columns + column, channel].item() == pytest.approx(expected, abs=1e-5)


def test_positions_are_not_part_of_a_checkpoint() -> None:
    names = " ".join(small_net().state_dict())
    assert "positions" not in names
    assert "soft_argmax" not in names


def bottleneck(**settings: object) -> TransformerBottleneck:
    torch.manual_seed(0)
    values = {"hidden_dim": 24, "num_heads": 2, "num_layers": 2, **settings}
    return TransformerBottleneck(6, MahtNetConfig(**values)).eval()  # type: ignore[arg-type]


def influence(module: TransformerBottleneck, row: int, column: int) -> torch.Tensor:
    """How much every token's result changes when one token's input does: (rows, columns)."""
    torch.manual_seed(1)
    before = torch.randn(1, 6, *module.grid)
    after = before.clone()
    after[0, :, row, column] += 5.0
    with torch.inference_mode():
        change = (module(after) - module(before)).abs().amax((0, 1))
    return change.clone()


def test_vit_attends_everywhere() -> None:
    assert bool((influence(bottleneck(input_size=(96, 160)), 0, 0) > 1e-5).all())


def test_swin_shifts_every_second_window() -> None:
    module = bottleneck(transformer="swin", window_size=4, input_size=(256, 384))
    assert module.grid == (8, 12)
    unshifted = copy.deepcopy(module)
    unshifted.layers[1].__dict__["shift_size"] = 0
    assert [layer.shift_size for layer in module.layers] == [0, 2]

    far = influence(unshifted, 3, 3)
    assert bool((far[:4, :4] > 1e-5).all())  # its own window
    far[:4, :4] = 0
    assert bool((far == 0).all())  # and nothing else

    shifted = influence(module, 3, 3)
    assert bool((shifted[:6, :6] > 1e-5).all())  # windows (0..3) reach (2..5) through the shift
    shifted[:6, :6] = 0
    assert bool((shifted == 0).all())  # the mask keeps the wrapped parts apart


def test_swin_windows_are_no_larger_than_the_grid() -> None:
    module = bottleneck(transformer="swin", window_size=8, input_size=(64, 96))
    sizes: list[Any] = [(layer.window_size, layer.shift_size) for layer in module.layers]
    assert sizes == [(2, 0), (2, 1)]
    assert bool((influence(module, 0, 0)[:2, :2] > 1e-5).all())


# Decoder and head


def test_an_attention_gate_weights_each_place_between_0_and_1() -> None:
    torch.manual_seed(0)
    gate = AttentionGate(6, 10).eval()
    features = torch.randn(2, 10, 8, 12) * 10
    with torch.inference_mode():
        weighted = gate(torch.randn(2, 6, 8, 12) * 10, features)
    weight = weighted / features
    assert bool(((weight >= 0) & (weight <= 1)).all())
    assert weight.std() > 0.01
    torch.testing.assert_close(weight, weight[:, :1].expand_as(weight))  # one for all channels


def test_the_deepest_fused_level_has_no_output_convolution() -> None:
    dims = (4, 6, 8, 10, 12)
    fusion = MultiScaleFusion(dims, 16).eval()
    assert len(fusion.laterals) == 5
    assert len(fusion.outputs) == 4
    maps = [torch.randn(1, dim, 32 >> i, 64 >> i) for i, dim in enumerate(dims)]
    with torch.inference_mode():
        fused = fusion(maps)
        assert [tuple(level.shape) for level in fused] == [
            (1, 16, 32 >> i, 64 >> i) for i in range(4)
        ]
        maps[-1] = maps[-1] + 1.0  # the deepest level feeds every one of them
        assert not any(torch.equal(old, new) for old, new in zip(fused, fusion(maps), strict=True))


def test_a_decoder_block_projects_its_residual_only_where_channels_change() -> None:
    assert isinstance(DecoderBlock(8, 8).residual, torch.nn.Identity)
    block = DecoderBlock(8, 4)
    assert isinstance(block.residual, torch.nn.Conv2d)
    assert block(torch.randn(2, 8, 6, 10)).shape == (2, 4, 6, 10)


def test_heatmaps_start_nearly_empty_and_fit_the_size_asked_for() -> None:
    torch.manual_seed(0)
    head = HeatmapHead(8, (16, 16), 3, (10, 14), 0.1).eval()
    with torch.inference_mode():
        same, _ = head(torch.randn(2, 8, 10, 14))
        resized, _ = head(torch.randn(2, 8, 32, 48))
    assert same.shape == resized.shape == (2, 3, 10, 14)
    assert 0.001 < same.mean() < 0.1
