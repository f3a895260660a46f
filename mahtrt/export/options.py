"""What an export is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mahtrt.models.reference import ModelSource
from mahtrt.runtime.expectation.check import EXPECT_PX


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """A network, and how it becomes an ONNX file.

    Attributes:
        model: The network and its weights.
        out: The ONNX file; replaced when it exists. Its folder is made when missing.
        data: DATA for parity, of which at most eight cases are used; None takes synthetic ones,
            those that the family names where it is one of mahtrt's.
        opset: ONNX opset.
        batch: Images per inference, static.
        skip_passes: Graph optimizations to leave out, by name.
        expect: CSV of landmarks that the user's own pipeline gave for all of DATA's images, in
            image pixels (:mod:`mahtrt.runtime.expectation.predictions`); None compares with none.
        expect_px: Limit on the mean displacement of any landmark from them, in image pixels.
    """

    model: ModelSource
    out: Path = Path("model.onnx")
    data: str | None = None
    opset: int = 20
    batch: int = 1
    skip_passes: tuple[str, ...] = ()
    expect: Path | None = None
    expect_px: float = EXPECT_PX
