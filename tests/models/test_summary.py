"""What ``mahtrt models`` lists."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from rendering import text_of
from torch import nn

from mahtrt.models import summary
from mahtrt.models.families import build_model, model_names
from mahtrt.models.summary import ModelSummary, models, summarize
from mahtrt.verbs.models import table_of


def without_gflops(row: ModelSummary) -> dict[str, object]:
    """As JSON tells it: which releases of PyTorch count a little differently."""
    told: dict[str, object] = json.loads(json.dumps(row.to_dict()))
    return {name: value for name, value in told.items() if name != "gflops"}


@pytest.mark.slow
def test_every_variant_has_a_row() -> None:
    rows = models()
    assert tuple(row.name for row in rows) == model_names()
    for row in rows:
        counted = summarize(row.name)
        assert row.gflops == pytest.approx(counted.gflops, rel=0.01)
        assert without_gflops(row) == without_gflops(counted)
    by_name = {row.name.removeprefix("maht-net/"): row for row in rows}
    assert [image.size for image in by_name["nano"].inputs] == [(256, 256)]
    assert dict(by_name["nano"].parts) == {"encoder": "efficientnet_b0", "transformer": "vit"}
    # Less than the 57.9 M of a fusion with a convolution at the level nobody reads.
    assert by_name["base"].parameters == 57_320_921
    assert by_name["base"].gflops == pytest.approx(162, rel=0.02)
    parameters = [by_name[name].parameters for name in ("nano", "small", "base", "large")]
    assert parameters == sorted(parameters)
    found = json.loads(json.dumps(rows[0].to_dict()))
    assert found["parts"]["encoder"] == rows[0].parts["encoder"]
    assert found["inputs"] == [{"name": "image", "channels": 3, "size": [256, 256]}]

    text = text_of(table_of(rows), width=160)
    for row in rows:
        assert row.name in text
        assert f"{row.parameters / 1e6:.1f} M" in text
    assert "3x256x256" in text
    assert "17 landmarks, visibility" in text


def test_a_multiply_add_counts_as_two(monkeypatch: pytest.MonkeyPatch) -> None:
    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.spec = spec
            self.conv = nn.Conv2d(3, 5, 1)

        def forward(self, *images: torch.Tensor) -> list[torch.Tensor]:
            return [self.conv(image) for image in images]

    with torch.device("meta"):
        spec = build_model("maht-net/nano").spec
    (image,) = spec.inputs
    two = (image, dataclasses.replace(image, name="later", size=(128, 128)))
    spec = dataclasses.replace(spec, inputs=two)
    monkeypatch.setattr(summary, "build_model", lambda _name: Linear())
    row = summarize("any")
    assert row.parameters == 3 * 5 + 5
    assert row.gflops == pytest.approx(2 * 3 * 5 * (256**2 + 128**2) / 1e9, abs=0.005)
    assert row.to_dict()["input_size"] == (256, 256)  # of the first input
    assert row.to_dict()["encoder"] == row.parts["encoder"] == row.encoder == "efficientnet_b0"
    assert row.to_dict()["transformer"] == row.transformer == "vit"
    bare = dataclasses.replace(row, parts={"head": "simple"})
    assert not {"encoder", "transformer"} & set(bare.to_dict())
    assert (bare.encoder, bare.transformer) == ("", "")
    assert "3x256x256, 3x128x128" in text_of(table_of([row]))
    same = dataclasses.replace(row, inputs=row.inputs[:1] * 2, outputs={"m": "map"}, landmarks=0)
    text = text_of(table_of([same]))
    assert "2 of 3x256x256" in text
    assert "map" in text
