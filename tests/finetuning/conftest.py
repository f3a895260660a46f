"""A small network to fine-tune: the foreign U-Net on phantoms."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from foreign_network import ForeignNetwork

from mahtrt.finetuning.options import ALL, QatOptions
from mahtrt.measure.limits import Limits

Make = Callable[..., QatOptions]


@pytest.fixture
def options(foreign_network: ForeignNetwork, tmp_path: Path) -> Make:
    """Options of a short run, changed as a test wants them."""

    def make(**changed: Any) -> QatOptions:
        short = QatOptions(
            onnx=foreign_network.onnx,
            data="phantom:12@1",
            eval="phantom:4@2",
            out=tmp_path / "tuned.onnx",
            plan=ALL,
            steps=3,
            batch_size=2,
            learning_rate=1e-4,
            range_rate=0.1,
            points=(0, 1, 2),
            # Most of every tensor saturates at the beginning: there is much to learn.
            method="percentile",
            percentile=60.0,
            threads=1,
            limits=Limits(budget_px=50.0, worst_landmark_px=50.0),
        )
        return dataclasses.replace(short, **changed)

    return make
