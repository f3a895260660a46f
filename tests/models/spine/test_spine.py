"""The query decoder: shapes, skips, queries, gradients, and settings that cannot be."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_spine import small_spine as small

from mahtrt.errors import ModelError
from mahtrt.models.families import build_model
from mahtrt.runtime.dark import decode_dark
from mahtrt.spec import DECODING


@pytest.mark.parametrize("variant", ["nano", "nano-simple"])
def test_landmarks_are_dark_of_the_heatmaps_at_full_size(variant: str) -> None:
    module = small(variant).eval()
    with torch.inference_mode():
        outputs = module(torch.randn(2, 3, 64, 96))
    assert outputs["heatmaps"].shape == (2, 3, 64, 96)
    expected = decode_dark(outputs["heatmaps"].numpy(), 2.0, (64, 96))
    for name, values in zip(("landmarks", "confidence", "spread"), expected, strict=True):
        torch.testing.assert_close(
            outputs[name], torch.from_numpy(values).float(), atol=1e-3, rtol=0
        )


def test_stages_double_and_skip_strides_8_8_4_and_2() -> None:
    module = small().eval()
    seen: list[tuple[int, ...]] = []
    for stage in module.decoder.stages:
        stage.register_forward_hook(lambda _m, given, _out: seen.append(tuple(given[1].shape[1:])))
    with torch.inference_mode():
        module(torch.randn(1, 3, 64, 96))
    assert seen == [(64, 4, 6), (64, 8, 12), (32, 16, 24), (16, 32, 48)]


def test_every_query_is_its_own() -> None:
    module = small().eval()
    tokens = torch.randn(1, 6, 32)
    with torch.inference_mode():
        before = module.queries(tokens)
        assert before.shape == (1, 3, 32)
        assert not torch.allclose(before[:, 0], before[:, 1])
        # Queries also look at each other: another first query changes what the second finds.
        module.queries.get_parameter("embedding")[:, 0] += torch.randn(32)
        assert not torch.allclose(before[:, 1], module.queries(tokens)[:, 1])


def test_tokens_are_told_their_place() -> None:
    module = small().eval()
    with torch.inference_mode():
        tokens = module.bridge(torch.zeros(1, 256, 2, 3))
    assert not torch.allclose(tokens[:, 0], tokens[:, 1])


@pytest.mark.parametrize("variant", ["nano", "nano-simple"])
def test_gradients_reach_every_parameter_through_the_heatmaps(variant: str) -> None:
    module = small(variant)
    heatmaps = module(torch.randn(2, 3, 64, 96))["heatmaps"]
    (heatmaps * torch.randn_like(heatmaps)).sum().backward()
    without = [name for name, each in module.named_parameters() if each.grad is None]
    assert without == []


def test_weights_have_plain_names_and_decoding_has_none() -> None:
    keys = list(small().state_dict())
    assert not any(DECODING in key for key in keys)
    parts = {key.partition(".")[0] for key in keys}
    assert parts == {"encoder", "bridge", "queries", "start", "decoder"}
    simple = {key.partition(".")[0] for key in small("nano-simple").state_dict()}
    assert simple == parts - {"queries"}


def test_sigma_is_in_the_spec() -> None:
    decode = small(sigma=3.0).spec.decode
    assert (decode.method, decode.sigma, decode.heatmap_size) == ("dark", 3.0, (64, 96))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"input_size": (64, 100)}, "multiples of 32"),
        ({"width": 36, "num_heads": 8}, r"multiple of 4 \* num_heads"),
        ({"sigma": 0.0}, "0.1 to 64"),
        ({"landmarks": ()}, "at least one name"),
        ({"decoder_dims": (1, 1, 1, 0)}, "at least 1"),
        ({"decoder": "unknown"}, "decoder"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        small(**settings)


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(ModelError, match="nano, nano-simple, query, simple"):
        build_model("spine/huge")
