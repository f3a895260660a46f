"""Is FP16 wide enough for a network? Looked at before any engine exists."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from mahtrt.errors import GateError
from mahtrt.graph.finite import check_finite
from mahtrt.graph.graph_file import GraphFile
from mahtrt.precision.half import to_half


def check_half(
    graph: GraphFile, images: Iterable[NDArray[np.float32]], threads: int | None
) -> None:
    """Refuse FP16 for a network whose numbers leave its range, before any engine exists.

    Args:
        images: Preprocessed (C, H, W), a few.

    Raises:
        GateError: Some node gives values that are not finite, or beyond FP16 (exit 3).
        MissingComponentError: ONNX Runtime is not installed.
    """
    found = check_finite(to_half(graph.proto, "fp16"), images, threads=threads)
    if found:
        first = found[0]
        raise GateError(
            "FP16",
            got=f"{len(found)} tensors beyond its range, first {first.tensor} of node "
            f"{first.node} ({first.what}, {first.largest:.3g})",
            expected="finite numbers of at most 65504 everywhere",
            fix="Build --bf16, which has the range of FP32, and --int8 with --int8-float bf16.",
        )
