"""Builds of the foreign network, as small as they can be."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from foreign_network import ForeignNetwork

from mahtrt.build.options import BuildOptions


def make_options(network: ForeignNetwork, out: Path, **changed: Any) -> BuildOptions:
    """INT8 for ONNX Runtime on six phantoms, unless something else is asked for."""
    asked = BuildOptions(
        network.onnx,
        out,
        ("int8",),
        targets=("onnxruntime",),
        calib="phantom:6@1",
        points=(0, 1, 2),
        threads=1,
    )
    return dataclasses.replace(asked, **changed)
