"""What ``mahtrt models`` lists."""

from __future__ import annotations

import json

import pytest
import torch
from rendering import text_of
from torch import nn

from mahtrt.models import summary
from mahtrt.models.families import build_model, model_names
from mahtrt.models.summary import models, summarize
from mahtrt.verbs.models import table_of


@pytest.mark.slow
def test_every_variant_has_a_row() -> None:
    calls: list[tuple[str, int, int]] = []
    rows = models(lambda stage, done, total, detail="": calls.append((stage, done, total)))
    assert tuple(row.name for row in rows) == model_names()
    assert calls == [("counting", i, len(rows)) for i in range(len(rows))]
    by_name = {row.name.removeprefix("maht-net/"): row for row in rows}
    assert by_name["nano"].input_size == (256, 256)
    # Less than the 57.9 M of a fusion with a convolution at the level nobody reads.
    assert by_name["base"].parameters == 57_320_921
    assert by_name["base"].gflops == pytest.approx(162, rel=0.02)
    parameters = [by_name[name].parameters for name in ("nano", "small", "base", "large")]
    assert parameters == sorted(parameters)
    assert json.loads(json.dumps(rows[0].to_dict()))["encoder"] == rows[0].encoder

    text = text_of(table_of(rows))
    for row in rows:
        assert row.name in text
        assert f"{row.parameters / 1e6:.1f} M" in text
    assert "256x256" in text


def test_a_multiply_add_counts_as_two(monkeypatch: pytest.MonkeyPatch) -> None:
    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.spec = spec
            self.conv = nn.Conv2d(3, 5, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x)

    with torch.device("meta"):
        spec = build_model("maht-net/nano").spec
    monkeypatch.setattr(summary, "build_model", lambda _name: Linear())
    row = summarize("any")
    assert row.parameters == 3 * 5 + 5
    assert row.gflops == round(2 * 3 * 5 * 256 * 256 / 1e9, 2)
